"""A run is never silent: it says what it does, and tells rate and time left when they can be known."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from eventmill.campaign import progress
from eventmill.campaign.doing import Board, doing, remark, written_on
from eventmill.campaign.interrupted import Stopping, said_at_once
from eventmill.campaign.merge_queue import begin_due
from eventmill.campaign.progress import Observation, Progress, _Waiting
from eventmill.cli.progress_bar import ROOM_FOR_CTRL_C, ProgressBar
from eventmill.core.records import JournalKind
from eventmill.runtime.process_id import this_process
from eventmill.work.merge import run_merge
from tests.story.command_line.conftest import A_MOMENT, Mill
from tests.waiting import until


def told_by(*progress: Progress, is_terminal: bool = False, width: int = 100) -> str:
    """What the bar prints of these."""
    out = io.StringIO()
    bar = ProgressBar(Console(file=out, force_terminal=is_terminal, color_system=None, width=width))
    for each in progress:
        bar(each)
    return out.getvalue()


def test_the_innermost_words_count_until_they_are_over() -> None:
    """Also if another thread ends in between; without a board nothing happens."""
    board = Board()
    with doing("nobody reads this"):
        remark("nor this")
    with written_on(board), doing("one"):
        assert board.words == "one"
        with doing("two"):
            assert board.words == "two"
            step = board.begin("three")
        assert board.words == "three"
        board.end(step)
        assert board.words == "one"
        remark("a sentence")
    assert (board.words, board.remarks) == ("", ("a sentence",))


def test_without_a_terminal_each_new_step_is_a_line_and_no_more() -> None:
    """Numbers that change in it make no new one."""
    begun = Progress("sky")
    running = Progress("sky", total=100, done=10, open=90, workers=2)
    said = told_by(
        replace(begun, doing="starting the Prefect server"),
        replace(begun, doing="starting the Prefect server"),
        replace(begun, doing="inspecting inputs, 0 of 100 done"),
        replace(begun, doing="inspecting inputs, 50 of 100 done"),
        replace(running, doing="setting up the payload on 2 workers"),
        replace(running, doing="setting up the payload on 2 workers (30 s so far)"),
        running,
        replace(running, done=100, open=0, merged=100, is_last=True),
    )
    assert said.splitlines() == [
        "sky: starting the Prefect server …",
        "sky: inspecting inputs, 0 of 100 done …",
        "sky: 10 of 100 events · 0 merged · 2 workers · 0 losses · setting up the payload on 2 workers …",
        "sky: 100 of 100 events · 100 merged · 2 workers · 0 losses",
    ]


def test_a_run_that_ends_before_there_is_anything_to_count_is_not_called_starting() -> None:
    """Nor are workers counted when there is none."""
    assert told_by(Progress("sky", is_last=True)) == ""
    assert "worker" not in told_by(Progress("sky", total=9, done=9, is_last=True))


@pytest.mark.parametrize("is_terminal", [True, False])
def test_an_interrupt_is_answered_by_one_line_above_the_bar(is_terminal: bool) -> None:
    """Once, whatever is told afterwards."""
    stopping = Progress("sky", total=10, stopping="stopping: 2 workers hand in what they hold")
    assert (
        told_by(stopping, stopping, replace(stopping, is_last=True), is_terminal=is_terminal).count("stopping:")
        == 1
    )


def test_the_bar_never_goes_backwards() -> None:
    """Whatever stands beside it takes no room from it."""
    running = Progress("sky", total=100, done=50)
    quiet = told_by(running, is_terminal=True)
    talkative = replace(running, rate=1234.0, workers=12, losses=3, failures=4, abandoned=5, seconds_left=4000.0)
    assert quiet.count("━") == told_by(talkative, is_terminal=True).count("━") > 0


def test_rate_and_time_left_are_told_when_they_are_known() -> None:
    """Not before: eleven hours were announced for two minutes."""
    running = Progress("sky", total=100, done=10, open=90, is_last=True)
    assert "/s" not in told_by(running) and "left" not in told_by(running)
    assert "3.0/s" in (said := told_by(replace(running, rate=3.0, seconds_left=3700.0))) and "1:01:40 left" in said


def test_notes_are_told_once() -> None:
    """Above the bar, on a line of their own."""
    noted = Progress("sky", total=10, remarks=("nothing differs",))
    said = told_by(noted, noted, replace(noted, remarks=("nothing differs", "[/dim] stays"), is_last=True))
    assert said.count("note: nothing differs\n") == 1 and "note: [/dim] stays\n" in said


def test_the_bar_leaves_room_for_what_a_terminal_prints_at_ctrl_c() -> None:
    """`^C` behind a full line would wrap, and leave a second bar; and the clock goes on when all is processed."""
    said = told_by(
        Progress("sky", total=10, done=10, doing="merging, 1 of 5 files done"), is_terminal=True, width=100
    )
    shown = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", said).replace("\r", "\n")
    lines = [line for line in shown.splitlines() if "merging" in line]
    assert lines and 90 <= max(map(len, lines)) <= 100 - ROOM_FOR_CTRL_C


def test_a_run_is_told_from_its_first_block_to_its_last_file(new_campaign: Callable[..., Mill]) -> None:
    """What the ledger knows: blocks that nobody has, a set-up, merges; then what a run says of itself."""
    mill, told, board = new_campaign(), list[Progress](), Board()
    heard = threading.Event()

    def listen(progress: Progress) -> None:
        told.append(progress)
        heard.set()

    def next_words() -> str:
        heard.clear()
        assert heard.wait(60)
        heard.clear()
        assert heard.wait(60)  # the one before may have been looked up earlier
        return told[-1].doing

    with Observation("squares", listen, board=board) as observation, mill.driven() as coordinator:
        observation.follow(mill.opened)
        assert next_words() == ""  # the run has said nothing yet
        with written_on(board), doing("handing out the first events"):
            pass
        assert next_words() == "handing out the first events"  # until something else is known
        block = coordinator.next_block(slots=1)
        assert block is not None
        claim = mill.opened.ledger.claim(block.id, holder=str(this_process()))
        assert next_words().startswith("setting up the payload on 1 worker")
        step = board.begin("writing the report")
        assert next_words() == "writing the report"
        board.end(step)
        assert claim is not None
        mill.opened.ledger.release(claim.lease)
        while not coordinator.close_if_finished():
            mill.work(coordinator)
        assert begin_due(mill.opened)
        until(lambda: told[-1].doing == "merging, 0 of 3 files done", seconds=60)
        for number in mill.opened.open_merges():
            run_merge(mill.opened.order, number, holder=str(this_process()))
        until(lambda: told[-1].doing == "ending the run", seconds=60)
        step = board.begin("ending the workers")
        until(lambda: told[-1].doing == "ending the workers", seconds=60)
        board.end(step)
        assert next_words() == "ending the workers"  # it is not twice at the same step
    assert told[-1].is_last and told[-1].doing == "" and told[-1].total == 60


def test_an_interrupt_is_told_at_once_and_predicts_nothing(new_campaign: Callable[..., Mill]) -> None:
    """Before the ledger is asked again; with the number of workers that hold events."""
    mill, told, heard = new_campaign(), list[Progress](), threading.Event()

    def listen(progress: Progress) -> None:
        told.append(progress)
        heard.set()

    with Observation("squares", listen) as observation, mill.driven() as coordinator:
        observation.follow(mill.opened)
        block = coordinator.next_block(slots=1)
        assert block is not None
        assert mill.opened.ledger.claim(block.id, holder=str(this_process())) is not None
        until(lambda: told and told[-1].workers == 1, seconds=60)
        observation.stop(lambda workers: f"stopping: {workers} at work")
        until(lambda: told[-1].stopping == "stopping: 1 at work", seconds=60)
    assert told[-1].is_last and told[-1].seconds_left is None


def test_when_nobody_has_events_that_is_told(new_campaign: Callable[..., Mill]) -> None:
    """Instead of `0 workers`, once it lasts: between two blocks it is nothing."""
    waiting = _Waiting()
    assert [
        waiting.words(n, now=at) for at, n in ((1.0, 1), (2.0, 0), (3.0, 0), (5.0, 0), (6.0, 2), (7.0, 0))
    ] == [*("", "", "", "waiting for a worker", "", "")]


@pytest.mark.parametrize(
    ("signal", "workers", "said"),
    [
        ("Ctrl-C", 1, "stopping: 1 worker hands in what it holds, at most 20 s; Ctrl-C again stops at once"),
        ("Ctrl-C", 0, "stopping: no worker holds events, so this takes seconds; Ctrl-C again"),
        ("SIGTERM", 2, "stopping, because of SIGTERM: 2 workers hand in what they hold, at most 20 s"),
    ],
)
def test_what_is_said_at_once_after_an_interrupt(
    signal: str, workers: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What happens now, how long it takes at most, and what a second one would do."""
    monkeypatch.setattr("eventmill.campaign.interrupted.name_of_heard", lambda: signal)
    assert said_at_once(workers).startswith(said)


def test_the_last_words_tell_what_is_kept_and_how_to_go_on(new_campaign: Callable[..., Mill]) -> None:
    """With the command, if the campaign is a file; `eventmill status` repeats them."""
    assert Stopping({}, None).last_words() == (
        "interrupted by Ctrl-C: nothing was begun. Run it again: it continues where it stopped."
    )
    mill, stopping = new_campaign(), Stopping("my/campaign.yaml", None)
    stopping.opened = mill.opened
    with mill.driven() as coordinator:
        mill.work(coordinator)
        done = coordinator.opened.counts().done
    said = stopping.last_words()
    assert said == (
        f"interrupted by Ctrl-C: {done} of 60 events are done and kept. "
        "'eventmill run my/campaign.yaml' continues where it stopped."
    )
    assert [line.reason for line in mill.opened.ledger.journal(mill.opened.id, JournalKind.RUN_FAILED)] == [said]


def test_after_an_interrupt_only_what_is_begun_is_waited_for(new_campaign: Callable[..., Mill]) -> None:
    """The rest of each block is taken back from its worker, who learns it with its next reply."""
    mill = new_campaign(inputs={"generated": {"events": 60}})
    with mill.driven() as coordinator:
        block = coordinator.next_block(slots=1)
        assert block is not None and len(block) > 5
        claim = mill.opened.ledger.claim(block.id, holder=str(this_process()))
        assert claim is not None
        assert coordinator.cut_short() == 1
        assert mill.opened.counts().leased == 5  # one range
        assert coordinator.cut_short() == 1
        reply = mill.opened.ledger.renew(claim.lease, begun=block.start + 5)
        assert reply.stop == block.start + 5
        mill.opened.ledger.release(claim.lease)
        assert coordinator.cut_short() == 0


def test_what_takes_a_moment_is_not_told(
    new_campaign: Callable[..., Mill], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal shows no bar; a campaign that was finished is told once."""
    monkeypatch.setattr(progress, "MOMENT_SECONDS", A_MOMENT)
    told: list[Progress] = []
    with Observation("squares", told.append):
        pass
    assert told == []
    with Observation("squares", told.append) as observation:
        observation.follow(new_campaign().opened)
    assert len(told) == 1 and told[0].is_last
