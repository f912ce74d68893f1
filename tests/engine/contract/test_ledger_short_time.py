"""A pilot that has time for so many events gets a block that it can do, or none."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventmill.core.access_tokens import Role
from eventmill.core.leases import Claim
from eventmill.core.ranges import EventRange
from eventmill.core.records import CampaignRow
from eventmill.ledger import Ledger
from eventmill.service.tokens import make_token
from tests.conftest import SettableClock, new_campaign
from tests.engine.contract.ledgers import new_ledger
from tests.engine.ledger_actions import NOT_SET_UP, commit, layout, lead, output, ranges_of

CampaignHandle = Callable[..., CampaignRow]

_names = itertools.count()


def acquire(ledger: Ledger, campaign: CampaignRow, most: int | None, *, nonce: str = "n" * 8) -> Claim | None:
    return ledger.acquire(
        [campaign.id], holder="pilot/a/1", nonce=nonce, most_events=None if most is None else {campaign.id: most}
    )


def offer(ledger: Ledger, campaign: CampaignRow, *, events: int, size: int) -> int:
    block = ledger.reserve(lead(ledger, campaign), events=events, range_events=size)
    assert block is not None and ledger.offer(block.id)
    return block.id


def test_a_block_is_cut_behind_the_last_range_that_fits(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """What is behind it is READY at once, for others."""
    campaign = open_campaign(100)
    offer(ledger, campaign, events=60, size=20)
    claim = acquire(ledger, campaign, 45)
    assert claim is not None and claim.missing == (EventRange(0, 40),) and claim.block.stop == 40
    assert layout(ledger, campaign) == ["0 [0, 40) leased", "0 [40, 100) ready"]
    assert ledger.commit(claim.lease, [output(0, 20), output(20, 40)], payload="d").outcomes[0] == "accepted"


def test_a_block_of_which_no_range_fits_is_left_to_others(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Nothing of it changes."""
    campaign = open_campaign(100)
    offer(ledger, campaign, events=60, size=20)
    assert acquire(ledger, campaign, 19) is None
    assert acquire(ledger, campaign, 0) is None
    assert layout(ledger, campaign) == ["0 [0, 60) leased", "0 [60, 100) ready"]
    whole = acquire(ledger, campaign, None)
    assert whole is not None and len(whole.block) == 60


def test_a_call_that_is_repeated_has_the_same_claim(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Though less time is left by then."""
    campaign = open_campaign(100)
    offer(ledger, campaign, events=60, size=20)
    claim = acquire(ledger, campaign, 45)
    assert acquire(ledger, campaign, 5) == claim


def test_a_duplicate_claim_is_taken_whole_or_not(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """A second claim on the events of a slow block is never cut: both claims are of the same events."""
    campaign = open_campaign(40)
    leadership = lead(ledger, campaign)
    slow = ledger.reserve(leadership, events=40, range_events=10)
    assert slow is not None
    first = ledger.claim(slow.id, holder="slow", nonce="m" * 8)
    assert first is not None
    commit(ledger, first, (0, 10))
    copy = ledger.reserve_duplicate(leadership, slow.id)
    assert copy is not None and ledger.offer(copy.id)
    assert acquire(ledger, campaign, 29) is None
    claim = acquire(ledger, campaign, 30)
    assert claim is not None and claim.missing == (EventRange(10, 40),)


def test_a_session_says_later_what_it_has(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Until it has ended."""
    open_campaign(10)
    token = make_token(ledger, Role.PILOT, campaigns=None, label="", lasts=None).split("_")[1]
    ledger.begin_session("s1", token_id=token, name="a", slots=1, offers={"gpus": 1}, campaigns=None)
    ledger.note_offers("s1", {"gpus": 1, "environments": {"d": []}})
    found = ledger.session("s1")
    assert found is not None and found.offers == {"gpus": 1, "environments": {"d": []}}
    ledger.end_session("s1", reason="over")
    ledger.note_offers("s1", {})
    ledger.note_offers("nobody", {})
    assert ledger.session("s1").offers == found.offers  # type: ignore[union-attr]


@dataclass(frozen=True)
class Offered:
    """A block of a campaign, and what a pilot has time for."""

    events: int
    block: int
    size: int
    most: int
    merge: int | None


ANY = st.builds(
    Offered,
    events=st.integers(1, 90),
    block=st.integers(1, 90),
    size=st.integers(1, 40),
    most=st.integers(0, 100),
    merge=st.none() | st.integers(5, 50),
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(offered=ANY)
def test_whatever_is_offered_what_is_given_fits(offered: Offered, tmp_path: Path, clock: SettableClock) -> None:
    """At most so many events, whole ranges as they would have been cut, and one more would be too much."""
    what_is_given_fits(new_ledger("memory", tmp_path, clock), offered)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(offered=ANY)
def test_so_it_is_in_a_database(offered: Offered, tmp_path: Path, clock: SettableClock) -> None:
    """The same law, for fewer blocks."""
    folder = tmp_path / str(next(_names))
    folder.mkdir()
    what_is_given_fits(new_ledger("sqlite", folder, clock), offered)


def what_is_given_fits(ledger: Ledger, offered: Offered) -> None:
    merge, most = offered.merge, offered.most
    campaign = new_campaign(ledger, (offered.events,), **({} if merge is None else {"merge_events": merge}))
    number = offer(ledger, campaign, events=offered.block, size=offered.size)
    (whole,) = ledger.block_ranges([number]).values()
    given = acquire(ledger, campaign, most)
    assert ledger.audit(campaign.id) == ()
    if given is None:
        taken = acquire(ledger, campaign, None)
        assert taken is not None and len(ranges_of(taken, merge)[0]) > most
        return
    assert sum(map(len, given.missing)) <= most and given.block.start == whole.start
    ranges = ranges_of(given, merge)
    ledger.setup_failed(given.lease, NOT_SET_UP)
    offer(ledger, campaign, events=offered.block, size=offered.size)
    again = acquire(ledger, campaign, None, nonce="m" * 8)
    assert again is not None
    uncut = ranges_of(again, merge)
    assert ranges == uncut[: len(ranges)]
    assert len(ranges) == len(uncut) or sum(map(len, uncut[: len(ranges) + 1])) > most
