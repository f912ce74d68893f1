"""What `validate`, `try` and the first words of a run say of a campaign that was begun, or cannot work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eventmill.campaign.choice import Changed
from eventmill.campaign.doing import Board, written_on
from eventmill.campaign.open import open_campaign
from eventmill.config.campaign_spec import read_campaign
from eventmill.payloads.needed_modules import missing
from tests.story.command_line.conftest import CAMPAIGN, PAYLOAD, CommandLine, Mill, write_campaign

NewCampaign = Callable[..., Mill]


def remarks_of(*, changed: Changed) -> tuple[str, ...]:
    """What a run says when it opens the campaign in the working directory."""
    board = Board()
    with written_on(board):
        open_campaign(read_campaign(Path("campaign.yaml")), folder=Path.cwd(), changed=changed)
    return board.remarks


def test_validate_names_differences_as_a_run_does(
    new_campaign: NewCampaign, command_line: CommandLine, folder: Path
) -> None:
    """The same line, with the choices, and the same exit code; and if nothing differs, it says that."""
    mill = new_campaign()
    with mill.driven() as coordinator:
        mill.work(coordinator)
    same = command_line("validate", "campaign.yaml")
    assert same.code == 0 and "has this campaign 'squares', as it is here" in same.out
    write_campaign(folder, CAMPAIGN | {"target": 0.5})
    said = command_line("validate", "campaign.yaml")
    assert said.code == 5 and "target: 1.0 -> 0.5. Choose: '--changed accept'" in said.err
    assert command_line("run", "campaign.yaml") == said


def test_validate_finds_packages_that_are_not_here(command_line: CommandLine, folder: Path) -> None:
    """With the file and line that imports each; for a cluster of others it is a warning: they may be there."""
    payload = PAYLOAD + "\nimport numpy\nimport beside, nowhere_to_be_found\n"
    (folder / "beside.py").write_text("from also_nowhere import part\n")
    write_campaign(folder, payload=payload)
    ended = command_line("validate", "campaign.yaml")
    line = payload.splitlines().index("import beside, nowhere_to_be_found") + 1
    assert ended.code == 1 and f"'nowhere_to_be_found' (payload.py, line {line})" in ended.err
    assert "'also_nowhere' (beside.py, line 1)" in ended.err and "numpy" not in ended.err
    elsewhere = {"cluster": {"type": "address", "address": "tcp://127.0.0.1:1"}}
    write_campaign(folder, CAMPAIGN | elsewhere, payload=payload)
    ended = command_line("validate", "campaign.yaml")
    assert ended.code == 0 and "warning: it imports what is not installed here" in ended.out


def test_what_a_payload_may_do_without_is_not_missing() -> None:
    """What functions import, what is tried, what only type checkers see; and files that cannot be parsed."""
    source = b"""
import os, __main__
from . import sibling
try:
    import nowhere
except ImportError:
    nowhere = None
if False:
    import nowhere_else
def f():
    import nowhere_at_all
import gone.deep
from gone import more
"""
    found = missing({"a.py": source, "b.py": b"not Python!", "c.txt": b"import gone"})
    assert [str(each) for each in found] == ["'gone' (a.py, line 12)"]


def test_a_choice_that_changes_nothing_says_so(new_campaign: NewCampaign) -> None:
    """Whoever asks for a restart expects that all is computed again."""
    new_campaign()
    (said,) = remarks_of(changed=Changed.RESTART)
    assert said.startswith("'--changed restart' changes nothing: nothing differs") and "another name" in said
    (said,) = remarks_of(changed=Changed.ACCEPT)
    assert said.startswith("'--changed accept' changes nothing: nothing differs")
    assert remarks_of(changed=Changed.STOP) == ()


def test_an_accepted_payload_says_what_stays(new_campaign: NewCampaign, folder: Path) -> None:
    """Events that are done keep their old results, which is easily overlooked when all of them are done."""
    mill = new_campaign()
    with mill.driven() as coordinator:
        mill.work(coordinator)
        done = mill.opened.counts().done
    with (folder / "payload.py").open("a") as file:
        file.write("\n\ndef more(): ...\n")
    (said,) = remarks_of(changed=Changed.ACCEPT)
    assert said.startswith(f"{done} events are done and keep the results of the earlier version (code)")
    assert f"the other {60 - done} get the new one" in said


@pytest.fixture
def stars(folder: Path) -> None:
    """A campaign over files in two folders, of which two have one name."""
    for place in ("one/a", "one/b", "two/b"):
        (folder / place).parent.mkdir(exist_ok=True)
        pq.write_table(pa.table({"x": [len(place)] * 30}), folder / f"{place}.parquet")
    inputs = {"files": ["one/*.parquet", "two/*.parquet"]}
    write_campaign(folder, CAMPAIGN | {"inputs": inputs, "payload": {"callable": "payload.py:untouched"}})


@pytest.mark.usefixtures("stars")
def test_try_takes_an_input_by_number_address_or_name(command_line: CommandLine, folder: Path) -> None:
    """A name that several inputs have, or none, is told, with what was perhaps meant."""
    for given in ("2", "two/b.parquet", str(folder / "two" / "b.parquet")):
        assert "from 10 events: " in (tried := command_line("try", "campaign.yaml", "--input", given).out)
        assert "two/b.parquet [0, 10)" in tried
    assert "one/a.parquet [0, 10)" in command_line("try", "campaign.yaml", "--input", "a.parquet").out
    several = command_line("try", "campaign.yaml", "--input", "b.parquet")
    assert several.code == 1 and "2 inputs of the campaign are called 'b.parquet': " in several.err
    none = command_line("try", "campaign.yaml", "--input", "aa.parquet")
    assert none.code == 1 and "from 0 to 2. Did you mean 'a.parquet'?" in none.err


@pytest.mark.usefixtures("stars")
def test_try_says_with_which_ranges_a_run_begins(command_line: CommandLine, folder: Path) -> None:
    """Those of the campaign, or the first ones of automatic lengths."""
    assert "A run begins with ranges of 5 events." in command_line("try", "campaign.yaml").out
    text = (folder / "campaign.yaml").read_text()
    (folder / "campaign.yaml").write_text(text.replace("events: 5\n", "events: auto\n"))
    assert "begins with ranges of 10 events, which become longer" in command_line("try", "campaign.yaml").out


@pytest.mark.parametrize("command", ["validate", "try", "run"])
def test_a_path_that_is_right_beside_the_campaign_file_is_told(
    command: str, command_line: CommandLine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative paths start from the working folder: whoever works in another one reads what to write."""
    write_campaign(folder, CAMPAIGN | {"inputs": {"files": ["data/*.parquet"]}})
    (folder / "data").mkdir()
    (folder / "data" / "a.parquet").touch()
    (folder / "work").mkdir()
    monkeypatch.chdir(folder / "work")
    hint = f"It is there in {folder}, the folder of the campaign file"
    ended = command_line(command, "../campaign.yaml")
    assert f"payload.py does not exist. {hint}" in ended.err or "data/*.parquet matches no file" in ended.err
    (folder / "work" / "payload.py").write_text(PAYLOAD)
    ended = command_line(command, "../campaign.yaml")
    assert f"data/*.parquet matches no file (searched in {folder}/work). {hint}" in ended.err
    assert f"go to {folder}, or write ../data/*.parquet." in ended.err and ended.code == 1


def test_a_campaign_of_which_nothing_is_done_takes_what_is_new(
    new_campaign: NewCampaign, command_line: CommandLine, folder: Path
) -> None:
    """Nothing can be lost, so nobody is asked; also of what could not be accepted later, such as other inputs."""
    begun = new_campaign().opened
    generated = {"generated": {"events": 30, "files": 1}}
    write_campaign(
        folder, CAMPAIGN | {"inputs": generated}, payload=PAYLOAD.replace("number in events", "number in []")
    )
    said = command_line("validate", "campaign.yaml")
    assert (
        said.code == 0
        and "nothing is done yet; a run begins with what is new: inputs.generated.events" in said.out
    )
    (told,) = remarks_of(changed=Changed.STOP)
    assert told.startswith(
        "nothing was done yet, so the campaign begins with what is new: inputs.generated.events: 60 ->"
    )
    assert "function square changed" in told
    now = begun.ledger.campaign("squares")
    assert (now.spec["inputs"]["generated"], now.uid == begun.record.uid) == (generated["generated"], False)
    assert remarks_of(changed=Changed.STOP) == ()


def test_keep_says_which_values_stay_in_force(new_campaign: NewCampaign, folder: Path) -> None:
    """Those of the ledger: the file has others, which nobody should believe."""
    new_campaign()
    write_campaign(folder, CAMPAIGN | {"target": 0.5})
    assert remarks_of(changed=Changed.KEEP) == (
        "what the campaign was begun with stays in force, not what is given now: target",
    )


def test_a_parameter_that_one_input_spells_otherwise_is_told(command_line: CommandLine, folder: Path) -> None:
    """The payload would not find it, for this input alone."""
    files = [{"url": f"{name}.parquet", "parameters": {"xsec": 1.0}} for name in "ab"]
    files.append({"url": "c.parquet", "parameters": {"xsek": 1.0}})
    for name in "abc":
        pq.write_table(pa.table({"x": [ord(name)]}), folder / f"{name}.parquet")
    write_campaign(folder, CAMPAIGN | {"inputs": {"files": files}})
    said = command_line("validate", "campaign.yaml").out
    assert "warning: the parameter 'xsek' of c.parquet is 'xsec' for other inputs" in said
