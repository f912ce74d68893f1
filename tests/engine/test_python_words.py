"""Whoever asks in Python reads what to write in Python; whoever gives a command, which command."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import eventmill
from eventmill import api
from eventmill.core.python_words import in_python, on_command_line, says_python
from eventmill.errors import CampaignError, LedgerError

SOURCE = Path(eventmill.__file__).parent
SHELL = "pilot|serve|token"
"""Commands of the event service, for shells on several hosts: there is no Python call for them."""

NO_ERRORS = {"prefect_api/terminal_run.py", "reports/status.py", "reports/page.py"}
"""Texts for the Prefect UI, and those that only commands print."""


@pytest.mark.parametrize(
    ("command", "call"),
    [
        ("'eventmill run CAMPAIGN.yaml'", "em.run(spec)"),
        ("'eventmill run CAMPAIGN.yaml --reopen'", "em.run(spec, reopen=True)"),
        ("'eventmill run c.yaml --changed accept --reopen'.", "em.run(spec, changed='accept', reopen=True)."),
        ("Choose: '--changed keep' continues", "Choose: changed='keep' continues"),
        ("'eventmill abandoned squares'", "em.open_campaign('squares').abandoned()"),
        (
            "'eventmill status a --ledger '/my b/l'' tells",
            "em.open_campaign('a', ledger='/my b/l').status() tells",
        ),
        ("'eventmill upgrade --ledger a'", "eventmill.ledger.upgrade_ledger('a')"),
        ("'eventmill try CAMPAIGN.yaml'.", "em.try_payload(spec)."),
        ("it's 'eventmill', isn't it", "it's 'eventmill', isn't it"),
    ],
)
def test_a_command_has_a_python_form(command: str, call: str) -> None:
    """With its options, and whatever ledger it names."""
    assert in_python(command) == call


def texts(path: Path) -> Iterator[str]:
    """What a module may say, with X for values; without docstrings."""
    tree = ast.parse(path.read_text())
    parts = {id(value) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for value in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(each.value) if isinstance(each, ast.Constant) else "X" for each in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.value


def test_every_command_that_an_error_tells_has_a_python_form() -> None:
    """Of all modules but those of the commands themselves."""
    paths = [path for path in SOURCE.rglob("*.py") if path.relative_to(SOURCE).parts[0] != "cli"]
    told = [
        (path.name, text)
        for path in paths
        if path.relative_to(SOURCE).as_posix() not in NO_ERRORS
        for text in texts(path)
        if re.search(r"'eventmill \w+ |'--\w+", text)
    ]
    assert len(told) > 15
    left = [
        (name, text) for name, text in told if re.search(rf"'eventmill (?!{SHELL})\w+|'--\w+", in_python(text))
    ]
    assert left == []


def test_an_error_is_put_in_the_words_of_who_asked(tmp_path: Path) -> None:
    """What is stored of it, and what a command prints, names commands."""
    ledger = tmp_path / "none.sqlite"
    with pytest.raises(LedgerError, match=r"or begin a campaign with em\.run\(spec\)\.$"):
        api.open_campaign("squares", ledger=ledger)
    with on_command_line(), pytest.raises(LedgerError, match=r"with 'eventmill run CAMPAIGN\.yaml'"):
        api.open_campaign("squares", ledger=ledger)
    assert "'--reopen'" in str(CampaignError("give '--reopen'."))

    @says_python
    def ask() -> None:
        raise CampaignError("give '--reopen'.")

    with pytest.raises(CampaignError, match=r"^give reopen=True\.$"):
        ask()


def test_methods_of_a_campaign_say_python() -> None:
    """Their names and documentation are as written."""
    assert api.Campaign.read.__doc__ and api.Campaign.read.__name__ == "read"
    assert hasattr(api.Campaign.audit, "__wrapped__") and isinstance(api.Campaign.name, property)
