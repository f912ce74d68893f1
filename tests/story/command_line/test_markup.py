"""Nothing that a user named is read as markup: a file, a store or a url may have square brackets and colons."""

from __future__ import annotations

import ast
import io
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from rich.console import Console

from eventmill import cli
from eventmill.api import RunResult
from eventmill.campaign.progress import Progress
from eventmill.cli.output import messages
from eventmill.cli.progress_bar import ProgressBar
from eventmill.cli.run import tell
from eventmill.core.records import JournalKind
from eventmill.errors import CampaignPaused
from eventmill.reports.status import events_by_state
from tests.story.command_line.conftest import CommandLine, Mill

ROOM = Path(cli.__file__).parent
NAME = "a[b]:smile:[/dim]"
"""What rich would read as a style, an emoji and the end of a style."""


@pytest.mark.parametrize("module", sorted(ROOM.glob("*.py")), ids=lambda path: path.stem)
def test_no_command_prints_with_markup(module: Path) -> None:
    """Consoles and columns are made without it, and no text is made from it."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Console", "RichConsole", "TextColumn"):
            assert "markup=False" in map(ast.unparse, node.keywords), f"{module.name}:{node.lineno}"
            if ast.unparse(node.func) != "TextColumn":
                assert "emoji=False" in map(ast.unparse, node.keywords), f"{module.name}:{node.lineno}"
        assert not (isinstance(node, ast.Attribute) and node.attr in ("from_markup", "render_markup"))


def test_the_end_of_a_run_names_file_and_store_as_they_are(
    new_campaign: Callable[..., Mill], capsys: pytest.CaptureFixture[str]
) -> None:
    """Also on a console that reads markup; the command can be copied."""
    mill = new_campaign(output={"store": NAME, "merge": {"events": 20}})
    mill.opened.ledger.note_once(mill.opened.id, kind=JournalKind.WARNING, lines={NAME: NAME})
    result = RunResult(mill.opened, events_by_state(mill.opened.counts()), 3, f"{NAME}-manifest.json")
    for console in (messages(quiet=False), Console(stderr=True)):
        tell(console, result, file=f"{NAME}.yaml")
        told = capsys.readouterr().err
        assert f"warning: {NAME}\n" in told and f"3 merged files in {mill.opened.record.store_url}\n" in told
        assert f"{mill.opened.record.store_url}/{NAME}-manifest.json\n" in told
    mill.opened.pause()
    for console in (messages(quiet=False), Console(stderr=True)):
        tell(console, result, file=f"{NAME}.yaml")
        assert f"'eventmill run {NAME}.yaml' continues it.\n" in capsys.readouterr().err


def test_why_a_run_was_left_alone_is_told_as_it_is(
    new_campaign: Callable[..., Mill], command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence names what the user named."""
    new_campaign()

    def paused(*_: object, **__: object) -> NoReturn:
        raise CampaignPaused(NAME)

    monkeypatch.setattr("eventmill.api.run", paused)
    assert command_line("run", "campaign.yaml").err == f"{NAME}\n"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_progress_names_campaign_and_page_as_they_are(is_terminal: bool) -> None:
    """An address in IPv6 has square brackets, too."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=is_terminal, color_system=None, width=200)
    bar = ProgressBar(console)
    bar(Progress(NAME, total=10, done=5, watch_url="http://[fe80::1]/[/dim]"))
    bar(Progress(NAME, total=10, done=10, merged=10, is_last=True))
    assert "Watch it in the Prefect UI: http://[fe80::1]/[/dim]\n" in out.getvalue()
    assert NAME in out.getvalue()
