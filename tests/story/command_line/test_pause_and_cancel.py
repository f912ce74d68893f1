"""What a user may want of a campaign meanwhile: `pause`, `cancel`, and `gc`."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from eventmill.campaign.handle import store_of
from eventmill.campaign.merge_queue import begin_due
from eventmill.campaign.open import open_campaign
from eventmill.config.campaign_spec import read_campaign
from eventmill.core.leases import Directive
from eventmill.core.records import DesiredState
from eventmill.errors import CampaignPaused
from eventmill.runtime.process_id import this_process
from eventmill.work.merge import run_merge
from eventmill.work.store_mark import check_store_is_free
from tests.story.command_line.conftest import CommandLine, Mill, write_campaign


@pytest.mark.parametrize(
    ("command", "told", "state"),
    [("pause", Directive.DRAIN, "paused"), ("cancel", Directive.STOP, "cancelled")],
)
def test_a_worker_learns_what_is_wanted_and_the_next_run_goes_on(
    new_campaign: Callable[..., Mill], command_line: CommandLine, command: str, told: Directive, state: str
) -> None:
    """With its next reply a worker drains or stops; nothing new is handed out; a run goes on to the end."""
    mill = new_campaign()
    with mill.driven() as coordinator:
        mill.work(coordinator)
        done = coordinator.opened.ledger.counts(mill.opened.record.id).done
        block = coordinator.next_block(slots=1)
        assert block is not None
        claim = mill.opened.ledger.claim(block.id, holder=str(this_process()))
        assert claim is not None
        ended = command_line(command, "squares")
        assert ended.code == 0 and f"squares is {state}" in ended.out and f"{done} of 60 events" in ended.out
        assert mill.opened.ledger.renew(claim.lease).directive is told
        assert not coordinator.is_wanted()
        assert coordinator.next_block(slots=1) is None
    assert f"squares is {state}" in command_line("status", "squares").out
    new_campaign().run()
    assert "squares is done" in command_line("status", "squares").out
    assert command_line("audit", "squares").code == 0


@pytest.mark.usefixtures("long_lead")
@pytest.mark.parametrize("options", [[], ["--changed", "keep"], ["--reopen"]])
def test_a_campaign_that_was_paused_is_not_woken_while_it_is_driven(
    options: list[str], new_campaign: Callable[..., Mill], command_line: CommandLine
) -> None:
    """Somebody runs it again before its coordinator has ended: that is refused, and it stays paused."""
    mill = new_campaign()
    with mill.driven() as coordinator:
        mill.work(coordinator)
    ledger, number = mill.opened.ledger, mill.opened.record.id
    ledger.acquire_leadership(number, "elsewhere:1:1", is_gone=lambda holder: False)
    ledger.set_desired_state(number, DesiredState.PAUSED)
    counts = ledger.counts(number)
    ended = command_line("run", "campaign.yaml", *options)
    assert ended.code == 6 and "being run by process 1 on elsewhere" in ended.err and ended.err.count("\n") == 1
    assert (ledger.campaign("squares").desired_state, ledger.counts(number)) == (DesiredState.PAUSED, counts)


@pytest.mark.usefixtures("long_lead")
def test_abandoned_events_are_not_tried_again_behind_a_coordinators_back(
    new_campaign: Callable[..., Mill], command_line: CommandLine
) -> None:
    """`run --reopen` is refused while somebody drives the campaign."""
    mill = new_campaign()
    with mill.driven():
        mill.opened.ledger.close(mill.opened.record.id, reason="no more")
    mill.opened.ledger.acquire_leadership(mill.opened.record.id, "elsewhere:1:1", is_gone=lambda holder: False)
    assert command_line("run", "campaign.yaml", "--reopen").code == 6
    assert mill.opened.ledger.counts(mill.opened.record.id).abandoned == 60


def test_rubbish_is_collected_and_what_counts_is_left(
    new_campaign: Callable[..., Mill], command_line: CommandLine
) -> None:
    """An object that a dead attempt left goes; committed and merged ones, and those of living attempts, stay."""
    mill = new_campaign()
    store = store_of(mill.opened.record)
    with mill.driven() as coordinator:
        mill.work(coordinator)
        block = coordinator.next_block(slots=1)
        assert block is not None
        claim = mill.opened.ledger.claim(block.id, holder=str(this_process()))
        assert claim is not None
        Path("some.bytes").write_bytes(b"half a range")
        for attempt in (claim.lease.attempt, claim.lease.attempt + 1000):
            store.put(f"_ranges/squares/{attempt}/0-0-5-late.arrow", Path("some.bytes"))
        before = set(store.keys())
        assert "squares: 1 object deleted" in command_line("gc", "squares").out
        assert before - set(store.keys()) == {f"_ranges/squares/{claim.lease.attempt + 1000}/0-0-5-late.arrow"}
    assert "squares: 1 object deleted" in command_line("gc", "squares").out  # its attempt is dead by now
    assert "squares: 0 objects deleted" in command_line("gc", "squares").out
    new_campaign().run()
    assert command_line("audit", "squares").code == 0


@pytest.mark.parametrize(("command", "state"), [("pause", "paused"), ("cancel", "cancelled")])
def test_a_file_that_is_not_published_yet_is_work(
    command: str, state: str, new_campaign: Callable[..., Mill], command_line: CommandLine
) -> None:
    """Every event is merged, but its coordinator died before the files were shown: a run shows them."""
    mill = new_campaign()
    with mill.driven() as coordinator, pytest.MonkeyPatch.context() as dying:
        dying.setattr("eventmill.work.merge.publish_merges", lambda *_: None)
        while not coordinator.close_if_finished():
            mill.work(coordinator)
        for number in begin_due(mill.opened):
            run_merge(mill.opened.order, number, holder=str(this_process()))
    counts = mill.opened.counts()
    assert counts.merged == counts.total and not list(Path("out").glob("*.parquet"))
    told = command_line(command, "campaign.yaml").out
    assert f"squares is {state}: no process runs it now." in told
    assert "'eventmill run campaign.yaml' continues it." in told
    assert f"squares is {state}" in command_line("status", "squares").out
    new_campaign().run()
    assert len(list(Path("out").glob("*.parquet"))) == 3
    assert "squares has no work left, and no process runs it." in command_line(command, "squares").out


def test_what_nobody_knows_cannot_be_paused(new_campaign: Callable[..., Mill], command_line: CommandLine) -> None:
    """One line with the names there are, and nothing is changed."""
    new_campaign()
    ended = command_line("pause", "circles")
    assert ended.code == 1
    assert ended.err.startswith("eventmill: the ledger has no campaign 'circles'; it has: squares")


@pytest.mark.parametrize("wish", ["pause", "cancel"])
def test_a_run_that_was_asked_for_before_does_not_undo_a_wish(
    wish: str, new_campaign: Callable[..., Mill], command_line: CommandLine
) -> None:
    """It was being started when it was told to rest: that is its user's last word, and it is told so."""
    mill = new_campaign()
    asked_at = datetime.now(UTC)
    assert command_line(wish, "squares").code == 0
    with pytest.raises(CampaignPaused, match="while it was being started"):
        open_campaign(mill.campaign, folder=Path.cwd(), asked_at=asked_at)
    assert mill.opened.ledger.campaign("squares").desired_state is not DesiredState.RUN
    later = open_campaign(mill.campaign, folder=Path.cwd(), asked_at=datetime.now(UTC))
    assert later.record.desired_state is DesiredState.RUN


def test_a_command_is_not_taken_for_older_than_it_is() -> None:
    """A `run` right behind a `pause` is the later word."""
    code = (
        "from eventmill.cli.command_time import asked_at, note_asked\n"
        "note_asked(by_process=True)\n"
        "print(asked_at().timestamp())"
    )
    before = time.time()
    asked = float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    tick = 0.02  # Linux says when a process was started in hundredths of a second
    assert before - tick <= asked <= time.time()


def test_of_two_that_begin_a_campaign_at_once_the_mark_of_one_is_no_strangers_to_the_other(
    folder: Path,
) -> None:
    """Between its looks at the ledger and at the store the other one began it, in the same ledger."""
    campaign = read_campaign(write_campaign(folder))
    others = []

    def after_another_one(*arguments: Any, **more: Any) -> None:
        between.undo()
        others.append(open_campaign(campaign, folder=folder))
        check_store_is_free(*arguments, **more)

    with pytest.MonkeyPatch.context() as between:
        between.setattr("eventmill.campaign.open.check_store_is_free", after_another_one)
        opened = open_campaign(campaign, folder=folder)
    assert [other.record.uid for other in others] == [opened.record.uid]


def test_of_two_that_begin_a_campaign_at_once_each_finds_it(folder: Path) -> None:
    """Whoever comes second goes on as if it had been there before; who drives it, the lead decides."""
    campaign = read_campaign(write_campaign(folder))
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(lambda _: open_campaign(campaign, folder=folder), range(8)))
    assert len({each.record.id for each in opened}) == 1
