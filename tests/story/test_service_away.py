"""A run whose pilots have an event service of their own, and that service is away for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.open import open_campaign
from eventmill.campaign.split_inputs import register, split
from eventmill.cluster.service_watch import PATIENCE_SECONDS, ServiceWatch, answers
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.leases import Claim, Outcome
from eventmill.core.records import JournalKind
from eventmill.ledger import create_ledger
from tests.conftest import SettableClock
from tests.engine.ledger_actions import begin
from tests.pilots import led_by_pilots

LEASE = 60


class Away:
    """A service that a test switches off and on, looked at whenever time passes."""

    def __init__(self, clock: SettableClock) -> None:
        self.is_up, self._clock, self._begun = True, clock, clock.now
        self.watch = ServiceWatch(lambda: self.is_up, monotonic=self.monotonic)
        self.watch.look()

    def monotonic(self) -> float:
        return (self._clock.now - self._begun).total_seconds()


@contextmanager
def in_work(
    campaign: Callable[..., CampaignSpec], clock: SettableClock, folder: Path
) -> Iterator[tuple[Coordinator, Claim, Away]]:
    """A coordinator, a block that a pilot has, and the service through which it renews."""
    ledger = create_ledger(f"memory://{folder}", clock=clock)
    spec = campaign("number", events=100, ranges={"events": 10}, limits={"lease": f"{LEASE}s"})
    spec = spec.model_copy(update={"ledger": ledger.url})
    opened, away = open_campaign(spec, folder=folder), Away(clock)
    with Coordinator(opened, spec, monotonic=away.monotonic, is_served=lambda: away.watch.is_there) as coordinator:
        found, unreadable = split(opened.urls, opened.order.source, folder=opened.order.folder)
        register(opened, spec, found, unreadable)
        yield coordinator, begin(ledger, coordinator.leadership, events=50, holder="pilot/far/1"), away


def pass_time(coordinator: Coordinator, clock: SettableClock, away: Away, seconds: int) -> int:
    """Seconds pass, in which the coordinator watches; how many leases it took back."""
    lost = 0
    for _ in range(seconds // 2):
        clock.move(2)
        away.watch.look()
        lost += len(coordinator.watch())
    return lost


@pytest.mark.parametrize("outage", [50, 70, 900])
def test_no_lease_ends_while_the_service_is_away(
    campaign: Callable[..., CampaignSpec], clock: SettableClock, tmp_path: Path, outage: int
) -> None:
    """Though the coordinator looks all the time: after the outage there is a lease's time to come back."""
    with in_work(campaign, clock, tmp_path) as (coordinator, claim, away):
        assert pass_time(coordinator, clock, away, 18) == 0
        away.is_up = False
        assert pass_time(coordinator, clock, away, outage) == 0
        away.is_up = True
        assert pass_time(coordinator, clock, away, LEASE - 2) == 0
        assert coordinator.opened.ledger.renew(claim.lease).outcomes == (Outcome.ACCEPTED,)
        assert pass_time(coordinator, clock, away, LEASE) == 0
        assert pass_time(coordinator, clock, away, 4) == 1


def test_a_service_that_is_away_for_good_keeps_no_block_for_ever(
    campaign: Callable[..., CampaignSpec], clock: SettableClock, tmp_path: Path
) -> None:
    """After half an hour its pilots have given up, and others get what they held."""
    with in_work(campaign, clock, tmp_path) as (coordinator, claim, away):
        away.is_up = False
        assert pass_time(coordinator, clock, away, int(PATIENCE_SECONDS)) == 0
        assert pass_time(coordinator, clock, away, 2 * LEASE + 10) == 1
        assert coordinator.opened.ledger.renew(claim.lease).outcomes == (Outcome.FENCED,)


def test_a_service_that_never_answered_may_be_out_of_reach_from_here(
    campaign: Callable[..., CampaignSpec], clock: SettableClock, tmp_path: Path
) -> None:
    """The run need not reach it: then leases end as always."""
    with in_work(campaign, clock, tmp_path) as (coordinator, _, away):
        away.is_up = False
        away.watch = ServiceWatch(lambda: away.is_up, monotonic=away.monotonic)
        assert pass_time(coordinator, clock, away, LEASE + 4) == 1
        assert coordinator.opened.journal(JournalKind.EXTENDED) == ()


def test_what_answers_is_a_service(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """Which needs no token for that; nobody listens at port 9."""
    with led_by_pilots(campaign("number", events=20), folder=tmp_path / "led") as led:
        assert answers(led.url) and answers(f"{led.url}/")
    assert not answers(led.url) and not answers("http://127.0.0.1:9") and not answers("nonsense")
