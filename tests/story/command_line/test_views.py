"""What a user sees of a campaign: `status`, `outputs`, `abandoned`, `audit`, and how commands end."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from eventmill import api
from eventmill.campaign.open import open_campaign
from eventmill.config.campaign_spec import read_campaign
from eventmill.core.records import DesiredState
from eventmill.errors import EventmillError, StoreTaken
from eventmill.runtime.process_id import this_process
from tests.story.command_line.conftest import CAMPAIGN, CommandLine, Ended, Mill, write_campaign


def answer(ended: Ended) -> object:
    """What a command printed as JSON."""
    assert (ended.code, ended.err) == (0, "")
    return json.loads(ended.out)


def test_a_finished_campaign_is_done_and_its_events_add_up(
    processed_campaign: Path, command_line: CommandLine
) -> None:
    """`status --json` has the state, the events by state, and what was spent."""
    told = answer(command_line("status", "campaign.yaml", "--json"))
    assert isinstance(told, dict)
    assert told.pop("cpu_seconds")["useful"] > 0
    assert told.pop("failures") > 3
    assert told == {
        "campaign": "squares",
        "state": "done",
        "target": 0.9,
        "events": {"total": 60, "merged": 57, "committed": 0, "leased": 0, "ready": 0, "abandoned": 3},
        "labels": [],
        "inputs": 2,
        "merged_files": 3,
        "workers": [],
        "blocks_waiting": 0,
        "losses": 0,
        "last_error": None,
    }


def test_a_campaign_can_be_named_as_it_is_in_the_ledger(
    processed_campaign: Path, command_line: CommandLine
) -> None:
    """A name does where the file does, in the default ledger or in one that is given."""
    by_file = command_line("status", "campaign.yaml")
    assert "squares is done" in by_file.out and "95.0%" in by_file.out
    assert command_line("status", "squares") == by_file
    assert command_line("status", "squares", "--ledger", ".eventmill/ledger.sqlite") == by_file


def test_a_campaign_runs_while_its_coordinator_lives_and_is_interrupted_afterwards(
    new_campaign: Callable[..., Mill], command_line: CommandLine
) -> None:
    """Who drives it and who holds its events is told from leases and processes."""
    mill = new_campaign()
    with mill.driven() as coordinator:
        mill.work(coordinator)
        block = coordinator.next_block(slots=1)
        assert block is not None
        mill.opened.ledger.claim(block.id, holder=str(this_process()))
        running = answer(command_line("status", "squares", "--json"))
        text = command_line("status", "squares").out
    stopped = answer(command_line("status", "squares", "--json"))
    assert isinstance(running, dict) and isinstance(stopped, dict)
    assert running["state"] == "running"
    (worker,) = running["workers"]
    assert (worker["pid"], worker["blocks"], worker["events"]) == (os.getpid(), 1, running["events"]["leased"])
    assert "squares is running" in text and str(os.getpid()) in text
    assert stopped["state"] == "interrupted"
    assert stopped["workers"] == [] and stopped["events"]["leased"] == 0
    assert stopped["events"]["committed"] == running["events"]["committed"] > 0


@pytest.mark.parametrize("wanted", [DesiredState.PAUSED, DesiredState.CANCELLED])
def test_what_the_user_wants_of_a_campaign_is_its_state(
    new_campaign: Callable[..., Mill], command_line: CommandLine, wanted: DesiredState
) -> None:
    """While its coordinator still lives, it is on the way there."""
    mill = new_campaign()
    with mill.driven():
        mill.opened.ledger.set_desired_state(mill.opened.record.id, wanted)
        told = answer(command_line("status", "squares", "--json"))
        under_way = {DesiredState.PAUSED: "pausing", DesiredState.CANCELLED: "cancelling"}[wanted]
        assert isinstance(told, dict) and told["state"] == under_way
        assert "When its run has ended" in command_line("status", "squares").out
    told = answer(command_line("status", "squares", "--json"))
    assert isinstance(told, dict) and told["state"] == wanted


def test_a_campaign_starts_until_a_worker_has_begun(
    new_campaign: Callable[..., Mill], command_line: CommandLine
) -> None:
    """Blocks that wait for a worker are told, since their events count as leased."""
    mill = new_campaign()
    with mill.driven() as coordinator:
        assert "squares is starting" in command_line("status", "squares").out
        block = coordinator.next_block(slots=1)
        told = command_line("status", "squares").out
        assert block is not None
        assert "squares is starting" in told and "1 block more, whose events are leased, too, wait" in told
        mill.opened.ledger.claim(block.id, holder=str(this_process()))
        told = command_line("status", "squares").out
        assert "squares is running" in told and "wait for a worker" not in told


def test_before_its_inputs_are_looked_into_a_campaign_counts_nothing(
    new_campaign: Callable[..., Mill], command_line: CommandLine
) -> None:
    """After an early Ctrl-C, say: `0 of 0 events` would be no news."""
    new_campaign()
    told = command_line("status", "squares").out + command_line("pause", "squares").out
    assert "not known yet: no input has been looked into" in told and " 0 of 0 " not in told


def test_what_dead_processes_held_waits_for_the_next_run_and_for_no_worker(
    new_campaign: Callable[..., Mill], command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reserved and claimed was killed."""
    mill = new_campaign()
    with mill.driven() as coordinator:
        assert coordinator.next_block(slots=2) is not None
        with monkeypatch.context() as patched:
            patched.setattr("eventmill.reports.status.is_gone", lambda holder: True)
            told = command_line("status", "squares").out
    assert "squares is interrupted" in told and "the next run takes them back" in told
    assert "wait for a free worker" not in told


def test_the_last_error_stays_until_a_run_ends_well(
    new_campaign: Callable[..., Mill], command_line: CommandLine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line with which the last run ended, here because no Prefect server could be started."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)  # that of the rooms' tests, if they run in this process
    mill = new_campaign()
    (folder / ".eventmill" / "prefect").write_text("not a folder")
    ended = command_line("run", "campaign.yaml")
    assert ended.code == 1
    line = ended.err.strip().splitlines()[-1].removeprefix("eventmill: ")
    assert line in command_line("status", "squares").out
    told = answer(command_line("status", "squares", "--json"))
    assert isinstance(told, dict) and told["last_error"]["message"] == line
    mill.run()
    told = answer(command_line("status", "squares", "--json"))
    assert isinstance(told, dict) and (told["state"], told["last_error"]) == ("done", None)


def test_a_campaign_that_misses_its_target_is_short(
    new_campaign: Callable[..., Mill], command_line: CommandLine
) -> None:
    """Nothing is left to do, one event is missing, and the text says what can be done."""
    new_campaign(payload={"callable": "payload.py:square", "parameters": {"poison": [7]}}).run()
    ended = command_line("status", "squares")
    assert ended.code == 0
    assert "squares is incomplete" in ended.out and "--reopen" in ended.out


def test_outputs_are_the_files_themselves(processed_campaign: Path, command_line: CommandLine) -> None:
    """Each listed path can be read and has the listed rows and events; the text has the whole checksums."""
    listed = answer(command_line("outputs", "squares", "--json"))
    assert isinstance(listed, list) and len(listed) == 3
    events: list[int] = []
    for file in listed:
        table = pq.read_table(file["path"])
        assert table.num_rows == file["rows"] == file["events"]
        assert Path(file["path"]).stat().st_size == file["bytes"]
        events += table["event"].to_pylist()
    assert events == [number for number in range(60) if number not in (7, 31, 32)]
    text = command_line("outputs", "squares").out
    assert all(file["sha256"] in text and file["path"] in text for file in listed)


def test_no_output_yet_is_said_so(new_campaign: Callable[..., Mill], command_line: CommandLine) -> None:
    """Nothing merged is no error: an empty list, or a sentence."""
    new_campaign()
    assert answer(command_line("outputs", "squares", "--json")) == []
    assert "no merged file yet" in command_line("outputs", "squares").out


def test_abandoned_events_have_their_reason_and_traceback(
    processed_campaign: Path, command_line: CommandLine
) -> None:
    """The poisonous events, exactly, with the payload's own traceback and what it printed."""
    listed = answer(command_line("abandoned", "squares", "--json"))
    assert isinstance(listed, list)
    assert [(span["input"], span["start"], span["stop"]) for span in listed] == [
        ("generated:0-30", 7, 8),
        ("generated:30-60", 1, 3),
    ]
    for span in listed:
        assert span["reason"] == "payload: ValueError: negative mass"
        assert 'payload.py", line 9, in square' in span["traceback"]
    assert "looking at 7" in listed[0]["traceback"]
    text = command_line("abandoned", "squares").out
    assert "3 of 60 events" in text and "3 events: payload: ValueError: negative mass" in text
    assert "generated:30-60  [1, 3)" in text and 'raise ValueError("negative mass")' in text


RUDE = """\
def square(events, where):
    print('\\x1b[2J')
    raise ValueError('\\x1b]0;t\\x07 \\udce9 \\x00')
"""


def test_no_order_to_a_terminal_gets_out_of_the_ledger(folder: Path, command_line: CommandLine) -> None:
    """Nor half a character: the reason is shown as Python would write it, on a terminal and as JSON."""
    campaign = read_campaign(
        write_campaign(folder, CAMPAIGN | {"inputs": {"generated": {"events": 1}}}, payload=RUDE)
    )
    mill = Mill(campaign, open_campaign(campaign, folder=folder))
    with mill.driven() as coordinator:
        while not coordinator.close_if_finished():
            mill.work(coordinator)
    shown = command_line("abandoned", "squares").out
    assert "1 event: payload: ValueError: \\x1b]0;t\\x07 \\udce9 \\x00" in shown
    assert not set(shown) & {"\x1b", "\x07", "\x00"} and "\\x1b[2J" in shown
    listed = answer(command_line("abandoned", "squares", "--json"))
    assert isinstance(listed, list)
    assert listed[0]["reason"] == "payload: ValueError: \\x1b]0;t\\x07 \\udce9 \\x00"


def test_what_was_closed_is_abandoned_without_a_traceback(
    new_campaign: Callable[..., Mill], command_line: CommandLine
) -> None:
    """The most frequent reason comes first."""
    poison = {"callable": "payload.py:square", "parameters": {"poison": [0]}}
    mill = new_campaign(payload=poison, inputs={"generated": {"events": 200}}, target=0.5)
    mill.run()
    text = command_line("abandoned", "squares").out
    assert text.index("target reached") < text.index("negative mass")
    listed = answer(command_line("abandoned", "squares", "--json"))
    assert isinstance(listed, list)
    closed = [span for span in listed if span["reason"] == "target reached"]
    assert closed and all(span["traceback"] is None for span in closed)


def test_nothing_abandoned_is_said_so(new_campaign: Callable[..., Mill], command_line: CommandLine) -> None:
    """An empty list, or a sentence."""
    new_campaign().run()
    assert answer(command_line("abandoned", "squares", "--json")) == []
    assert command_line("abandoned", "squares").out == "No event of squares is abandoned.\n"


def test_an_exact_campaign_passes_its_audit(processed_campaign: Path, command_line: CommandLine) -> None:
    """The audit says what it read and what that means."""
    ended = command_line("audit", "campaign.yaml")
    assert (ended.code, ended.err) == (0, "")
    assert "exact: every event is counted once" in ended.out
    told = answer(command_line("audit", "campaign.yaml", "--json"))
    assert isinstance(told, dict)
    assert told["exact"] is True and told["problems"] == []
    assert (told["merged_files"], told["rows"], told["events"]["total"]) == (3, 57, 60)


def test_a_merged_file_that_was_touched_fails_the_audit(
    new_campaign: Callable[..., Mill], command_line: CommandLine
) -> None:
    """The problem names the file, and the exit code is 4."""
    new_campaign().run()
    victim = sorted(Path("out").glob("*.parquet"))[1]
    victim.write_bytes(victim.read_bytes()[:-1])
    ended = command_line("audit", "squares")
    assert ended.code == 4
    assert victim.name in ended.out and "exact:" not in ended.out
    assert ended.err == (
        "eventmill: campaign 'squares' is not exact: the audit found 1 problem. Delete the "
        "merged files that are damaged; 'eventmill run CAMPAIGN.yaml' then computes the events of all missing "
        "files again.\n"
    )
    told = json.loads(command_line("audit", "squares", "--json").out)
    assert told["exact"] is False and len(told["problems"]) == 1


def a_stranger(mill: Mill) -> None:
    file = min(Path("out").glob("*.parquet"))
    shutil.copy(file, "out/squares-000000009000-000000009020.parquet")


def no_mark(mill: Mill) -> None:
    Path("out/_squares-campaign.json").unlink()


def a_damaged_range(mill: Mill) -> None:
    with mill.driven() as coordinator:
        mill.work(coordinator)
    output = mill.opened.ledger.committed_outputs(mill.opened.id)[0]
    os.truncate(Path("out") / output.key, output.bytes - 1)


def a_wrong_ledger(mill: Mill) -> None:
    with sqlite3.connect(".eventmill/ledger.sqlite") as ledger:
        ledger.execute("UPDATE merge SET rows = rows + 1 WHERE id = 1")
    ledger.close()


@pytest.mark.parametrize(
    ("harm", "is_run", "kind", "advice"),
    [
        (a_stranger, True, "owner", "First decide about the files in the store, as described above"),
        (no_mark, True, "mark", "'eventmill run campaign.yaml' writes the missing mark."),
        (
            a_damaged_range,
            False,
            "range",
            "'eventmill run campaign.yaml' computes the events of damaged range",
        ),
        (a_wrong_ledger, True, "ledger", "No run repairs a ledger that contradicts itself or an intact file"),
    ],
)
def test_a_failed_audit_says_what_helps_against_what_it_found(
    harm: Callable[[Mill], None],
    is_run: bool,
    kind: str,
    advice: str,
    new_campaign: Callable[..., Mill],
    command_line: CommandLine,
) -> None:
    """Merged files are to be deleted only if one is damaged; the next run does what was said of it."""
    mill = new_campaign()
    if is_run:
        mill.run()
    harm(mill)
    assert mill.opened.audit().kinds == {kind}
    ended = command_line("audit", "campaign.yaml")
    assert ended.code == 4 and "the audit found 1 problem. " + advice in ended.err
    assert "Delete the merged files" not in ended.err
    if kind == "owner":
        with pytest.raises(StoreTaken):
            new_campaign()
    else:
        new_campaign().run()
        assert (command_line("audit", "campaign.yaml").code == 0) is (kind != "ledger")


def test_looking_changes_nothing(processed_campaign: Path, command_line: CommandLine) -> None:
    """No view and no check writes into the folder, but for what SQLite itself keeps beside a ledger."""
    before = {path: path.read_bytes() for path in processed_campaign.rglob("*.*") if path.is_file()}
    for command in ("status", "outputs", "abandoned", "audit", "validate"):
        assert command_line(command, "campaign.yaml").code == 0
    after = {path: path.read_bytes() for path in processed_campaign.rglob("*.*") if path.is_file()}
    kept = (".sqlite-wal", ".sqlite-shm", ".sqlite")
    assert {p: b for p, b in after.items() if p.suffix not in kept} == {
        p: b for p, b in before.items() if p.suffix not in kept
    }


def test_a_good_campaign_is_valid_and_nothing_is_made(folder: Path, command_line: CommandLine) -> None:
    """`validate` says what it looked at."""
    write_campaign(folder)
    ended = command_line("validate", "campaign.yaml")
    assert (ended.code, ended.err) == (0, "")
    for words in ("payload.py:square", "2 inputs (generated) with 60 events", "20 events", "valid"):
        assert words in ended.out
    assert sorted(path.name for path in folder.iterdir()) == ["campaign.yaml", "payload.py"]


@pytest.mark.parametrize("kind", [EventmillError, *EventmillError.__subclasses__()])
def test_every_error_of_eventmill_has_a_documented_exit_code(
    kind: type[EventmillError], command_line: CommandLine
) -> None:
    """`eventmill --help` tells what the code of each error means."""
    assert f"{kind.exit_code} " in command_line("--help").out.split("Exit codes:")[1]


def test_looking_at_a_campaign_imports_neither_prefect_nor_dask(processed_campaign: Path, folder: Path) -> None:
    """Their import takes seconds, which `status` need not wait."""
    program = (
        "import sys, eventmill.cli\n"
        "try: eventmill.cli.main(['status', 'squares'])\n"
        "finally: print([m for m in sys.modules if m in ('prefect', 'dask', 'distributed')])\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=processed_campaign, capture_output=True, text=True)
    assert ended.returncode == 0 and ended.stdout.endswith("[]\n")


def test_a_reader_that_goes_away_is_no_error_to_talk_about(processed_campaign: Path) -> None:
    """`eventmill outputs … | true` prints nothing on standard error."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-c", "import eventmill.cli; eventmill.cli.main()", "outputs", "squares", "--json"]
    ended = subprocess.run(command, cwd=processed_campaign, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert ended.stderr == b"" and ended.returncode == 1


def test_status_without_a_campaign_lists_all_that_are_here(
    new_campaign: Callable[..., Mill], command_line: CommandLine, folder: Path
) -> None:
    """Of the usual ledger, and of those that campaign files in the folder name; also as data, and in Python."""
    with (mill := new_campaign()).driven() as coordinator:
        mill.work(coordinator)
    new_campaign(name="more", ledger="other.sqlite", output={"store": "out2"})
    (folder / "notes.yaml").write_text("- no campaign\n")
    listed = command_line("status").out.splitlines()
    assert listed[0].split() == ["campaign", "state", "done", "results", "ledger"]
    assert [line.split()[0] for line in listed[1:]] == ["squares", "more"]
    assert "interrupted" in listed[1] and " of 60 (" in listed[1] and listed[1].rstrip().endswith("ledger.sqlite")
    assert "0 of 0 (0.0%)" in listed[2] and str(folder / "out2") in listed[2]
    told = answer(command_line("status", "--ledger", "other.sqlite", "--json"))
    assert [(each["campaign"], each["ledger"]) for each in told] == [("more", "other.sqlite")]
    assert [each.name for each in api.campaigns("other.sqlite")] == ["more"]
