"""Verbs of the event service: blocks that any pilot may take, sessions of pilots, and tokens."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from eventmill import text
from eventmill.core.access_tokens import Role, Session, Token, session_of
from eventmill.core.leases import Claim, Lease
from eventmill.core.ranges import EventRange
from eventmill.core.records import CampaignRow, Incident, JournalKind
from eventmill.core.states import State
from eventmill.ledger import words
from eventmill.ledger.commands.campaigns import campaign_by, dissolve_blocks, input_from, locked
from eventmill.ledger.commands.leases import LeaseVerbs, free_behind
from eventmill.ledger.database import schema
from eventmill.ledger.database.blocks import read_block, span_owner_id
from eventmill.ledger.database.journal import incident_from, with_urls, write_journal
from eventmill.ledger.database.transactions import read_spans_of_block
from eventmill.rules.block_spans import end_within

_BLOCK, _SESSION, _TOKEN = schema.block.c, schema.session.c, schema.token.c

ASKED_AT_ONCE = 20
"""The number of offered blocks of a campaign that one `acquire` tries; they may all be kept from this worker."""


class PilotVerbs(LeaseVerbs):
    """Offered blocks, sessions and tokens."""

    def offer(self, block_id: int) -> bool:
        """Let any pilot take this block with `acquire`; False if it was claimed or released meanwhile."""
        with self.writing() as tx:
            statement = sa.update(schema.block).where(_BLOCK.id == block_id, _BLOCK.attempt.is_(None))
            return bool(tx.execute(statement.values(offered=True)).rowcount)

    def offered(self, campaign_id: int) -> frozenset[int]:
        """Offered blocks that no pilot has taken."""
        with self.reading() as tx:
            return frozenset(tx.execute(_open_offers([campaign_id])).scalars())

    def acquire(
        self,
        campaign_ids: Collection[int],
        *,
        holder: str,
        nonce: str,
        most_events: Mapping[int, int] | None = None,
    ) -> Claim | None:
        """Claim an offered block of one of these campaigns, the oldest that this worker may have; None if none.

        `most_events` is how many events of a campaign it can do: a block is cut behind the last range that fits,
        and what is behind is READY again; one of which no range fits is left to others. Repeated with the same
        `nonce`, it is the same claim, as long as that lasts.
        """
        holder = text.name(holder)
        mine = sa.select(_BLOCK.id).where(
            _BLOCK.holder == holder, _BLOCK.nonce == nonce, _BLOCK.campaign_id.in_(campaign_ids)
        )
        with self.reading() as tx:  # most pilots that wait ask for what there is not: they need not queue for it
            looked_for = (mine, _open_offers(campaign_ids, but=holder))
            if not any(tx.execute(statement.limit(1)).first() for statement in looked_for):
                return None
        with self.writing() as tx:
            numbers = list(tx.execute(mine).scalars())
            offered = list(tx.execute(_worth_trying(campaign_ids, holder, most_events or {})).scalars())
            for number in [*numbers, *offered]:
                if number not in numbers and not _cut_to_fit(tx, number, most_events or {}):
                    continue
                claim = self._claim_in(tx, number, holder=holder, nonce=nonce)
                if claim is not None:
                    return claim
        return None

    def leases(self, block_ids: Collection[int]) -> dict[int, Lease]:
        """Block -> its current lease, for those of these blocks that are claimed."""
        with self.reading() as tx:
            statement = sa.select(schema.block).where(_BLOCK.id.in_(block_ids), _BLOCK.attempt.is_not(None))
            return {
                row.id: Lease(row.campaign_id, row.id, row.input_id, row.attempt, row.holder, row.expires_at)
                for row in tx.execute(statement)
            }

    def note_trouble(self, lease: Lease, reason: str) -> None:
        """A pilot could not work on a block, for a reason outside of its events: the journal keeps it."""
        with self.writing() as tx:
            write_journal(
                tx,
                lease.campaign_id,
                self.now(tx),
                kind=JournalKind.TROUBLE,
                reason=reason,
                attempt=lease.attempt,
                holder=lease.holder,
            )

    def block_ranges(self, block_ids: Collection[int]) -> dict[int, EventRange]:
        """Block -> the events of its input that it is about, for those of these blocks that there are."""
        with self.reading() as tx:
            rows = tx.execute(sa.select(_BLOCK.id, _BLOCK.start, _BLOCK.stop).where(_BLOCK.id.in_(block_ids)))
            return {row.id: EventRange(row.start, row.stop) for row in rows}

    def journal_after(self, campaign_id: int, line: int) -> tuple[int, tuple[Incident, ...]]:
        """The lines of the journal after a line, oldest first, and the number of the last; 0 is before all."""
        j = schema.journal.c
        statement = with_urls().where(j.campaign_id == campaign_id, j.id > line).order_by(j.id)
        with self.reading() as tx:
            rows = tx.execute(statement).all()
        return (rows[-1].id if rows else line), tuple(map(incident_from, rows))

    def last_line(self, campaign_id: int) -> int:
        """The number of the last line of the journal."""
        j = schema.journal.c
        with self.reading() as tx:
            return tx.execute(sa.select(sa.func.max(j.id)).where(j.campaign_id == campaign_id)).scalar() or 0

    def done_within(self, input_id: int, start: int, stop: int) -> int:
        """How many of the events `[start, stop)` of an input are committed or merged."""
        s = schema.span.c
        statement = sa.select(s.start, s.stop).where(
            s.input_id == input_id,
            s.start < stop,
            s.stop > start,
            s.state.in_([State.COMMITTED, State.MERGED]),
        )
        with self.reading() as tx:
            return sum(min(stop, row.stop) - max(start, row.start) for row in tx.execute(statement))

    # Sessions of pilots

    def begin_session(
        self,
        session_id: str,
        *,
        token_id: str,
        name: str,
        slots: int,
        offers: Mapping[str, Any],
        campaigns: Collection[str] | None,
    ) -> Session:
        """Begin a session of a pilot, or, repeated with this id, return the one that was begun."""
        with self.writing() as tx:
            found = tx.execute(sa.select(schema.session).where(_SESSION.id == session_id)).first()
            if found is None:
                now = self.now(tx)
                tx.execute(
                    sa.insert(schema.session).values(
                        id=session_id,
                        token_id=token_id,
                        name=text.told(name, most_bytes=text.LINE_BYTES),
                        slots=slots,
                        offers=dict(offers),
                        campaigns=None if campaigns is None else sorted(campaigns),
                        began_at=now,
                        seen_at=now,
                    )
                )
                found = tx.execute(sa.select(schema.session).where(_SESSION.id == session_id)).one()
        return _session_from(found)

    def session(self, session_id: str) -> Session | None:
        """The session with this id; None if there is none."""
        with self.reading() as tx:
            found = tx.execute(sa.select(schema.session).where(_SESSION.id == session_id)).first()
        return None if found is None else _session_from(found)

    def sessions(self, *, seen_within: timedelta | None = None) -> tuple[Session, ...]:
        """All sessions, oldest first; or those that have not ended and were seen within this time."""
        statement = sa.select(schema.session).order_by(_SESSION.began_at, _SESSION.id)
        with self.reading() as tx:
            if seen_within is not None:
                statement = statement.where(
                    _SESSION.ended_at.is_(None), _SESSION.seen_at > self.now(tx) - seen_within
                )
            return tuple(_session_from(row) for row in tx.execute(statement))

    def see_sessions(self, session_ids: Collection[str]) -> None:
        """Record that these pilots are alive."""
        with self.writing() as tx:
            statement = sa.update(schema.session).where(_SESSION.id.in_(session_ids), _SESSION.ended_at.is_(None))
            tx.execute(statement.values(seen_at=self.now(tx)))

    def note_offers(self, session_id: str, offers: Mapping[str, Any]) -> None:
        """Record what a pilot says of itself by now, in place of what it said when it began."""
        with self.writing() as tx:
            statement = sa.update(schema.session).where(_SESSION.id == session_id, _SESSION.ended_at.is_(None))
            tx.execute(statement.values(offers=dict(offers)))

    def end_session(self, session_id: str, *, reason: str) -> int:
        """End a session and release all blocks that it holds, without a charge; returns their number.

        Repeated, it is 0. A late report of the session is `fenced`.
        """
        with self.writing() as tx:
            statement = sa.update(schema.session).where(_SESSION.id == session_id, _SESSION.ended_at.is_(None))
            tx.execute(statement.values(ended_at=self.now(tx), end_reason=reason))
            held = sa.select(_BLOCK.campaign_id, _BLOCK.id, _BLOCK.holder).where(
                _BLOCK.holder.startswith("pilot/", autoescape=True),
                _BLOCK.holder.endswith(f"/{session_id}", autoescape=True),
            )
            blocks: dict[int, list[int]] = {}
            for row in tx.execute(held):
                if session_of(row.holder) == session_id:
                    blocks.setdefault(row.campaign_id, []).append(row.id)
            for campaign_id, numbers in sorted(blocks.items()):
                locked(tx, campaign_id)
                dissolve_blocks(tx, campaign_id, numbers)
            return sum(map(len, blocks.values()))

    # Tokens

    def add_token(self, token: Token) -> None:
        """Keep a new token."""
        with self.writing() as tx:
            row = {name: getattr(token, name) for name in schema.token.c.keys()}  # noqa: SIM118 - of columns
            row["campaigns"] = None if token.campaigns is None else list(token.campaigns)
            tx.execute(sa.insert(schema.token).values(**row))

    def token(self, token_id: str) -> Token | None:
        """The token with this id; None if there is none."""
        with self.reading() as tx:
            found = tx.execute(sa.select(schema.token).where(_TOKEN.id == token_id)).first()
        return None if found is None else _token_from(found)

    def tokens(self) -> tuple[Token, ...]:
        """All tokens, oldest first, also those that are not accepted any more."""
        with self.reading() as tx:
            rows = tx.execute(sa.select(schema.token).order_by(_TOKEN.created_at, _TOKEN.id))
            return tuple(map(_token_from, rows))

    def revoke_token(self, token_id: str) -> Token:
        """Accept a token no more. Repeated, the first time is kept. `LedgerError` if there is none."""
        with self.writing() as tx:
            statement = sa.update(schema.token).where(_TOKEN.id == token_id, _TOKEN.revoked_at.is_(None))
            tx.execute(statement.values(revoked_at=self.now(tx)))
            found = tx.execute(sa.select(schema.token).where(_TOKEN.id == token_id)).first()
        if found is None:
            raise words.no_token(token_id)
        return _token_from(found)


def _cut_to_fit(tx: sa.Connection, block_id: int, most_events: Mapping[int, int]) -> bool:
    """Cut an offered block behind the last range that its claimer can do; whether it can do any of it.

    A duplicate claim is not cut: it is for all that is left of its block, or for nothing.
    """
    row = read_block(tx, block_id)
    if row is None or (most := most_events.get(row.campaign_id)) is None:
        return True
    if _end_for(tx, row, most, campaign_by(tx, schema.campaign.c.id == row.campaign_id)) is None:
        return False  # before it is locked: whoever gets no block of a campaign holds up nobody else
    campaign = locked(tx, row.campaign_id)
    row = read_block(tx, block_id)  # again, now that nobody else can change it
    if row is None or row.attempt is not None:
        return False
    end = _end_for(tx, row, most, campaign)
    if end is not None:
        free_behind(tx, campaign, block_id, read_spans_of_block(tx, span_owner_id(row)), end=end)
    return end is not None


def _end_for(tx: sa.Connection, row: sa.Row[Any], most: int, campaign: CampaignRow) -> int | None:
    """Where a block is to be cut for whoever can do so many events; None if no range of it fits."""
    item = input_from(tx.execute(sa.select(schema.input_).where(schema.input_.c.id == row.input_id)).one())
    leased = read_spans_of_block(tx, span_owner_id(row))
    if not leased:
        return int(row.stop)  # a claim finds out that nothing is left
    end = end_within(leased, most, item, row, campaign)
    is_cut = end is not None and end < leased[-1].stop
    return None if is_cut and row.copy_of is not None else end  # a copy stays one of the whole


def _open_offers(campaign_ids: Collection[int], *, but: str | None = None) -> sa.Select[Any]:
    """Offered blocks that nobody has; no duplicate claims on what the worker `but` holds."""
    owner = schema.block.alias("owner")
    statement = sa.select(_BLOCK.id).where(
        _BLOCK.campaign_id.in_(campaign_ids), _BLOCK.offered, _BLOCK.attempt.is_(None)
    )
    if but is not None:
        held = sa.select(owner.c.id).where(owner.c.id == _BLOCK.copy_of, owner.c.holder == but)
        statement = statement.where(~held.exists())
    return statement.order_by(_BLOCK.id)


def _worth_trying(campaign_ids: Collection[int], holder: str, most_events: Mapping[int, int]) -> sa.Select[Any]:
    """A few offered blocks of each campaign, the oldest first, after all others those that seem to be too long.

    Of some campaigns this worker may get none, however many are offered: those must not hide the other ones'.
    """
    seems_long = sa.case(
        *(
            (
                sa.and_(
                    _BLOCK.campaign_id == number, _BLOCK.range_events > most, _BLOCK.stop - _BLOCK.start > most
                ),
                1,
            )
            for number, most in most_events.items()
        ),
        (sa.false(), 1),
        else_=0,
    )
    place = sa.func.row_number().over(partition_by=_BLOCK.campaign_id, order_by=(seems_long, _BLOCK.id))
    offers = _open_offers(campaign_ids, but=holder).order_by(None)
    ranked = offers.add_columns(seems_long.label("seems_long"), place.label("place")).subquery()
    statement = sa.select(ranked.c.id).where(ranked.c.place <= ASKED_AT_ONCE)
    return statement.order_by(ranked.c.seems_long, ranked.c.id)


def _session_from(row: sa.Row[Any]) -> Session:
    values = row._asdict()
    values["campaigns"] = None if row.campaigns is None else tuple(row.campaigns)
    return Session(**values)


def _token_from(row: sa.Row[Any]) -> Token:
    values = row._asdict()
    values["campaigns"] = None if row.campaigns is None else tuple(row.campaigns)
    return Token(**{**values, "role": Role(row.role)})
