"""Verbs on merges and their leases, and on lost objects; in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from eventmill import text
from eventmill.core.keys import merged_name
from eventmill.core.leases import Outcome
from eventmill.core.outputs import CommittedOutput, Merge, MergedOutput, MergeGroup, MergeHolder, MergeLease
from eventmill.core.partition import coalesce
from eventmill.core.ranges import Span
from eventmill.core.records import JournalKind
from eventmill.core.states import State, Verb
from eventmill.ledger import words
from eventmill.ledger.memory.holders import note_corrupt
from eventmill.ledger.memory.tables import CampaignTables, MemoryTables, MergeRow
from eventmill.rules.merge_groups import Piece, due_by_bytes, due_by_events


class MergeVerbs(MemoryTables):
    """Verbs on merges, and on range outputs of merged files."""

    def due_merges(self, campaign_id: int) -> tuple[MergeGroup, ...]:
        """The groups that could begin now, by the campaign's rules."""
        with self._lock:
            return _due(self._look_at(campaign_id))

    def begin_merges(self, campaign_id: int, *, suffix: str) -> tuple[int, ...]:
        """Fix the group, order and key of every due merge; returns their numbers."""
        with self._lock:
            campaign, begun = self._tables(campaign_id), []
            for group in _due(campaign):
                key = merged_name(campaign.row.name, group.start, group.stop, suffix)
                if any(row.key == key for row in campaign.merges.values()):  # reopened after it was merged
                    key = merged_name(
                        campaign.row.name, group.start, group.stop, f"{self._next_attempt()}.{suffix}"
                    )
                number = next(self._merge_numbers)
                free = [span for o in group.output_ids if (span := campaign.spans.of_output(o)) is not None]
                campaign.spans.replace(Verb.MERGE, old=free, new=[replace(s, merge_id=number) for s in free])
                campaign.merges[number] = MergeRow(number, key)
                begun.append(number)
            return tuple(begun)

    def open_merges(self, campaign_id: int) -> tuple[int, ...]:
        """Merges that are begun and not yet published."""
        with self._lock:
            rows = self._look_at(campaign_id).merges.values()
            return tuple(row.id for row in rows if row.published_at is None)

    def merge_keys(self, campaign_id: int) -> dict[int, str]:
        """Merge -> the key of its file, for merges that are begun and not yet published."""
        with self._lock:
            rows = self._look_at(campaign_id).merges.values()
            return {row.id: row.key for row in rows if row.published_at is None}

    def claim_merge(
        self, merge_id: int, *, holder: str, length: timedelta, nonce: str | None = None
    ) -> tuple[Merge, MergeLease] | None:
        """Start (or start again) a merge under a new attempt that fences every earlier one."""
        holder = text.name(holder)
        with self._lock:
            found = self._with_merge(merge_id)
            if found is None or found[1].completed_at is not None:
                return None
            (campaign, row), now = found, self._now()
            merge = Merge(merge_id, campaign.row.id, row.key, _outputs(campaign, merge_id), campaign.row.schema)
            if row.expires_at is not None and row.attempt is not None:
                if nonce is not None and (row.holder, row.nonce) == (holder, nonce):
                    return merge, MergeLease(merge_id, row.attempt, holder, row.expires_at)
                reason = words.started_again("merge", holder)
                campaign.write_journal(
                    now,
                    kind=JournalKind.MERGER_LOST,
                    reason=reason,
                    detail=row.key,
                    attempt=row.attempt,
                    holder=row.holder,
                )
            lease = MergeLease(merge_id, self._next_attempt(), holder, now + length)
            campaign.merges[merge_id] = replace(
                row, attempt=lease.attempt, holder=holder, nonce=nonce, expires_at=lease.expires_at
            )
            return merge, lease

    def renew_merge(self, lease: MergeLease, *, length: timedelta) -> Outcome:
        """Move the deadline of a merge's lease. FENCED, without a change, if the attempt is not current."""
        with self._lock:
            return self._set_end(lease, self._now() + length)

    def release_merge(self, lease: MergeLease) -> Outcome:
        """Release the lease of a merge, so that the next merger need not wait. Harmless when repeated."""
        with self._lock:
            return self._set_end(lease, None)

    def _set_end(self, lease: MergeLease, until: datetime | None) -> Outcome:
        found = self._with_merge(lease.merge_id)
        row = found[0].current_merge(lease) if found is not None else None
        if found is None or row is None:
            return Outcome.FENCED
        found[0].merges[row.id] = replace(row, expires_at=until)
        return Outcome.ACCEPTED

    def mergers(self, campaign_id: int) -> dict[int, MergeHolder]:
        """Merge -> its last merger, for merges that are begun and not published."""
        with self._lock:
            now, rows = self._now(), self._look_at(campaign_id).merges.values()
            return {
                row.id: MergeHolder(row.attempt, row.holder, lasts=row.expires_at > now)
                for row in rows
                if row.published_at is None and row.expires_at is not None and row.attempt is not None
            }

    def mergers_lost(self, campaign_id: int) -> Counter[str]:
        """Key of the merged file -> the number of mergers that vanished during this merge."""
        with self._lock:
            lines = self._look_at(campaign_id).lines(JournalKind.MERGER_LOST)
            return Counter(line.incident.detail for line in lines)

    def complete_merge(self, lease: MergeLease, *, staged: str, bytes: int, sha256: str, rows: int) -> Outcome:
        """COMMITTED -> MERGED for the whole group; its range outputs are dropped. Fenced by the attempt."""
        with self._lock:
            found = self._with_merge(lease.merge_id)
            row = found[0].current_merge(lease) if found is not None else None
            if found is None or row is None:
                return Outcome.FENCED
            if row.completed_at is not None:
                return Outcome.DUPLICATE
            campaign, now = found[0], self._now()
            old = campaign.spans.of_merge(row.id)
            new = coalesce(replace(s, state=State.MERGED, output_id=None) for s in old)
            campaign.spans.replace(Verb.MERGE, old=old, new=new)
            _drop(campaign, old, now)
            pieces = coalesce(replace(s, payload=None) for s in new)
            campaign.merges[row.id] = replace(
                row,
                completed_at=now,
                staged=text.name(staged),
                bytes=bytes,
                sha256=sha256,
                rows=rows,
                events=sum(map(len, old)),
                spans=tuple((campaign.inputs[s.input_id].url, s.start, s.stop) for s in pieces),
            )
            return Outcome.ACCEPTED

    def abort_merge(self, lease: MergeLease, *, corrupt: Collection[int], reason: str) -> Outcome:
        """Dissolve a group: COMMITTED -> READY for its `corrupt` outputs; the others wait for a new group."""
        with self._lock:
            found = self._with_merge(lease.merge_id)
            row = found[0].current_merge(lease) if found is not None else None
            if found is None or row is None or row.completed_at is not None:
                return Outcome.FENCED
            self._dissolve(found[0], row.id, corrupt=corrupt, reason=reason)
            return Outcome.ACCEPTED

    def corrupt(self, campaign_id: int, output_id: int, *, reason: str) -> Outcome:
        """COMMITTED -> READY for one output that is missing or damaged; a merge with this output is dissolved."""
        with self._lock:
            campaign = self._tables(campaign_id)
            span = campaign.spans.of_output(output_id)
            if span is None:
                return Outcome.FENCED
            if span.merge_id is not None:
                self._dissolve(campaign, span.merge_id, corrupt=[output_id], reason=reason)
            else:
                self._send_back(campaign, [span], reason)
            return Outcome.ACCEPTED

    def invalidate(self, merge_id: int, *, reason: str) -> int:
        """MERGED -> READY for a whole merged file that was lost; `LedgerError` unless it was shown."""
        with self._lock:
            found = self._with_merge(merge_id)
            if found is None or found[1].published_at is None:
                raise words.no_merged_file(merge_id)
            return self._unmerge(*found, reason)

    def invalidate_unseen(self, merge_id: int, *, reason: str) -> int:
        """MERGED -> READY for a merged file that was lost before it was published; returns its events."""
        with self._lock:
            found = self._with_merge(merge_id)
            if found is None or found[1].completed_at is None or found[1].published_at is not None:
                return 0
            return self._unmerge(*found, reason)

    def _unmerge(self, campaign: CampaignTables, row: MergeRow, reason: str) -> int:
        old = campaign.spans.of_merge(row.id)
        new = [replace(s, state=State.READY, merge_id=None, payload=None) for s in old]
        campaign.spans.replace_and_coalesce(Verb.INVALIDATE, old=old, new=new)
        del campaign.merges[row.id]
        campaign.open_again()
        events = sum(map(len, old))
        detail = f"{row.key}: {events} events"
        campaign.write_journal(self._now(), kind=JournalKind.INVALIDATED, reason=reason, detail=detail)
        return events

    def _dissolve(self, campaign: CampaignTables, merge_id: int, *, corrupt: Collection[int], reason: str) -> None:
        held = campaign.spans.of_merge(merge_id)
        free = [replace(s, merge_id=None) for s in held]
        campaign.spans.replace(Verb.MERGE, old=held, new=free)
        del campaign.merges[merge_id]
        self._send_back(campaign, [s for s in free if s.output_id in corrupt], reason)

    def _send_back(self, campaign: CampaignTables, old: Sequence[Span], reason: str) -> None:
        new = [replace(s, state=State.READY, output_id=None, merge_id=None, payload=None) for s in old]
        campaign.spans.replace_and_coalesce(Verb.CORRUPT, old=old, new=new)
        now = self._now()
        if old:
            campaign.open_again()
        _drop(campaign, old, now)
        rows = [campaign.outputs[s.output_id] for s in old if s.output_id is not None]
        for s, row in zip(old, rows, strict=True):
            campaign.write_journal(
                now,
                kind=JournalKind.CORRUPT,
                reason=reason,
                input_id=s.input_id,
                start=s.start,
                stop=s.stop,
                attempt=row.attempt,
                holder=row.holder,
            )
        note_corrupt(campaign, {row.holder for row in rows}, now)

    def unpublished(self, campaign_id: int) -> tuple[tuple[int, str, str], ...]:
        """`(merge, staged key, final key)` of completed merges that are not published yet."""
        with self._lock:
            rows = self._look_at(campaign_id).merges.values()
            return tuple((row.id, row.staged, row.key) for row in rows if _is_unseen(row))

    def published(self, merge_id: int) -> None:
        """Record that the merged file has its final key. Harmless when repeated."""
        with self._lock:
            found = self._with_merge(merge_id)
            if found is not None and _is_unseen(found[1]):
                found[0].merges[merge_id] = replace(found[1], published_at=self._now())

    def merged_outputs(self, campaign_id: int) -> tuple[MergedOutput, ...]:
        """Every completed merged file, sorted by key, which is the order of their events."""
        with self._lock:
            rows = self._look_at(campaign_id).merges.values()
            return _as_files(row for row in rows if row.completed_at is not None)

    def count_merged(self, campaign_id: int) -> int:
        """How many `merged_outputs` there are."""
        with self._lock:
            return sum(row.completed_at is not None for row in self._look_at(campaign_id).merges.values())

    def published_outputs(self, campaign_id: int) -> tuple[MergedOutput, ...]:
        """Those of `merged_outputs` that are published, so that users see them."""
        with self._lock:
            rows = self._look_at(campaign_id).merges.values()
            return _as_files(row for row in rows if row.published_at is not None)

    def committed_outputs(self, campaign_id: int) -> tuple[CommittedOutput, ...]:
        """Range outputs that are committed and not yet merged."""
        with self._lock:
            campaign = self._look_at(campaign_id)
            return tuple(_committed(campaign, s.output_id) for s in campaign.spans if s.output_id is not None)

    def dropped_outputs(self, campaign_id: int) -> tuple[tuple[int, str], ...]:
        """`(output, key)` of range outputs that nobody needs any more; not of a file that is not shown yet."""
        with self._lock:
            campaign = self._look_at(campaign_id)
            unseen = [row.id for row in campaign.merges.values() if _is_unseen(row)]
            needed = [span for number in unseen for span in campaign.spans.of_merge(number)]
            return tuple(
                (row.id, row.output.key)
                for row in campaign.outputs.values()
                if row.dropped_at is not None
                and not any(
                    s.input_id == row.input_id
                    and s.start < row.output.range.stop
                    and row.output.range.start < s.stop
                    for s in needed
                )
            )

    def forget_outputs(self, output_ids: Sequence[int]) -> None:
        """Delete the rows of dropped outputs whose object was deleted."""
        with self._lock:
            for campaign in self._campaigns.values():
                for number in output_ids:
                    row = campaign.outputs.get(number)
                    if row is not None and row.dropped_at is not None:
                        del campaign.outputs[number]
                        del self._keys[row.output.key]


def _is_unseen(row: MergeRow) -> bool:
    return row.completed_at is not None and row.published_at is None


def _due(campaign: CampaignTables) -> tuple[MergeGroup, ...]:
    pieces = []
    for span in campaign.spans:
        first, number = campaign.inputs[span.input_id].first, span.output_id
        size = campaign.outputs[number].output.bytes if number is not None else 0
        free = number if span.merge_id is None else None
        pieces.append(Piece(first + span.start, first + span.stop, span.state, free, size))
    rules = campaign.row.rules
    if rules.merge_events:
        total = max((item.first + item.events for item in campaign.inputs.values()), default=0)
        return due_by_events(pieces, merge_events=rules.merge_events, total=total)
    return due_by_bytes(pieces, merge_bytes=rules.merge_bytes or 0)


def _outputs(campaign: CampaignTables, merge_id: int) -> tuple[CommittedOutput, ...]:
    return tuple(_committed(campaign, s.output_id) for s in campaign.spans.of_merge(merge_id))


def _committed(campaign: CampaignTables, output_id: int | None) -> CommittedOutput:
    assert output_id is not None  # of a COMMITTED span
    row = campaign.outputs[output_id]
    stored = row.output
    return CommittedOutput(
        output_id,
        campaign.inputs[row.input_id],
        stored.range,
        stored.key,
        stored.bytes,
        stored.sha256,
        stored.rows,
    )


def _as_files(rows: Iterable[MergeRow]) -> tuple[MergedOutput, ...]:
    found = [MergedOutput(r.id, r.key, r.bytes, r.sha256, r.rows, r.events, r.spans) for r in rows]
    return tuple(sorted(found, key=lambda file: file.key))


def _drop(campaign: CampaignTables, spans: Sequence[Span], now: datetime) -> None:
    for number in (s.output_id for s in spans):
        if number is not None:
            campaign.outputs[number] = replace(campaign.outputs[number], dropped_at=now)
