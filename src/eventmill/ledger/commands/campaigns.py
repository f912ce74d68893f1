"""Verbs on whole campaigns: open, add inputs, leadership, desired state, close, reopen."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from eventmill import text
from eventmill.core.leases import LeadershipLease, Lease
from eventmill.core.partition import coalesce
from eventmill.core.ranges import Description, Input, Layout, NewInput, SeenLayout, Span, fingerprint
from eventmill.core.records import (
    NOTHING_LEFT,
    TARGET_REACHED,
    CampaignRow,
    Counts,
    DesiredState,
    JournalKind,
    Rules,
)
from eventmill.core.states import State, Verb
from eventmill.core.work_order import PayloadCode
from eventmill.ledger import words
from eventmill.ledger.database import schema
from eventmill.ledger.database.blocks import duplicate_claim_of, hand_over, read_block
from eventmill.ledger.database.journal import write_journal
from eventmill.ledger.database.transactions import Database, insert_spans, read_spans, replace_spans
from eventmill.rules.block_spans import LEADER_SECONDS, UNBLEMISHED, freed

_HELD_CAMPAIGN = (
    sa.select(schema.campaign).where(schema.campaign.c.id == sa.bindparam("b_campaign")).with_for_update()
)


class CampaignVerbs(Database):
    """Verbs on whole campaigns."""

    def open_campaign(
        self,
        name: str,
        *,
        spec: Mapping[str, Any],
        rules: Rules,
        code: PayloadCode,
        store_url: str,
        reader: PayloadCode | None = None,
    ) -> CampaignRow:
        """Add a new campaign. Raises `NameTaken` if the ledger has a campaign of this name.

        `reader` is the code that reads its inputs, if that is the user's own.
        """
        with self.writing() as tx:
            if tx.execute(sa.select(schema.campaign.c.id).where(schema.campaign.c.name == name)).first():
                raise words.name_taken(name)
            keep_code(tx, code)
            if reader is not None:
                keep_code(tx, reader)
            now = self.now(tx)
            tx.execute(
                sa.insert(schema.campaign).values(
                    name=name,
                    uid=secrets.token_hex(16),
                    spec=dict(spec),
                    rules=_rules_to_json(rules),
                    payload=code.digest,
                    reader=None if reader is None else reader.digest,
                    store_url=store_url,
                    wanted=DesiredState.RUN,
                    created_at=now,
                    looked_at=now,
                )
            )
            return campaign_by(tx, schema.campaign.c.name == name)

    def campaign(self, name: str) -> CampaignRow:
        """The campaign of this name; otherwise `LedgerError` lists the existing names."""
        with self.reading() as tx:
            found = tx.execute(sa.select(schema.campaign.c.id).where(schema.campaign.c.name == name)).first()
            if found is None:
                names = tx.execute(sa.select(schema.campaign.c.name).order_by(schema.campaign.c.name)).scalars()
                raise words.no_campaign(name, names)
            return campaign_by(tx, schema.campaign.c.id == found.id)

    def campaign_numbered(self, campaign_id: int) -> CampaignRow:
        """The campaign with this number; `LedgerError` if it was restarted or deleted."""
        with self.reading() as tx:
            found = tx.execute(sa.select(schema.campaign).where(schema.campaign.c.id == campaign_id)).first()
            return _known(campaign_id, found)

    def campaigns(self) -> tuple[CampaignRow, ...]:
        """All campaigns, in the order in which they were opened."""
        with self.reading() as tx:
            ids = tx.execute(sa.select(schema.campaign.c.id).order_by(schema.campaign.c.id)).scalars().all()
            return tuple(campaign_by(tx, schema.campaign.c.id == number) for number in ids)

    def change_campaign(
        self,
        campaign_id: int,
        *,
        spec: Mapping[str, Any],
        rules: Rules,
        code: PayloadCode,
        store_url: str,
        reason: str,
        reader: PayloadCode | None = None,
        described: Mapping[str, Description] | None = None,
    ) -> None:
        """Continue with another spec, other rules or other code; what is done is kept.

        `store_url` may be another address of the same store, never another store. `described` has new labels and
        parameters of known inputs, by url. There may be more work now, so the campaign is open again. The journal
        records the `reason`.
        """
        with self.writing() as tx:
            keep_code(tx, code)
            if reader is not None:
                keep_code(tx, reader)
            for url, said in (described or {}).items():
                tx.execute(
                    sa.update(schema.input_)
                    .where(schema.input_.c.campaign_id == campaign_id, schema.input_.c.url == url)
                    .values(label=said.label, parameters=dict(said.parameters))
                )
            write_journal(tx, campaign_id, self.now(tx), kind=JournalKind.CHANGED, reason=reason)
            tx.execute(
                sa.update(schema.campaign)
                .where(schema.campaign.c.id == campaign_id)
                .values(
                    spec=dict(spec),
                    rules=_rules_to_json(rules),
                    payload=code.digest,
                    reader=None if reader is None else reader.digest,
                    store_url=store_url,
                    closed_at=None,
                )
            )

    def add_inputs(self, campaign_id: int, inputs: Sequence[NewInput]) -> tuple[Input, ...]:
        """Register inputs after the existing ones, with one READY span each. Adding an input twice is harmless.

        A closed campaign is open again if there is new work. Raises `LedgerError` if an input is known with
        another content.
        """
        with self.writing() as tx:
            locked(tx, campaign_id)
            known = {item.url: item for item in read_inputs(tx, campaign_id)}
            kept = set[str]()
            for new in inputs:
                url, identity = text.name(new.url), text.name(new.identity)  # as they come back from the ledger
                if url in known:
                    if (known[url].identity, known[url].events) != (identity, new.events):
                        raise words.input_changed(url)
                    continue
                last = max(known.values(), key=lambda item: item.ordinal, default=None)
                values = {
                    "campaign_id": campaign_id,
                    "ordinal": last.ordinal + 1 if last else 0,
                    "url": url,
                    "events": new.events,
                    "first": last.first + last.events if last else 0,
                    "identity": identity,
                    "boundaries": list(new.boundaries),
                }
                said = {"label": new.described.label, "parameters": dict(new.described.parameters)}
                more = {"layout": _keep_layout(tx, new.layout, kept), "find": new.index}
                row = tx.execute(
                    sa.insert(schema.input_).values(values | said | more).returning(schema.input_)
                ).one()
                number, known[url] = row.id, input_from(row)
                if new.events:
                    insert_spans(tx, campaign_id, [Span(number, 0, new.events, State.READY)])
                    open_again(tx, campaign_id)
            return tuple(sorted(known.values(), key=lambda item: item.ordinal))

    def layouts(self, campaign_id: int) -> tuple[SeenLayout, ...]:
        """The layouts of all inputs that have events, in the order of the first input with each."""
        table, layout = schema.input_, schema.layout
        statement = (
            sa.select(layout.c.columns, sa.func.min(table.c.ordinal), sa.func.count(), table.c.url)
            .join_from(table, layout, table.c.layout == layout.c.fingerprint)
            .where(table.c.campaign_id == campaign_id, table.c.events > 0)
            .group_by(layout.c.fingerprint)
            .order_by(sa.func.min(table.c.ordinal))
        )
        with self.reading() as tx:
            rows = tx.execute(statement).all()
        return tuple(SeenLayout(row[3], row[2], tuple((str(a), str(b)) for a, b in row[0])) for row in rows)

    def note_once(self, campaign_id: int, *, kind: JournalKind, lines: Mapping[str, str]) -> None:
        """Write lines of one kind into the journal, reason -> detail, without those whose reason is there."""
        with self.writing() as tx:
            journal = schema.journal
            known = set(
                tx.execute(
                    sa.select(journal.c.reason).where(journal.c.campaign_id == campaign_id, journal.c.kind == kind)
                ).scalars()
            )
            for line, detail in lines.items():
                reason = text.told(line, most_bytes=text.LINE_BYTES)
                if reason not in known:
                    known.add(reason)
                    write_journal(tx, campaign_id, self.now(tx), kind=kind, reason=reason, detail=detail)

    def inputs(self, campaign_id: int) -> tuple[Input, ...]:
        """All inputs in campaign order."""
        with self.reading() as tx:
            return read_inputs(tx, campaign_id)

    def fix_schema(self, campaign_id: int, schema_bytes: bytes) -> bytes:
        """Fix the Arrow schema of the outputs. The first schema wins; returns the one that is fixed."""
        with self.writing() as tx:
            return self._fix_schema(tx, campaign_id, schema_bytes)

    def infer_schema(self, lease: Lease, schema_bytes: bytes) -> bytes | None:
        """`fix_schema` with the schema found under `lease`. None, unchanged, if the lease is not current."""
        with self.writing() as tx:
            block = read_block(tx, lease.block_id)
            if block is None or block.attempt != lease.attempt:
                return None
            return self._fix_schema(tx, lease.campaign_id, schema_bytes)

    def _fix_schema(self, tx: sa.Connection, campaign_id: int, schema_bytes: bytes) -> bytes:
        fixed = locked(tx, campaign_id).schema
        if fixed is None:
            table = schema.campaign
            tx.execute(sa.update(table).where(table.c.id == campaign_id).values(schema_bytes=schema_bytes))
        return fixed or schema_bytes

    def acquire_leadership(
        self, campaign_id: int, holder: str, *, is_gone: Callable[[str], bool]
    ) -> LeadershipLease:
        """Become the only coordinator; blocks that the previous one had only reserved return to READY.

        Raises `CampaignLocked` while another coordinator lives: its leadership is live and `is_gone(holder)` is
        false.
        """
        with self.writing() as tx:
            locked(tx, campaign_id)
            row = tx.execute(sa.select(schema.campaign).where(schema.campaign.c.id == campaign_id)).one()
            now = self.now(tx)
            if row.leader and row.leader_expires_at > now and not is_gone(row.leader):
                raise words.driven_by(row.name, row.leader, row.leader_expires_at - now, ledger=self.address)
            attempt = self.next_attempt(tx)
            tx.execute(
                sa.update(schema.campaign)
                .where(schema.campaign.c.id == campaign_id)
                .values(
                    leader=holder,
                    leader_attempt=attempt,
                    leader_expires_at=now + timedelta(seconds=LEADER_SECONDS),
                )
            )
            blocks = schema.block
            queued = sa.select(blocks.c.id).where(blocks.c.campaign_id == campaign_id, blocks.c.attempt.is_(None))
            dissolve_blocks(tx, campaign_id, list(tx.execute(queued).scalars()))
            return LeadershipLease(campaign_id, attempt, holder)

    def renew_leadership(self, leadership: LeadershipLease) -> bool:
        """Renew the leadership; False if another coordinator has taken over."""
        with self.writing() as tx:
            until = self.now(tx) + timedelta(seconds=LEADER_SECONDS)
            return self._set_lead(tx, leadership, {"leader_expires_at": until})

    def release_leadership(self, leadership: LeadershipLease) -> bool:
        """Release the leadership, so that the next run need not wait."""
        with self.writing() as tx:
            return self._set_lead(tx, leadership, {"leader": None, "leader_expires_at": None})

    def _set_lead(self, tx: sa.Connection, leadership: LeadershipLease, values: Mapping[str, Any]) -> bool:
        table = schema.campaign
        statement = (
            sa.update(table)
            .where(table.c.id == leadership.campaign_id, table.c.leader_attempt == leadership.attempt)
            .where(table.c.leader.is_not(None))
            .values(**values)
        )
        return bool(tx.execute(statement).rowcount)

    def set_desired_state(self, campaign_id: int, wanted: DesiredState) -> None:
        """Record what the user wants; workers learn it with their next reply."""
        with self.writing() as tx:
            tx.execute(sa.update(schema.campaign).where(schema.campaign.c.id == campaign_id).values(wanted=wanted))
            write_journal(tx, campaign_id, self.now(tx), kind=JournalKind.WANTED, reason=str(wanted))

    def note(self, campaign_id: int, *, kind: JournalKind, reason: str) -> None:
        """Write a line about the whole campaign into the journal."""
        with self.writing() as tx:
            write_journal(tx, campaign_id, self.now(tx), kind=kind, reason=reason)

    def note_broken(self, leadership: LeadershipLease, *, reason: str) -> None:
        """Record that this coordinator ends because it is useless to continue; valid until the next leadership."""
        told, _, detail = reason.partition("\n")
        with self.writing() as tx:
            write_journal(
                tx,
                leadership.campaign_id,
                self.now(tx),
                kind=JournalKind.BROKEN,
                reason=told,
                detail=detail,
                attempt=leadership.attempt,
                holder=leadership.holder,
            )

    def close(self, campaign_id: int, *, reason: str) -> None:
        """READY, LEASED -> ABANDONED with `reason`; live leases are fenced. Harmless when repeated."""
        with self.writing() as tx:
            locked(tx, campaign_id)
            self._close(tx, campaign_id, reason)

    def close_if_done(self, campaign_id: int) -> bool:
        """`close` if the target is reached or no event is READY or LEASED; returns whether it is closed.

        Check and change are one transaction: if a merge finds a damaged output just then and returns its events to
        READY, they must not be abandoned because of an earlier count.
        """
        with self.writing() as tx:
            rules = locked(tx, campaign_id).rules
            counts = read_counts(tx, campaign_id)
            reached = counts.done >= counts.needed(rules.target)
            if counts.open and not reached:
                return False
            if counts.total:
                self._close(tx, campaign_id, TARGET_REACHED if reached else NOTHING_LEFT)
            return True

    def _close(self, tx: sa.Connection, campaign_id: int, reason: str) -> None:
        table = schema.span
        old = read_spans(tx, table.c.campaign_id == campaign_id, table.c.state.in_([State.READY, State.LEASED]))
        gone = [replace(s, state=State.ABANDONED, block_id=None, reason=reason, **UNBLEMISHED) for s in old]
        replace_spans(tx, Verb.CLOSE, campaign_id, old=old, new=coalesce(gone))
        tx.execute(sa.delete(schema.block).where(schema.block.c.campaign_id == campaign_id))
        now = self.now(tx)
        tx.execute(
            sa.update(schema.campaign)
            .where(schema.campaign.c.id == campaign_id, schema.campaign.c.closed_at.is_(None))
            .values(closed_at=now, close_reason=reason)
        )
        if old:
            events = sum(map(len, old))
            write_journal(tx, campaign_id, now, kind=JournalKind.CLOSED, reason=reason, detail=f"{events} events")

    def reopen(self, campaign_id: int) -> int:
        """ABANDONED -> READY with fresh budgets; returns the number of events."""
        with self.writing() as tx:
            locked(tx, campaign_id)
            table = schema.span
            old = read_spans(
                tx, table.c.campaign_id == campaign_id, table.c.state.in_([State.ABANDONED, State.READY])
            )
            fresh = [replace(s, state=State.READY, reason=None, **UNBLEMISHED) for s in old]
            replace_spans(tx, Verb.REOPEN, campaign_id, old=old, new=coalesce(fresh))
            tx.execute(
                sa.update(schema.campaign)
                .where(schema.campaign.c.id == campaign_id)
                .values(closed_at=None, close_reason=None, wanted=DesiredState.RUN)
            )
            return sum(len(s) for s in old if s.state is State.ABANDONED)

    def forget_campaign(self, campaign_id: int) -> None:
        """Delete a campaign from the ledger; the caller deletes its objects."""
        with self.writing() as tx:
            owned = (
                schema.span,
                schema.journal,
                schema.usage,
                schema.block,
                schema.output,
                schema.merge,
                schema.holder,
                schema.sample,
            )
            for table in (*owned, schema.input_):
                tx.execute(sa.delete(table).where(table.c.campaign_id == campaign_id))
            tx.execute(sa.delete(schema.campaign).where(schema.campaign.c.id == campaign_id))

    def code(self, digest: str) -> PayloadCode:
        """The payload code with this digest; `LedgerError` if the ledger does not have it."""
        with self.reading() as tx:
            row = tx.execute(sa.select(schema.code).where(schema.code.c.digest == digest)).first()
            if row is None:
                raise words.no_code(digest)
            return PayloadCode(row.callable, row.entry, row.digest, row.bundle)


def campaign_by(tx: sa.Connection, condition: sa.ColumnElement[bool]) -> CampaignRow:
    """The only campaign that fulfils `condition`."""
    return _record(tx.execute(sa.select(schema.campaign).where(condition)).one())


def locked(tx: sa.Connection, campaign_id: int) -> CampaignRow:
    """The campaign, locked against all other writing verbs until this transaction ends."""
    return _known(campaign_id, tx.execute(_HELD_CAMPAIGN, {"b_campaign": campaign_id}).first())


def _known(campaign_id: int, row: sa.Row[Any] | None) -> CampaignRow:
    if row is None:
        raise words.no_campaign_numbered(campaign_id)
    return _record(row)


def _record(row: sa.Row[Any]) -> CampaignRow:
    return CampaignRow(
        id=row.id,
        uid=row.uid,
        name=row.name,
        spec=row.spec,
        rules=_rules_from_json(row.rules),
        payload=row.payload,
        store_url=row.store_url,
        schema=row.schema_bytes,
        desired_state=DesiredState(row.wanted),
        created_at=row.created_at,
        closed_at=row.closed_at,
        close_reason=row.close_reason,
        reader=row.reader,
    )


def open_again(tx: sa.Connection, campaign_id: int) -> None:
    """Mark the campaign as not closed, because some of its events are READY."""
    table = schema.campaign
    tx.execute(sa.update(table).where(table.c.id == campaign_id).values(closed_at=None, close_reason=None))


def read_counts(tx: sa.Connection, campaign_id: int) -> Counts:
    """Events by state."""
    table = schema.span
    statement = (
        sa.select(table.c.state, sa.func.sum(table.c.stop - table.c.start))
        .where(table.c.campaign_id == campaign_id)
        .group_by(table.c.state)
    )
    return Counts(**{state: int(events) for state, events in tx.execute(statement)})


def read_counts_by_label(tx: sa.Connection, campaign_id: int) -> dict[str | None, Counts]:
    """Label -> events by state, in the order of the first input with each; None for inputs without a label."""
    span, item = schema.span, schema.input_
    events = sa.select(item.c.label, sa.func.min(item.c.ordinal)).where(item.c.campaign_id == campaign_id)
    labels = tx.execute(events.group_by(item.c.label).order_by(sa.func.min(item.c.ordinal))).all()
    statement = (
        sa.select(item.c.label, span.c.state, sa.func.sum(span.c.stop - span.c.start))
        .join_from(span, item, span.c.input_id == item.c.id)
        .where(span.c.campaign_id == campaign_id)
        .group_by(item.c.label, span.c.state)
    )
    found: dict[str | None, dict[str, int]] = {label: {} for label, _ in labels}
    for label, state, number in tx.execute(statement):
        found[label][state] = int(number)
    return {label: Counts(**states) for label, states in found.items()}


def _keep_layout(tx: sa.Connection, layout: Layout, kept: set[str]) -> str | None:
    """Store a layout once; returns its fingerprint. The layouts in `kept` exist already."""
    if not layout:
        return None
    mark, table = fingerprint(layout), schema.layout
    if mark not in kept:
        kept.add(mark)
        if tx.execute(sa.select(table.c.fingerprint).where(table.c.fingerprint == mark)).first() is None:
            columns = [list(column) for column in layout]
            tx.execute(sa.insert(table).values(fingerprint=mark, columns=columns))
    return mark


def read_inputs(tx: sa.Connection, campaign_id: int) -> tuple[Input, ...]:
    """All inputs of a campaign in campaign order."""
    table = schema.input_
    rows = tx.execute(sa.select(table).where(table.c.campaign_id == campaign_id).order_by(table.c.ordinal))
    return tuple(input_from(row) for row in rows)


def input_from(row: sa.Row[Any]) -> Input:
    """One row of the input table."""
    return Input(
        id=row.id,
        ordinal=row.ordinal,
        url=row.url,
        events=row.events,
        first=row.first,
        identity=row.identity,
        boundaries=tuple(row.boundaries),
        label=row.label,
        parameters=row.parameters,
        index=row.find,
    )


def dissolve_blocks(tx: sa.Connection, campaign_id: int, block_ids: Sequence[int]) -> int:
    """LEASED -> READY for whole blocks, without a charge; returns the number of events.

    Events with a duplicate claim stay LEASED, for the other claim.
    """
    table, shared = schema.span, set[int]()
    if not block_ids:
        return 0
    for row in tx.execute(sa.select(schema.block).where(schema.block.c.id.in_(block_ids))).all():
        twin = duplicate_claim_of(tx, row)
        if twin is not None and (twin.id not in block_ids or row.copy_of is not None):
            hand_over(tx, campaign_id, row, twin)
            shared.add(row.id)
    block_ids = [number for number in block_ids if number not in shared]
    leased = read_spans(tx, table.c.block_id.in_(block_ids))
    replace_and_coalesce(tx, Verb.RELEASE, campaign_id, old=leased, new=freed(leased))
    blocks = schema.block.c
    tx.execute(sa.delete(schema.block).where(sa.or_(blocks.id.in_(block_ids), blocks.copy_of.in_(block_ids))))
    return sum(map(len, leased))


def replace_and_coalesce(
    tx: sa.Connection, verb: Verb, campaign_id: int, *, old: Sequence[Span], new: Iterable[Span]
) -> None:
    """Replace `old` by `new`, and join spans that became READY or ABANDONED with equal neighbours."""
    table = schema.span
    touching = read_spans(
        tx,
        table.c.campaign_id == campaign_id,
        table.c.state.in_([State.READY, State.ABANDONED]),
        table.c.input_id.in_({s.input_id for s in old}),
        sa.or_(table.c.start.in_({s.stop for s in old}), table.c.stop.in_({s.start for s in old})),
    )
    replace_spans(tx, verb, campaign_id, old=[*old, *touching], new=coalesce([*new, *touching]))


def keep_code(tx: sa.Connection, code: PayloadCode) -> None:
    """Store payload code once. `LedgerError` if other code has its digest, because workers would run that."""
    known = tx.execute(sa.select(schema.code).where(schema.code.c.digest == code.digest)).first()
    if known is None:
        tx.execute(sa.insert(schema.code).values(asdict(code)))
    elif known.entry != text.name(code.entry) or (known.bundle is None) != (code.bundle is None):
        raise words.other_code(code, known.entry)


def _rules_to_json(rules: Rules) -> dict[str, Any]:
    return asdict(rules) | {"lease": rules.lease.total_seconds()}


def _rules_from_json(data: Mapping[str, Any]) -> Rules:
    return Rules(**{**data, "lease": timedelta(seconds=data["lease"])})
