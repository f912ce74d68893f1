"""Verbs on merges: due, begin, complete, publish, abort, and loss of stored objects."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from eventmill.core.keys import merged_name
from eventmill.core.leases import Outcome
from eventmill.core.outputs import MergedOutput, MergeGroup, MergeLease
from eventmill.core.partition import coalesce
from eventmill.core.ranges import Span
from eventmill.core.records import JournalKind
from eventmill.core.states import State, Verb
from eventmill.ledger import words
from eventmill.ledger.commands.campaigns import locked, open_again, replace_and_coalesce
from eventmill.ledger.commands.workers import note_corrupt
from eventmill.ledger.database import schema
from eventmill.ledger.database.journal import write_journal
from eventmill.ledger.database.transactions import Database, read_spans, replace_spans
from eventmill.rules.merge_groups import Piece, due_by_bytes, due_by_events


class MergeVerbs(Database):
    """Verbs that turn committed ranges into merged files."""

    def due_merges(self, campaign_id: int) -> tuple[MergeGroup, ...]:
        """The groups that could begin now, by the campaign's rules."""
        with self.reading() as tx:
            return _due(tx, campaign_id)

    def begin_merges(self, campaign_id: int, *, suffix: str) -> tuple[int, ...]:
        """Fix the group, order and key of every due merge; returns their numbers."""
        with self.writing() as tx:
            campaign = locked(tx, campaign_id)
            table, now = schema.merge, self.now(tx)
            groups = _due(tx, campaign_id)
            committed = schema.span.c.campaign_id == campaign_id, schema.span.c.state == State.COMMITTED
            spans = {s.output_id: s for s in read_spans(tx, *committed)} if groups else {}
            begun: list[int] = []
            held: list[Span] = []
            for group in groups:
                key = merged_name(campaign.name, group.start, group.stop, suffix)
                taken = sa.select(table.c.id).where(table.c.campaign_id == campaign_id, table.c.key == key)
                if tx.execute(taken).first():  # events that were reopened after their window was merged
                    again = self.next_attempt(tx)
                    key = merged_name(campaign.name, group.start, group.stop, f"{again}.{suffix}")
                number = tx.execute(
                    sa.insert(table).values(campaign_id=campaign_id, key=key, begun_at=now).returning(table.c.id)
                ).scalar_one()
                held += (replace(spans[output_id], merge_id=number) for output_id in group.output_ids)
                begun.append(int(number))
            free = [spans[s.output_id] for s in held]
            replace_spans(tx, Verb.MERGE, campaign_id, old=free, new=held)
            return tuple(begun)

    def open_merges(self, campaign_id: int) -> tuple[int, ...]:
        """Merges that are begun and not yet published."""
        table = schema.merge
        with self.reading() as tx:
            statement = sa.select(table.c.id).where(
                table.c.campaign_id == campaign_id, table.c.published_at.is_(None)
            )
            return tuple(tx.execute(statement.order_by(table.c.id)).scalars())

    def merge_keys(self, campaign_id: int) -> dict[int, str]:
        """Merge -> the key of its file, for merges that are begun and not yet published."""
        m = schema.merge.c
        with self.reading() as tx:
            rows = tx.execute(
                sa.select(m.id, m.key).where(m.campaign_id == campaign_id, m.published_at.is_(None)).order_by(m.id)
            )
            return {row.id: row.key for row in rows}

    def complete_merge(self, lease: MergeLease, *, staged: str, bytes: int, sha256: str, rows: int) -> Outcome:
        """COMMITTED -> MERGED for the whole group; its range outputs are dropped. Fenced by the attempt."""
        with self.writing() as tx:
            row = read_merge(tx, lease.merge_id)
            if row is None:
                return Outcome.FENCED
            campaign = locked(tx, row.campaign_id)
            row = read_merge(tx, lease.merge_id)
            if row is None or row.attempt != lease.attempt:
                return Outcome.FENCED
            if row.completed_at is not None:
                return Outcome.DUPLICATE
            old = read_spans(tx, schema.span.c.merge_id == lease.merge_id)
            new = coalesce(replace(s, state=State.MERGED, output_id=None) for s in old)
            i = schema.input_.c
            inputs = tx.execute(sa.select(i.id, i.url).where(i.campaign_id == campaign.id))
            urls = {row.id: row.url for row in inputs}
            replace_spans(tx, Verb.MERGE, campaign.id, old=old, new=new)
            now = self.now(tx)
            _drop(tx, [s.output_id for s in old], now)
            pieces = coalesce(replace(s, payload=None) for s in new)
            tx.execute(
                sa.update(schema.merge)
                .where(schema.merge.c.id == lease.merge_id)
                .values(
                    completed_at=now,
                    staged=staged,
                    bytes=bytes,
                    sha256=sha256,
                    rows=rows,
                    events=sum(map(len, old)),
                    spans=[[urls[s.input_id], s.start, s.stop] for s in pieces],
                )
            )
            return Outcome.ACCEPTED

    def unpublished(self, campaign_id: int) -> tuple[tuple[int, str, str], ...]:
        """`(merge, staged key, final key)` of completed merges that are not published yet."""
        table = schema.merge
        with self.reading() as tx:
            statement = sa.select(table.c.id, table.c.staged, table.c.key).where(
                table.c.campaign_id == campaign_id,
                table.c.completed_at.is_not(None),
                table.c.published_at.is_(None),
            )
            return tuple((row.id, row.staged, row.key) for row in tx.execute(statement.order_by(table.c.id)))

    def published(self, merge_id: int) -> None:
        """Record that the merged file has its final key. Harmless when repeated."""
        with self.writing() as tx:
            tx.execute(
                sa.update(schema.merge)
                .where(schema.merge.c.id == merge_id, schema.merge.c.published_at.is_(None))
                .values(published_at=self.now(tx))
            )

    def abort_merge(self, lease: MergeLease, *, corrupt: Collection[int], reason: str) -> Outcome:
        """Dissolve a group: COMMITTED -> READY for its `corrupt` outputs; the others wait for a new group."""
        with self.writing() as tx:
            row = read_merge(tx, lease.merge_id)
            if row is None:
                return Outcome.FENCED
            locked(tx, row.campaign_id)
            row = read_merge(tx, lease.merge_id)
            if row is None or row.attempt != lease.attempt or row.completed_at is not None:
                return Outcome.FENCED
            self._dissolve(tx, row.campaign_id, lease.merge_id, corrupt=corrupt, reason=reason)
            return Outcome.ACCEPTED

    def corrupt(self, campaign_id: int, output_id: int, *, reason: str) -> Outcome:
        """COMMITTED -> READY for one output that is missing or damaged; a merge with this output is dissolved."""
        with self.writing() as tx:
            locked(tx, campaign_id)
            found = read_spans(tx, schema.span.c.output_id == output_id)
            if not found:
                return Outcome.FENCED
            (span,) = found
            if span.merge_id is not None:
                self._dissolve(tx, campaign_id, span.merge_id, corrupt=[output_id], reason=reason)
            else:
                self._send_back(tx, campaign_id, found, reason)
            return Outcome.ACCEPTED

    def invalidate(self, merge_id: int, *, reason: str) -> int:
        """MERGED -> READY for a whole merged file that was lost; returns its events.

        `LedgerError` unless it was published: otherwise it may be about to be published.
        """
        with self.writing() as tx:
            row = _held(tx, merge_id)
            if row is None or row.published_at is None:
                raise words.no_merged_file(merge_id)
            return self._unmerge(tx, row, reason)

    def invalidate_unseen(self, merge_id: int, *, reason: str) -> int:
        """MERGED -> READY for a merged file that was lost before it was published; returns its events.

        Returns no events if it was published meanwhile, or is not merged any more. Harmless when repeated.
        """
        with self.writing() as tx:
            row = _held(tx, merge_id)
            if row is None or row.completed_at is None or row.published_at is not None:
                return 0
            return self._unmerge(tx, row, reason)

    def merged_outputs(self, campaign_id: int) -> tuple[MergedOutput, ...]:
        """Every completed merged file, sorted by key, which begins with the position of its first event."""
        with self.reading() as tx:
            return _merged(tx, campaign_id, schema.merge.c.completed_at.is_not(None))

    def published_outputs(self, campaign_id: int) -> tuple[MergedOutput, ...]:
        """Those of `merged_outputs` that are published, so that users see them."""
        with self.reading() as tx:
            return _merged(tx, campaign_id, schema.merge.c.published_at.is_not(None))

    def count_merged(self, campaign_id: int) -> int:
        """How many `merged_outputs` there are; reads none of them."""
        m = schema.merge.c
        counted = sa.select(sa.func.count()).where(m.campaign_id == campaign_id, m.completed_at.is_not(None))
        with self.reading() as tx:
            return int(tx.execute(counted).scalar_one())

    def _unmerge(self, tx: sa.Connection, row: sa.Row[Any], reason: str) -> int:
        old = read_spans(tx, schema.span.c.merge_id == row.id)
        new = [replace(s, state=State.READY, merge_id=None, payload=None) for s in old]
        replace_and_coalesce(tx, Verb.INVALIDATE, row.campaign_id, old=old, new=new)
        tx.execute(sa.delete(schema.merge).where(schema.merge.c.id == row.id))
        open_again(tx, row.campaign_id)
        detail = f"{row.key}: {sum(map(len, old))} events"
        write_journal(
            tx, row.campaign_id, self.now(tx), kind=JournalKind.INVALIDATED, reason=reason, detail=detail
        )
        return sum(map(len, old))

    def _dissolve(
        self, tx: sa.Connection, campaign_id: int, merge_id: int, *, corrupt: Collection[int], reason: str
    ) -> None:
        held = read_spans(tx, schema.span.c.merge_id == merge_id)
        free = [replace(s, merge_id=None) for s in held]
        replace_spans(tx, Verb.MERGE, campaign_id, old=held, new=free)
        tx.execute(sa.delete(schema.merge).where(schema.merge.c.id == merge_id))
        self._send_back(tx, campaign_id, [s for s in free if s.output_id in corrupt], reason)

    def _send_back(self, tx: sa.Connection, campaign_id: int, old: Sequence[Span], reason: str) -> None:
        new = [replace(s, state=State.READY, output_id=None, merge_id=None, payload=None) for s in old]
        replace_and_coalesce(tx, Verb.CORRUPT, campaign_id, old=old, new=new)
        now, made_by = self.now(tx), _made_by(tx, [s.output_id for s in old])
        if old:
            open_again(tx, campaign_id)
        _drop(tx, [s.output_id for s in old], now)
        for s in old:
            write_journal(
                tx,
                campaign_id,
                now,
                kind=JournalKind.CORRUPT,
                reason=reason,
                input_id=s.input_id,
                start=s.start,
                stop=s.stop,
                **made_by[s.output_id],
            )
        note_corrupt(tx, campaign_id, {each["holder"] for each in made_by.values()}, now=now)


def read_merge(tx: sa.Connection, merge_id: int) -> sa.Row[Any] | None:
    """The row of a merge; None if it was dissolved."""
    return tx.execute(sa.select(schema.merge).where(schema.merge.c.id == merge_id)).first()


def _held(tx: sa.Connection, merge_id: int) -> sa.Row[Any] | None:
    """The same, with its campaign locked against all other writing verbs until this transaction ends."""
    row = read_merge(tx, merge_id)
    if row is not None:
        locked(tx, row.campaign_id)
        row = read_merge(tx, merge_id)
    return row


def _due(tx: sa.Connection, campaign_id: int) -> tuple[MergeGroup, ...]:
    s, i, o = schema.span, schema.input_, schema.output
    statement = (
        sa.select(
            (i.c.first + s.c.start), (i.c.first + s.c.stop), s.c.state, s.c.output_id, o.c.bytes, s.c.merge_id
        )
        .select_from(s.join(i, s.c.input_id == i.c.id).outerjoin(o, s.c.output_id == o.c.id))
        .where(s.c.campaign_id == campaign_id)
        .order_by(s.c.input_id, s.c.start)
    )
    pieces = [
        Piece(start, stop, State(state), output_id if merge_id is None else None, size or 0)
        for start, stop, state, output_id, size, merge_id in tx.execute(statement)
    ]
    rules = tx.execute(sa.select(schema.campaign.c.rules).where(schema.campaign.c.id == campaign_id)).scalar_one()
    if not pieces:
        return ()
    if rules["merge_events"]:
        last = sa.select(sa.func.max(i.c.first + i.c.events)).where(i.c.campaign_id == campaign_id)
        total = tx.execute(last).scalar_one()
        return due_by_events(pieces, merge_events=rules["merge_events"], total=total)
    return due_by_bytes(pieces, merge_bytes=rules["merge_bytes"])


def _merged(tx: sa.Connection, campaign_id: int, which: sa.ColumnElement[bool]) -> tuple[MergedOutput, ...]:
    table = schema.merge
    statement = sa.select(table).where(table.c.campaign_id == campaign_id, which).order_by(table.c.key)
    return tuple(
        MergedOutput(
            row.id,
            row.key,
            row.bytes,
            row.sha256,
            row.rows,
            row.events,
            tuple((url, start, stop) for url, start, stop in row.spans),
        )
        for row in tx.execute(statement)
    )


def _made_by(tx: sa.Connection, output_ids: Sequence[int | None]) -> dict[int | None, dict[str, Any]]:
    """Output -> the attempt and the worker that made it."""
    o = schema.output.c
    rows = tx.execute(sa.select(o.id, o.attempt, o.holder).where(o.id.in_(output_ids)))
    return {row.id: {"attempt": row.attempt, "holder": row.holder} for row in rows}


def _drop(tx: sa.Connection, output_ids: Sequence[int | None], now: Any) -> None:
    table = schema.output
    if output_ids:
        statement = sa.update(table).where(table.c.id == sa.bindparam("b_id")).values(dropped_at=now)
        tx.execute(statement, [{"b_id": number} for number in output_ids])
