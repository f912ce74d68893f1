"""Offered blocks, sessions of pilots, and tokens; in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import timedelta
from itertools import chain
from typing import Any

from eventmill import text
from eventmill.core.access_tokens import Session, Token, session_of
from eventmill.core.leases import Claim, Lease
from eventmill.core.ranges import EventRange
from eventmill.core.records import Incident, JournalKind
from eventmill.core.states import State
from eventmill.ledger import words
from eventmill.ledger.memory.blocks import BlockVerbs, dissolve_blocks, free_behind
from eventmill.rules.block_spans import end_within


class PilotVerbs(BlockVerbs):
    """Verbs of the event service."""

    def offer(self, block_id: int) -> bool:
        """Let any pilot take this block; False if it was claimed or released meanwhile."""
        with self._lock:
            found = self._with_block(block_id)
            if found is None or found[1].attempt is not None:
                return False
            found[0].blocks[block_id] = replace(found[1], offered=True)
            return True

    def offered(self, campaign_id: int) -> frozenset[int]:
        """Offered blocks that no pilot has taken."""
        with self._lock:
            rows = self._look_at(campaign_id).blocks.values()
            return frozenset(row.id for row in rows if row.offered and row.attempt is None)

    def acquire(
        self,
        campaign_ids: Collection[int],
        *,
        holder: str,
        nonce: str,
        most_events: Mapping[int, int] | None = None,
    ) -> Claim | None:
        """Claim the oldest offered block that this worker may have, cut to what it can do; None if none."""
        holder = text.name(holder)
        with self._lock:
            rows = [row for number in campaign_ids for row in self._look_at(number).blocks.values()]
            mine = sorted(row.id for row in rows if (row.holder, row.nonce) == (holder, nonce))
            held = {row.id for row in rows if row.holder == holder}
            open_ones = sorted(
                row.id for row in rows if row.offered and row.attempt is None and row.copy_of not in held
            )
            fitting = (number for number in open_ones if self._cut_to_fit(number, most_events or {}))
            claims = (self.claim(number, holder=holder, nonce=nonce) for number in chain(mine, fitting))
            return next((claim for claim in claims if claim is not None), None)

    def _cut_to_fit(self, block_id: int, most_events: Mapping[int, int]) -> bool:
        """Cut an offered block behind the last range that its claimer can do; whether it can do any of it."""
        found = self._with_block(block_id)
        if found is None or (most := most_events.get(found[0].row.id)) is None:
            return True
        campaign, row = found
        leased = campaign.spans.of_block(row.owner)
        end = end_within(leased, most, campaign.inputs[row.input_id], row, campaign.row)
        if end is None or (row.copy_of is not None and end < leased[-1].stop):
            return not leased
        free_behind(campaign, row, leased, end=end)
        return True

    def leases(self, block_ids: Collection[int]) -> dict[int, Lease]:
        """Block -> its current lease, for those of these blocks that are claimed."""
        with self._lock:
            found = (pair for pair in map(self._with_block, block_ids) if pair is not None)
            return {
                row.id: Lease(campaign.row.id, row.id, row.input_id, row.attempt, row.holder, row.expires_at)
                for campaign, row in found
                if row.attempt is not None and row.expires_at is not None
            }

    def note_trouble(self, lease: Lease, reason: str) -> None:
        """A pilot could not work on a block, for a reason outside of its events: the journal keeps it."""
        with self._lock:
            self._tables(lease.campaign_id).write_journal(
                self._now(), kind=JournalKind.TROUBLE, reason=reason, attempt=lease.attempt, holder=lease.holder
            )

    def block_ranges(self, block_ids: Collection[int]) -> dict[int, EventRange]:
        """Block -> the events of its input that it is about, for those of these blocks that there are."""
        with self._lock:
            found = (pair for pair in map(self._with_block, block_ids) if pair is not None)
            return {row.id: EventRange(row.start, row.stop) for _, row in found}

    def journal_after(self, campaign_id: int, line: int) -> tuple[int, tuple[Incident, ...]]:
        """The lines of the journal after a line, oldest first, and the number of the last."""
        with self._lock:
            lines = self._look_at(campaign_id).journal
            return len(lines), tuple(each.incident for each in lines[line:])

    def last_line(self, campaign_id: int) -> int:
        """The number of the last line of the journal."""
        with self._lock:
            return len(self._look_at(campaign_id).journal)

    def done_within(self, input_id: int, start: int, stop: int) -> int:
        """How many of the events `[start, stop)` of an input are committed or merged."""
        with self._lock:
            spans = (span for campaign in self._campaigns.values() for span in campaign.spans)
            return sum(
                min(stop, span.stop) - max(start, span.start)
                for span in spans
                if span.input_id == input_id
                and span.start < stop
                and span.stop > start
                and span.state in (State.COMMITTED, State.MERGED)
            )

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
        with self._lock:
            now = self._now()
            chosen = None if campaigns is None else tuple(sorted(campaigns))
            shown = text.told(name, most_bytes=text.LINE_BYTES)
            new = Session(session_id, token_id, shown, slots, dict(offers), chosen, now, now)
            return self._sessions.setdefault(session_id, new)

    def session(self, session_id: str) -> Session | None:
        """The session with this id; None if there is none."""
        with self._lock:
            return self._sessions.get(session_id)

    def sessions(self, *, seen_within: timedelta | None = None) -> tuple[Session, ...]:
        """All sessions, oldest first; or those that have not ended and were seen within this time."""
        with self._lock:
            since = None if seen_within is None else self._now() - seen_within
            found = (s for s in self._sessions.values() if since is None or (not s.ended_at and s.seen_at > since))
            return tuple(sorted(found, key=lambda session: (session.began_at, session.id)))

    def see_sessions(self, session_ids: Collection[str]) -> None:
        """Record that these pilots are alive."""
        with self._lock:
            for number in session_ids:
                found = self._sessions.get(number)
                if found is not None and found.ended_at is None:
                    self._sessions[number] = replace(found, seen_at=self._now())

    def note_offers(self, session_id: str, offers: Mapping[str, Any]) -> None:
        """Record what a pilot says of itself by now."""
        with self._lock:
            found = self._sessions.get(session_id)
            if found is not None and found.ended_at is None:
                self._sessions[session_id] = replace(found, offers=dict(offers))

    def end_session(self, session_id: str, *, reason: str) -> int:
        """End a session and release all blocks that it holds; returns their number."""
        with self._lock:
            found = self._sessions.get(session_id)
            if found is not None and found.ended_at is None:
                reason = text.told(reason, most_bytes=text.LINE_BYTES)
                self._sessions[session_id] = replace(found, ended_at=self._now(), end_reason=reason)
            ended = 0
            for campaign in self._campaigns.values():
                held = [row.id for row in campaign.blocks.values() if session_of(row.holder) == session_id]
                dissolve_blocks(campaign, held)
                ended += len(held)
            return ended

    def add_token(self, token: Token) -> None:
        """Keep a new token."""
        with self._lock:
            self._tokens[token.id] = token

    def token(self, token_id: str) -> Token | None:
        """The token with this id; None if there is none."""
        with self._lock:
            return self._tokens.get(token_id)

    def tokens(self) -> tuple[Token, ...]:
        """All tokens, oldest first."""
        with self._lock:
            return tuple(sorted(self._tokens.values(), key=lambda token: (token.created_at, token.id)))

    def revoke_token(self, token_id: str) -> Token:
        """Accept a token no more. Repeated, the first time is kept."""
        with self._lock:
            found = self._tokens.get(token_id)
            if found is None:
                raise words.no_token(token_id)
            if found.revoked_at is None:
                self._tokens[token_id] = replace(found, revoked_at=self._now())
            return self._tokens[token_id]
