"""What must be true of a ledger, told from its answers alone: a model beside the database, event by event.

It knows nothing of spans, blocks or SQL: only who holds which events under which attempt, which events are
committed under which key, and which are in which merged file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from eventmill.core.leases import Claim, Outcome
from eventmill.core.outputs import Merge, MergedOutput, MergeLease, RangeOutput
from eventmill.core.ranges import EventRange
from eventmill.core.records import Incident
from eventmill.core.states import State
from eventmill.ledger import Ledger

Event = tuple[int, int]
"""Input and position."""


def events_of(input_id: int, piece: EventRange) -> set[Event]:
    """The events of a range."""
    return {(input_id, position) for position in range(piece.start, piece.stop)}


@dataclass
class Held:
    """What the holder of one attempt may still commit, and until when it may be silent."""

    block_id: int
    holder: str
    ends: datetime
    events: set[Event]
    begun: int = 0  # as it said
    extended: set[datetime] = field(default_factory=set)  # ends that it was given because nobody had looked


@dataclass
class Belief:
    """Changes with every answer of the ledger; `expect_*` say what the answer has to be."""

    held: dict[int, Held] = field(default_factory=dict)  # by attempt
    committed: dict[str, set[Event]] = field(default_factory=dict)  # by key
    seen: set[str] = field(default_factory=set)  # every key that was ever accepted and not forgotten since
    merging: dict[int, tuple[int | None, set[str]]] = field(default_factory=dict)  # attempt and keys, by merge
    merged: dict[int, tuple[int, set[Event]]] = field(default_factory=dict)  # attempt and events, by merge

    def claimed(self, claim: Claim) -> None:
        """A claim fences the one before it on the same block."""
        self.lost([a for a, held in self.held.items() if held.block_id == claim.block.id])
        assert claim.lease.attempt > max(self.held, default=0)
        events = {e for piece in claim.missing for e in events_of(claim.input.id, piece)}
        assert not events & self._safe()
        lease = claim.lease
        self.held[lease.attempt] = Held(lease.block_id, lease.holder, lease.expires_at, events)

    def expect_commit(self, claim: Claim, outputs: list[RangeOutput]) -> list[Outcome]:
        """Accepted exactly when the attempt is current and still holds all events of the range."""
        held = self.held.get(claim.lease.attempt)
        free = set(held.events) if held else set()
        expected = []
        for output in outputs:
            events = events_of(claim.input.id, output.range)
            if output.key in self.seen:
                expected.append(Outcome.DUPLICATE)
            elif events <= free:
                free -= events
                expected.append(Outcome.ACCEPTED)
            else:
                expected.append(Outcome.FENCED)
        return expected

    def commit(self, claim: Claim, output: RangeOutput) -> None:
        """One accepted output."""
        events = events_of(claim.input.id, output.range)
        assert not events & self._safe()
        self.committed[output.key] = events
        self.seen.add(output.key)
        self.let_go(claim, output.range)

    def holds(self, claim: Claim, piece: EventRange) -> bool:
        """Whether a report about this range has to be heard."""
        held = self.held.get(claim.lease.attempt)
        return held is not None and events_of(claim.input.id, piece) <= held.events

    def let_go(self, claim: Claim, piece: EventRange) -> None:
        """These events are settled for all who are at them; a lease that holds none is over."""
        for attempt, held in list(self.held.items()):
            held.events -= events_of(claim.input.id, piece)
            if not held.events:
                del self.held[attempt]

    def twin(self, attempt: int) -> int | None:
        """The other attempt at the same events."""
        events = self.held[attempt].events
        return next((a for a, held in self.held.items() if a != attempt and held.events & events), None)

    def shortened(self, block_id: int, freed: int) -> None:
        """The last events of a block are its holder's no more; never the first, nor what it had begun."""
        holders = [held for held in self.held.values() if held.block_id == block_id]
        assert freed == 0 or len(holders) == 1
        for held in holders:
            kept = sorted(held.events)[: len(held.events) - freed]
            assert kept and {event for event in held.events if event[1] < held.begun} <= set(kept)
            held.events = set(kept)

    def lost(self, attempts: list[int]) -> None:
        """These attempts are fenced."""
        for attempt in attempts:
            del self.held[attempt]

    def check_losses(self, incidents: tuple[Incident, ...], attempts: set[int]) -> None:
        """Exactly these attempts were lost, each with a range that it held and had not committed."""
        assert {incident.attempt for incident in incidents} == attempts
        for incident in incidents:
            assert incident.attempt is not None and incident.start is not None and incident.stop is not None
            positions = {position for _, position in self.held[incident.attempt].events}
            assert set(range(incident.start, incident.stop)) <= positions
            assert incident.start == min(positions)
        self.lost(list(attempts))

    def claimed_merge(self, merge: Merge, lease: MergeLease) -> None:
        """The group never changes while its merge exists."""
        keys = {output.key for output in merge.outputs}
        assert keys <= self.committed.keys()
        if merge.id in self.merging:
            assert self.merging[merge.id][1] == keys
        assert not any(keys & other for number, (_, other) in self.merging.items() if number != merge.id)
        self.merging[merge.id] = (lease.attempt, keys)

    def expect_complete(self, lease: MergeLease) -> Outcome:
        """Accepted once, and from the latest claim only."""
        if lease.merge_id in self.merged:
            latest = self.merged[lease.merge_id][0] == lease.attempt
            return Outcome.DUPLICATE if latest else Outcome.FENCED
        attempt, _ = self.merging.get(lease.merge_id, (None, set()))
        return Outcome.ACCEPTED if attempt == lease.attempt else Outcome.FENCED

    def completed(self, lease: MergeLease, merged: MergedOutput) -> None:
        """The group is one merged file now."""
        _, keys = self.merging.pop(lease.merge_id)
        events = set().union(*(self.committed.pop(key) for key in keys))
        self.merged[lease.merge_id] = (lease.attempt, events)
        assert sum(stop - start for _, start, stop in merged.spans) == merged.events == len(events)

    def dissolved(self, merge_id: int) -> set[str]:
        """The group is free again; returns its keys."""
        return self.merging.pop(merge_id)[1]

    def check(self, ledger: Ledger, campaign_id: int, merge_events: int | None) -> None:
        """The ledger says of every event what is believed here, and never holds one twice or not at all."""
        assert ledger.audit(campaign_id) == ()
        by_state: dict[State, set[Event]] = {state: set() for state in State}
        for item, span in ledger.spans(campaign_id):
            by_state[span.state] |= events_of(item.id, span.range)
            assert (span.payload is not None) == (span.state in (State.COMMITTED, State.MERGED))
            if merge_events and span.state in (State.COMMITTED, State.MERGED):
                first, last = item.first + span.start, item.first + span.stop - 1
                assert first // merge_events == last // merge_events
        assert by_state[State.COMMITTED] == set().union(*self.committed.values())
        assert by_state[State.MERGED] == set().union(*(events for _, events in self.merged.values()))
        assert by_state[State.LEASED] >= set().union(*(held.events for held in self.held.values()))
        merging = {attempt for attempt, _ in (*self.merging.values(), *self.merged.values())}
        assert ledger.live_attempts(campaign_id) == self.held.keys() | merging

    def _safe(self) -> set[Event]:
        return set().union(*self.committed.values(), *(events for _, events in self.merged.values()))
