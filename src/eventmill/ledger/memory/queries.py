"""Queries of a ledger in memory. They change nothing."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from eventmill.core.partition import partition_problems
from eventmill.core.ranges import Input, Span
from eventmill.core.records import (
    NOTHING_LEFT,
    TARGET_REACHED,
    Counts,
    FailedRun,
    HeldBlock,
    Holder,
    Incident,
    JournalKind,
    LossRate,
    PublishedFile,
    StateSpan,
    UsageCause,
    UsageTotals,
    WorkerRow,
)
from eventmill.core.states import State
from eventmill.ledger.memory.tables import MemoryTables


class Queries(MemoryTables):
    """Queries that change nothing."""

    def counts_by_label(self, campaign_id: int) -> dict[str | None, Counts]:
        """Label -> events by state, in campaign order; None for inputs without a label."""
        with self._lock:
            campaign = self._look_at(campaign_id)
            found: dict[str | None, Counter[str]] = {item.label: Counter() for item in campaign.inputs.values()}
            for span in campaign.spans:
                found[campaign.inputs[span.input_id].label][span.state] += len(span)
            return {label: Counts(**states) for label, states in found.items()}

    def newest_attempt(self) -> int:
        """The attempt that was drawn last; 0 before the first."""
        with self._lock:
            return self._attempts

    def audit(self, campaign_id: int) -> tuple[str, ...]:
        """Problems within the ledger, one line each; empty if every input is partitioned exactly."""
        with self._lock:
            campaign = self._look_at(campaign_id)
            by_input: dict[int, list[Span]] = {number: [] for number in campaign.inputs}
            for span in campaign.spans:
                by_input[span.input_id].append(span)
            problems, first = [], 0
            for item in campaign.inputs.values():
                problems += partition_problems(item.url, item.id, item.events, by_input[item.id])
                if item.first != first:
                    problems.append(f"{item.url} begins at campaign position {item.first}, not {first}")
                first += item.events
            outputs = campaign.outputs.values()
            live = {row.id: (row.input_id, row.output.range) for row in outputs if row.dropped_at is None}
            held = {s.output_id: (s.input_id, s.range) for s in campaign.spans if s.output_id is not None}
            if live != held:
                problems.append(f"{len(live)} live outputs but {len(held)} committed spans, or of other events")
            for row in campaign.merges.values():
                events = sum(map(len, campaign.spans.of_merge(row.id)))
                if row.completed_at is not None and events != row.events:
                    problems.append(f"merged file {row.key} holds {row.events} events, its spans {events}")
            blocks = {s.block_id for s in campaign.spans if s.block_id is not None}
            owners = {row.owner for row in campaign.blocks.values()}
            if blocks != owners:
                problems.append(f"{len(owners)} blocks are there but spans of {len(blocks)}, or of other ones")
            return tuple(problems)

    def spans(self, campaign_id: int, *states: State) -> tuple[tuple[Input, Span], ...]:
        """Spans with their inputs, in campaign order; all states unless some are named."""
        with self._lock:
            campaign = self._look_at(campaign_id)
            return tuple(
                (campaign.inputs[s.input_id], s) for s in campaign.spans if not states or s.state in states
            )

    def time(self) -> datetime:
        """Now, by the clock of the ledger."""
        return self._now()

    def state_spans(self, campaign_id: int) -> tuple[StateSpan, ...]:
        """The state of every event, by campaign-wide positions, in campaign order."""
        return tuple(
            StateSpan(item.first + span.start, item.first + span.stop, span.state)
            for item, span in self.spans(campaign_id)
        )

    def state_bounds(self, campaign_id: int, *, first: int, stop: int) -> dict[State, tuple[list[int], list[int]]]:
        """State -> where its spans start and where they stop, by campaign-wide positions, of these inputs."""
        found: dict[State, tuple[list[int], list[int]]] = {}
        for item, span in self.spans(campaign_id):
            if first <= item.ordinal < stop:
                starts, stops = found.setdefault(span.state, ([], []))
                starts.append(item.first + span.start)
                stops.append(item.first + span.stop)
        return found

    def held_blocks(self, campaign_id: int) -> tuple[HeldBlock, ...]:
        """What workers hold, block by block."""
        found = []
        with self._lock:
            campaign = self._look_at(campaign_id)
            for _, row in sorted(campaign.blocks.items()):
                spans = campaign.spans.of_block(row.id)
                if row.claimed_at is None or row.expires_at is None or row.copy_of is not None or not spans:
                    continue
                url, events = campaign.inputs[row.input_id].url, sum(map(len, spans))
                ends = spans[0].start, spans[-1].stop
                found.append(HeldBlock(row.id, row.holder, url, *ends, events, row.claimed_at, row.expires_at))
        return tuple(found)

    def newest_files(self, campaign_id: int, *, most: int) -> tuple[PublishedFile, ...]:
        """The merged files that were published last, newest first, at most so many."""
        with self._lock:
            rows = [(row.published_at, row) for row in self._look_at(campaign_id).merges.values()]
        shown = [(at, row) for at, row in rows if at is not None]
        newest = sorted(shown, key=lambda each: (each[0], each[1].id), reverse=True)[:most]
        return tuple(PublishedFile(row.key, at, row.events, row.rows, row.bytes) for at, row in newest)

    def count_files(self, campaign_id: int) -> tuple[int, int]:
        """`(files, bytes)` of the merged files that are published."""
        with self._lock:
            rows = [r for r in self._look_at(campaign_id).merges.values() if r.published_at is not None]
            return len(rows), sum(row.bytes for row in rows)

    def block_holders(self, campaign_id: int) -> dict[int, str]:
        """Block -> the worker that claimed it, without duplicate claims."""
        with self._lock:
            blocks = self._look_at(campaign_id).blocks.values()
            return {row.id: row.holder for row in blocks if row.attempt is not None and row.copy_of is None}

    def workers(self, campaign_id: int) -> tuple[WorkerRow, ...]:
        """All workers that were ever seen at the campaign, by their ids."""
        with self._lock:
            rows = sorted(self._look_at(campaign_id).holders.items())
            return tuple(WorkerRow(name, row.seen_at, row.quarantined_at) for name, row in rows)

    def rows(self, campaign_id: int) -> int:
        """The number of spans of the campaign: the size of its ledger."""
        with self._lock:
            return len(self._look_at(campaign_id).spans)

    def journal(self, campaign_id: int, *kinds: JournalKind) -> tuple[Incident, ...]:
        """The lines of the journal, oldest first; only of these kinds, if some are given."""
        with self._lock:
            return tuple(line.incident for line in self._look_at(campaign_id).lines(*kinds))

    def newest_incidents(self, campaign_id: int, *kinds: JournalKind, most: int) -> tuple[Incident, ...]:
        """The newest lines of the journal of these kinds, newest first, at most so many."""
        return self.journal(campaign_id, *kinds)[::-1][:most]

    def count_incidents(self, campaign_id: int) -> dict[JournalKind, int]:
        """The number of lines of each kind in the journal."""
        with self._lock:
            return dict(Counter(line.incident.kind for line in self._look_at(campaign_id).journal))

    def abandoned_for(self, campaign_id: int) -> dict[str, int]:
        """Reason -> abandoned events, without those that were not needed any more when the campaign was closed."""
        found: Counter[str] = Counter()
        for _, span in self.spans(campaign_id, State.ABANDONED):
            if span.reason is not None and span.reason not in (TARGET_REACHED, NOTHING_LEFT):
                found[span.reason] += len(span)
        return dict(found)

    def failed_runs(self, campaign_id: int, *, since: int = 0) -> tuple[FailedRun, ...]:
        """Runs that failed, oldest first, after the first `since` of them."""
        found = self.journal(campaign_id, JournalKind.FAILURE, JournalKind.ABANDONED)
        return tuple(FailedRun(incident.reason, incident.holder or "") for incident in found[since:])

    def setups_failed_in_a_row(self, campaign_id: int) -> tuple[Incident, ...]:
        """Set-up failures since the last commit, oldest first."""
        with self._lock:
            last = self._look_at(campaign_id).useful_at
            failures = self.journal(campaign_id, JournalKind.SETUP)
            return tuple(incident for incident in failures if last is None or incident.at > last)

    def desired_at(self, campaign_id: int) -> datetime | None:
        """When the desired state was last set; None if never since the campaign was begun."""
        return max((line.at for line in self.journal(campaign_id, JournalKind.WANTED)), default=None)

    def holders(self, campaign_id: int) -> tuple[Holder, ...]:
        """The workers that hold live leases."""
        with self._lock:
            campaign = self._look_at(campaign_id)
            found: dict[str, Holder] = {}
            for row in campaign.blocks.values():
                if row.claimed_at is None or row.expires_at is None:
                    continue
                old = found.get(row.holder) or Holder(row.holder, 0, 0, row.claimed_at, row.expires_at)
                found[row.holder] = Holder(
                    row.holder,
                    old.blocks + 1,
                    old.events + sum(map(len, campaign.spans.of_block(row.id))),
                    min(old.claimed_at, row.claimed_at),
                    max(old.expires_at, row.expires_at),
                )
            return tuple(found[name] for name in sorted(found))

    def used(self, campaign_id: int) -> dict[str, UsageTotals]:
        """The account of each cause: `useful`, `fenced`, `failure`, `setup`, `setup failed`."""
        with self._lock:
            usage = self._look_at(campaign_id).usage
            return {str(cause): usage[cause] for cause in sorted(usage)}

    def usage(self, campaign_id: int) -> dict[str, tuple[int, int, float]]:
        """Cause -> (occurrences, events, CPU seconds)."""
        found = self.used(campaign_id)
        return {cause: (sums.occurrences, sums.events, sums.cpu_seconds) for cause, sums in found.items()}

    def loss_rate(self, campaign_id: int) -> LossRate:
        """The number of losses, the seconds of work in which they happened, and the overhead of a range."""
        with self._lock:
            used = self.used(campaign_id)
            sums = [used.get(cause, UsageTotals()) for cause in (UsageCause.USEFUL, UsageCause.FENCED)]
            overhead, ranges = sum(s.overhead_seconds for s in sums), sum(s.occurrences for s in sums)
            losses = len(self.journal(campaign_id, JournalKind.LOSS))
            slot_seconds = sum(s.wall_seconds for s in sums) + overhead
            return LossRate(losses, slot_seconds, overhead / ranges if ranges else 0.0)

    def pace(self, campaign_id: int) -> tuple[int, float]:
        """`(events, seconds)`: committed events, and how long payloads took for them."""
        sums = self.used(campaign_id).get(UsageCause.USEFUL, UsageTotals())
        return sums.events, sums.wall_seconds

    def block_ids(self, campaign_id: int) -> frozenset[int]:
        """Blocks that still have LEASED events."""
        with self._lock:
            return frozenset(self._look_at(campaign_id).blocks)

    def block_inputs(self, campaign_id: int) -> dict[int, int]:
        """Block or duplicate claim -> the input that it is about, for those that still have LEASED events."""
        with self._lock:
            return {row.id: row.input_id for row in self._look_at(campaign_id).blocks.values()}

    def live_attempts(self, campaign_id: int) -> frozenset[int]:
        """Attempts that may still commit a range, or complete a merge."""
        with self._lock:
            campaign = self._look_at(campaign_id)
            attempts = {row.attempt for row in campaign.blocks.values()}
            attempts |= {row.attempt for row in campaign.merges.values()}
            return frozenset(attempt for attempt in attempts if attempt is not None)
