"""`eventmill try`: a few events through the payload in this process, as a user sees it who debugs one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.story.command_line.bad_input import with_keys
from tests.story.command_line.conftest import CAMPAIGN, PAYLOAD, CommandLine, write_campaign


def with_parameters(folder: Path, **parameters: object) -> None:
    """The good campaign, with parameters for its payload."""
    with_keys(payload__parameters=parameters)(folder)


def test_ten_events_are_shown_with_their_types_and_their_cost(folder: Path, command_line: CommandLine) -> None:
    """The table, the speed, and what automatic ranges would be."""
    write_campaign(folder)
    ended = command_line("try", "campaign.yaml")
    assert (ended.code, ended.err) == (0, "")
    assert "made 10 rows from 10 events: generated:0-30 [0, 10)" in ended.out
    assert "event: int64  square: int64" in ended.out
    assert ["9", "81"] in [line.split() for line in ended.out.splitlines()]
    assert (
        "per event" in ended.out
        and "'ranges: {events: auto}' would choose ranges of 30 events, about" in ended.out
    )
    assert "(the whole input; ranges.seconds is 5s)" in ended.out


def test_any_events_of_any_input_can_be_tried(folder: Path, command_line: CommandLine) -> None:
    """The last events of the second input; there are fewer than asked for."""
    write_campaign(folder)
    ended = command_line("try", "campaign.yaml", "--input", "1", "--start", "28", "--events", "5")
    assert "made 2 rows from 2 events: generated:30-60 [28, 30)" in ended.out
    assert ["59", "3481"] in [line.split() for line in ended.out.splitlines()]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--input", "2"], "the campaign has no input 2: it has 2 inputs, counted from 0"),
        (["--start", "30"], "generated:0-30 has 30 events; position 30 is beyond the last one"),
    ],
)
def test_events_that_are_not_there_are_refused(
    words: list[str], said: str, folder: Path, command_line: CommandLine
) -> None:
    """With the numbers of what is there."""
    write_campaign(folder)
    ended = command_line("try", "campaign.yaml", *words)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == f"eventmill: {said}.\n"


def test_an_exception_is_shown_with_the_payloads_own_traceback(folder: Path, command_line: CommandLine) -> None:
    """One line first, then the frames of the user's file as it lies there, and none of Eventmill's."""
    with_parameters(folder, poison=[3])
    ended = command_line("try", "campaign.yaml")
    assert ended.code == 1
    first, *rest = ended.err.splitlines()
    assert first == (
        "eventmill: payload payload.py:square failed for generated:0-30 [0, 10): ValueError: negative mass"
    )
    assert rest[0] == "Traceback (most recent call last):"
    assert rest[1] == f'  File "{folder}/payload.py", line 9, in square'
    assert not any("eventmill/" in line for line in rest)
    assert "looking at 3" in ended.out


def test_a_set_up_that_fails_says_so(folder: Path, command_line: CommandLine) -> None:
    """No event is blamed for what happens before the first."""
    write_campaign(folder, payload="raise OSError('no calibration')\ndef square(events, where): ...\n")
    ended = command_line("try", "campaign.yaml")
    assert ended.code == 1
    assert ended.err.startswith(
        "eventmill: payload payload.py:square could not be set up: OSError: no calibration\n"
    )


def test_a_payload_that_ends_the_process_is_an_error(folder: Path, command_line: CommandLine) -> None:
    """`sys.exit()` in a payload does not look like success."""
    write_campaign(folder, payload="import sys\ndef square(events, where): sys.exit(0)\n")
    ended = command_line("try", "campaign.yaml")
    assert ended.code == 1 and "SystemExit: 0" in ended.err.splitlines()[0]


def test_a_payload_imports_its_neighbours(folder: Path, command_line: CommandLine) -> None:
    """As on a worker, the modules beside it can be imported."""
    (folder / "neighbour.py").write_text(PAYLOAD)
    write_campaign(folder, payload="from neighbour import square\n")
    assert command_line("try", "campaign.yaml").code == 0


def test_a_result_must_fit_the_declared_columns(folder: Path, command_line: CommandLine) -> None:
    """What would be refused on a worker is refused here, and values are cast as there."""
    with_keys(output__columns={"event": "int64", "square": "float32"})(folder)
    assert "square: float32" in command_line("try", "campaign.yaml").out
    with_keys(output__columns={"event": "int64"})(folder)
    ended = command_line("try", "campaign.yaml")
    assert ended.code == 1 and "adds 'square'" in ended.err


def test_many_columns_and_rows_stay_readable(folder: Path, command_line: CommandLine) -> None:
    """Many columns become lines, many rows are counted, and numbers are short."""
    wide = "import pyarrow as pa\ndef square(events, where):\n    return pa.Table.from_pylist(%s)\n"
    write_campaign(folder, payload=wide % "[{f'c{i}': i / 3 for i in range(9)}] * 3")
    out = command_line("try", "campaign.yaml").out
    assert "c1: double" not in out and "c1: float64  0.333333, 0.333333, 0.333333" in out
    write_campaign(folder, payload=wide % "[{'pt': [1 / 3, 2.5], 'at': {'eta': 2 / 3}}] * 25")
    out = command_line("try", "campaign.yaml").out
    assert "[0.333333, 2.5]" in out and "{eta: 0.666667}" in out and "… and 5 more rows" in out


def test_trying_makes_neither_ledger_nor_output(folder: Path, command_line: CommandLine) -> None:
    """Nothing but what Python keeps of an imported module."""
    write_campaign(folder)
    command_line("try", "campaign.yaml")
    assert {path.name for path in folder.iterdir()} - {"__pycache__"} == {"campaign.yaml", "payload.py"}


def test_control_c_is_one_line_and_130(folder: Path, command_line: CommandLine) -> None:
    """No traceback for who stops what takes too long."""
    write_campaign(folder, payload="def square(events, where): raise KeyboardInterrupt\n")
    ended = command_line("try", "campaign.yaml")
    assert (ended.code, ended.err) == (130, "eventmill: interrupted.\n")


def test_the_debugger_works(folder: Path) -> None:
    """`breakpoint()` stops in the user's own file, with the events there to look at."""
    source = PAYLOAD.replace("    for number", "    breakpoint()\n    for number")
    write_campaign(folder, CAMPAIGN, payload=source)
    command = [sys.executable, "-c", "import eventmill.cli; eventmill.cli.main()", "try", "campaign.yaml"]
    told = "p 'events', len(events)\ncontinue\n"
    ended = subprocess.run(command, cwd=folder, input=told, capture_output=True, text=True)
    assert f"{folder}/payload.py" in ended.stdout and "('events', 10)" in ended.stdout
    assert "made 10 rows" in ended.stdout and ended.returncode == 0
    left = subprocess.run(command, cwd=folder, input="quit\n", capture_output=True, text=True)
    assert left.returncode == 1 and left.stderr.endswith("you quit the debugger.\n")
