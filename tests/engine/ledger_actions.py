"""What people and workers do to a ledger, in few words, so that a test reads as a story."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import count

from eventmill.core.leases import Claim, FailureKind, FailureReport, LeadershipLease, Lease, Outcome, Reply
from eventmill.core.outputs import RangeOutput
from eventmill.core.ranges import EventRange
from eventmill.core.records import CampaignRow, Incident
from eventmill.ledger import Ledger
from eventmill.rules.cutting import Cuts, cut_ranges
from tests.conftest import SettableClock

SAID_NO = FailureReport(FailureKind.PAYLOAD, "no", "Traceback: no", "printed", cpu_seconds=2.0)
NOT_SET_UP = FailureReport(FailureKind.SETUP, "no library", cpu_seconds=3.0)
DIGEST = "0123456789abcdef"

_numbers = count()


def lead(ledger: Ledger, campaign: CampaignRow) -> LeadershipLease:
    """Take the campaign over from whoever led it."""
    return ledger.acquire_leadership(campaign.id, "coordinator", is_gone=lambda holder: True)


def begin(ledger: Ledger, leadership: LeadershipLease, *, events: int, size: int = 10, holder: str = "w") -> Claim:
    """Reserve and claim the next block of at most `events`, in ranges of `size`."""
    block = ledger.reserve(leadership, events=events, range_events=size)
    assert block is not None
    claim = ledger.claim(block.id, holder=holder)
    assert claim is not None
    return claim


def claims_until_nothing_is_left(ledger: Ledger, leadership: LeadershipLease, *, events: int) -> Iterator[Claim]:
    """Claim block after block, each as one range; a campaign that never comes to an end fails the test."""
    for _ in range(200):
        block = ledger.reserve(leadership, events=events, range_events=events)
        claim = ledger.claim(block.id, holder="w") if block else None
        if claim is None:
            return
        yield claim
    raise AssertionError("after 200 blocks there is still something to do")


def output(start: int, stop: int, *, key: str | None = None, size: int = 10) -> RangeOutput:
    """A stored output of `size` bytes with as many rows as events, under a key of its own."""
    key = key or f"outputs/{os.getpid()}-{next(_numbers)}"
    return RangeOutput(EventRange(start, stop), key, size, "0" * 64, stop - start, cpu_seconds=1.0)


def commit(ledger: Ledger, claim: Claim, *ranges: tuple[int, int], size: int = 10) -> Reply:
    """Commit these `[start, stop)` in one go."""
    return ledger.commit(claim.lease, [output(*piece, size=size) for piece in ranges], payload=DIGEST)


def ranges_of(claim: Claim, merge_events: int | None = None) -> list[EventRange]:
    """How a worker cuts what its claim is missing."""
    cuts = Cuts(first=claim.input.first, merge_events=merge_events)
    size = claim.block.range_events
    return [piece for missing in claim.missing for piece in cut_ranges(missing, size=size, cuts=cuts)]


def finish(ledger: Ledger, campaign: CampaignRow, *, size: int = 10, output_bytes: int = 10) -> None:
    """Commit whatever is READY."""
    leadership = lead(ledger, campaign)
    while block := ledger.reserve(leadership, events=100 * size, range_events=size):
        claim = ledger.claim(block.id, holder="w")
        assert claim is not None
        pieces = ranges_of(claim, campaign.rules.merge_events)
        reply = ledger.commit(claim.lease, [output(*piece, size=output_bytes) for piece in pieces], payload=DIGEST)
        assert set(reply.outcomes) == {Outcome.ACCEPTED}


def layout(ledger: Ledger, campaign: CampaignRow) -> list[str]:
    """The spans as `0 [0, 10) ready`, in campaign order; budgets as `f2 l1` where they were touched."""
    lines = []
    for item, span in ledger.spans(campaign.id):
        budgets = f" f{span.failures}" * bool(span.failures) + f" l{span.losses}" * bool(span.losses)
        lines.append(f"{item.ordinal} {span.range} {span.state}{budgets}")
    return lines


def watch_for(
    ledger: Ledger, campaign_id: int, clock: SettableClock, seconds: float, *, renewed: Sequence[Lease] = ()
) -> tuple[Incident, ...]:
    """Time passes while somebody looks at the leases every ten seconds, and these are renewed; what was lost."""
    lost: tuple[Incident, ...] = ()
    while seconds > 0:
        clock.move(min(seconds, 10))
        seconds -= 10
        for lease in renewed:
            ledger.renew(lease)
        lost += ledger.expire(campaign_id)
    return lost
