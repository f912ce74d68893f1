"""Verbs on blocks: reserve, claim, renew, release, expire, shorten; in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from eventmill import text
from eventmill.core.leases import (
    RENEWALS_PER_LEASE,
    Block,
    Claim,
    LeadershipLease,
    Lease,
    LeaseProgress,
    Outcome,
    Reply,
)
from eventmill.core.ranges import Span
from eventmill.core.records import DesiredState, Incident, JournalKind
from eventmill.core.states import State, Verb
from eventmill.ledger import words
from eventmill.ledger.memory.holders import HolderVerbs, live_workers, record_seen
from eventmill.ledger.memory.tables import BlockRow, CampaignTables
from eventmill.rules.block_spans import (
    DIRECTIVES,
    FENCED,
    MOST_REFUSALS,
    charge_loss,
    end_of_range,
    freed,
    in_flight,
    remainder,
    sent_away,
)


class BlockVerbs(HolderVerbs):
    """Verbs on blocks."""

    def reserve(
        self,
        leadership: LeadershipLease,
        *,
        events: int,
        range_events: int,
        aligned: bool = False,
        but: Collection[int] = (),
    ) -> Block | None:
        """READY -> LEASED for the first contiguous READY piece of at most `events`; no time limit starts."""
        with self._lock:
            campaign = self._led(leadership)
            if campaign.row.desired_state is not DesiredState.RUN or campaign.row.closed_at is not None:
                return None
            now = self._now()
            rested = (s for s in campaign.spans.ready() if s.rests_until is None or s.rests_until <= now)
            ready = next((span for span in rested if span.input_id not in but), None)
            if ready is None:
                return None
            suspect = ready.is_suspect
            stop = ready.stop if suspect else min(ready.stop, ready.start + events)
            row = BlockRow(
                id=next(self._block_numbers),
                input_id=ready.input_id,
                start=ready.start,
                stop=stop,
                range_events=stop - ready.start if suspect else range_events,
                aligned=aligned and not suspect,
                leader_attempt=leadership.attempt,
            )
            leased = replace(ready, stop=stop, state=State.LEASED, block_id=row.id, rests_until=None)
            campaign.spans.replace(Verb.RESERVE, old=[ready], new=[leased, *remainder(ready, leased)])
            campaign.blocks[row.id] = row
            return _block(campaign, row, avoid=() if ready.failed_on is None else (ready.failed_on,))

    def claim(self, block_id: int, *, holder: str, nonce: str | None = None) -> Claim | None:
        """Start (or start again) a block: draw a new attempt, which fences earlier ones, and start the lease."""
        holder = text.name(holder)
        with self._lock:
            found = self._with_block(block_id)
            if found is None:
                return None
            campaign, row = found
            if nonce is not None and (row.holder, row.nonce) == (holder, nonce):
                return _claim(campaign, row)
            if campaign.row.desired_state is not DesiredState.RUN:
                dissolve_blocks(campaign, [block_id])
                return None
            now = self._now()
            record_seen(campaign, holder, now)
            other = other_claim(campaign, row)
            if row.attempt is not None:
                self._lose_to(campaign, row, holder, now)
            missing = campaign.spans.of_block(row.owner)
            if not missing:
                drop_block(campaign, row.owner)
                return None
            if other is not None and other.holder == holder:
                hand_over(campaign, row, other)
                return None
            kept_from = holder == missing[0].failed_on and missing[0].refusals < MOST_REFUSALS
            unwanted = kept_from or holder in self.quarantined(campaign.row.id)
            if other is None and unwanted and live_workers(campaign, now) - {holder}:
                campaign.spans.replace_and_coalesce(Verb.RELEASE, old=missing, new=sent_away(missing, now))
                drop_block(campaign, row.id)
                return None
            campaign.blocks[block_id] = replace(
                row,
                attempt=self._next_attempt(),
                holder=holder,
                nonce=nonce,
                claimed_at=now,
                expires_at=now + campaign.row.rules.lease,
                begun=in_flight(missing[0], campaign.inputs[row.input_id], row, campaign.row).stop,
            )
            return _claim(campaign, campaign.blocks[block_id])

    def _lose_to(self, campaign: CampaignTables, row: BlockRow, holder: str, now: datetime) -> None:
        """Charge the loss of the previous claim to the range in flight, which stays leased unless abandoned."""
        span = campaign.spans.of_block(row.owner)[0]
        first = in_flight(span, campaign.inputs[row.input_id], row, campaign.row)
        _journal_loss(campaign, now, row, first.start, first.stop, words.started_again("block", holder))
        charged = [
            replace(s, state=State.LEASED, block_id=row.owner) if s.state is State.READY else s
            for s in charge_loss(first, campaign.row, shared=other_claim(campaign, row) is not None)
        ]
        campaign.spans.replace(Verb.EXPIRE, old=[span], new=[*charged, *remainder(span, first)])

    def renew(self, lease: Lease, *, begun: int | None = None) -> Reply:
        """Move the end of the lease; the reply says whether it is still current and what to do next."""
        with self._lock:
            reply = self.ask(lease)
            if reply != FENCED:
                blocks, now = self._tables(lease.campaign_id).blocks, self._now()
                row = blocks[lease.block_id]
                until = now + self._tables(lease.campaign_id).row.rules.lease
                blocks[row.id] = replace(row, expires_at=until, begun=max(begun or 0, row.begun))
            return reply

    def ask(self, lease: Lease) -> Reply:
        """What `renew` would say. Changes nothing."""
        with self._lock:
            campaign = self._campaigns.get(lease.campaign_id)
            row = campaign.current(lease) if campaign is not None else None
            if campaign is None or row is None:
                return FENCED
            return Reply((Outcome.ACCEPTED,), DIRECTIVES[campaign.row.desired_state], stop=row.stop)

    def release(self, lease: Lease, *, drained: str | None = None) -> Outcome:
        """LEASED -> READY for what this worker did not commit; no budget is charged."""
        with self._lock:
            campaign = self._tables(lease.campaign_id)
            row = campaign.current(lease)
            if row is None:
                return Outcome.FENCED
            if drained is not None:
                left = campaign.spans.of_block(row.owner)
                campaign.write_journal(
                    self._now(), kind=JournalKind.DRAINED, reason=drained,
                    start=left[0].start, stop=left[-1].stop, **_who(row),
                )  # fmt: skip
            dissolve_blocks(campaign, [row.id])
            return Outcome.ACCEPTED

    def release_unclaimed(self, block_id: int) -> bool:
        """LEASED -> READY for a block that was not claimed; False, without a change, if it was."""
        with self._lock:
            found = self._with_block(block_id)
            if found is None or found[1].attempt is not None:
                return False
            dissolve_blocks(found[0], [block_id])
            return True

    def release_all(self, leadership: LeadershipLease) -> int:
        """LEASED -> READY for all blocks that this coordinator handed out; returns the number of events."""
        with self._lock:
            campaign = self._tables(leadership.campaign_id)
            rows = campaign.blocks.values()
            return dissolve_blocks(campaign, [r.id for r in rows if r.leader_attempt == leadership.attempt])

    def expire(self, campaign_id: int) -> tuple[Incident, ...]:
        """Take back every block whose lease has ended; those overdue last once more if nobody looked for long."""
        with self._lock:
            campaign, now = self._tables(campaign_id), self._now()
            lease = campaign.row.rules.lease
            slept, campaign.looked_at = now - campaign.looked_at > lease / RENEWALS_PER_LEASE, now
            if slept:
                for row in _ended(campaign, now + lease - lease / RENEWALS_PER_LEASE):
                    _extend(campaign, row, now)
            return self._lose_all(campaign, _ended(campaign, now), words.LEASE_EXPIRED)

    def mark_lost(self, campaign_id: int, *, holders: Collection[str], reason: str) -> tuple[Incident, ...]:
        """Take back at once what these workers held, because they are known to have vanished.

        From now on none of them is a live worker, also one that held nothing.
        """
        with self._lock:
            campaign, names = self._tables(campaign_id), {text.name(holder) for holder in holders}
            held = [row for row in campaign.blocks.values() if row.attempt is not None and row.holder in names]
            lost = self._lose_all(campaign, held, reason)
            for name in names & campaign.holders.keys():
                record_seen(campaign, name, None)
            return lost

    def _lose_all(self, campaign: CampaignTables, rows: Sequence[BlockRow], reason: str) -> tuple[Incident, ...]:
        lost = []
        for number in sorted(row.id for row in rows):  # one at a time: another claim takes the place of one
            lost.append(self._lose(campaign, campaign.blocks[number], reason))
        return tuple(lost)

    def _lose(self, campaign: CampaignTables, row: BlockRow, reason: str) -> Incident:
        leased = campaign.spans.of_block(row.owner)
        first = in_flight(leased[0], campaign.inputs[row.input_id], row, campaign.row)
        other = other_claim(campaign, row)
        charged, rest = charge_loss(first, campaign.row, shared=other is not None), remainder(leased[0], first)
        if other is not None:
            campaign.spans.replace(Verb.EXPIRE, old=leased[:1], new=[*charged, *rest])
            hand_over(campaign, row, other)
        else:
            others = freed([*rest, *leased[1:]])
            campaign.spans.replace_and_coalesce(Verb.EXPIRE, old=leased, new=[*charged, *others])
            drop_block(campaign, row.id)
        record_seen(campaign, row.holder, None)
        return _journal_loss(campaign, self._now(), row, first.start, first.stop, reason)

    def shorten(self, leadership: LeadershipLease, block_id: int, *, at: int) -> int:
        """LEASED -> READY for the events of a claimed block behind `at`, but never what its holder has begun."""
        with self._lock:
            campaign = self._led(leadership)
            row = _claimed_once(campaign, block_id)
            if row is None:
                return 0
            item, leased = campaign.inputs[row.input_id], campaign.spans.of_block(block_id)
            floor = max(at, row.begun, in_flight(leased[0], item, row, campaign.row).stop)
            end = end_of_range(leased, floor, item, row, campaign.row)
            return free_behind(campaign, row, leased, end=end)

    def reserve_duplicate(self, leadership: LeadershipLease, block_id: int) -> Block | None:
        """Reserve a duplicate claim on everything that a claimed block still holds."""
        with self._lock:
            campaign = self._led(leadership)
            row = _claimed_once(campaign, block_id)
            if row is None or campaign.row.desired_state is not DesiredState.RUN:
                return None
            leased = campaign.spans.of_block(block_id)
            if any(span.is_suspect for span in leased):
                return None
            copy = BlockRow(
                id=next(self._block_numbers),
                input_id=row.input_id,
                start=leased[0].start,
                stop=leased[-1].stop,
                range_events=row.range_events,
                aligned=row.aligned,
                leader_attempt=leadership.attempt,
                copy_of=block_id,
            )
            campaign.blocks[copy.id] = copy
            return _block(campaign, copy, avoid=(row.holder,))

    def leased(self, campaign_id: int) -> tuple[LeaseProgress, ...]:
        """The progress and age of every claimed block, without duplicate claims."""
        with self._lock:
            campaign, now, found = self._tables(campaign_id), self._now(), []
            copied = {row.copy_of for row in campaign.blocks.values()}
            for row in campaign.blocks.values():
                spans = campaign.spans.of_block(row.id)
                if row.claimed_at is None or not spans:
                    continue
                found.append(
                    LeaseProgress(
                        block_id=row.id,
                        missing=sum(map(len, spans)),
                        done=spans[0].start - row.start,
                        begun=max(row.begun, spans[0].start),
                        stop=spans[-1].stop,
                        range_events=row.range_events,
                        seconds=(now - row.claimed_at).total_seconds(),
                        copied=row.id in copied,
                        suspect=any(s.failures or s.losses for s in spans),
                    )
                )
            return tuple(found)

    def _led(self, leadership: LeadershipLease) -> CampaignTables:
        campaign = self._tables(leadership.campaign_id)
        if campaign.leader_attempt != leadership.attempt:
            raise words.taken_over_by(campaign.leader)
        return campaign


def other_claim(campaign: CampaignTables, row: BlockRow) -> BlockRow | None:
    """The other claim on the same events; None if there is none or it was not claimed."""
    if row.copy_of is not None:
        return campaign.blocks.get(row.copy_of)
    copies = (other for other in campaign.blocks.values() if other.copy_of == row.id)
    return next((copy for copy in copies if copy.attempt is not None), None)


def hand_over(campaign: CampaignTables, row: BlockRow, other: BlockRow) -> None:
    """End one of two claims; LEASED events stay leased to the other."""
    if row.copy_of is None:
        held = campaign.spans.of_block(row.id)
        campaign.spans.replace(Verb.RELEASE, old=held, new=[replace(s, block_id=other.id) for s in held])
        campaign.blocks[other.id] = replace(campaign.blocks[other.id], copy_of=None)
    del campaign.blocks[row.id]


def drop_block(campaign: CampaignTables, owner: int) -> None:
    """Delete a block and its duplicate claim, after the last of its events has left LEASED."""
    for row in [row for row in campaign.blocks.values() if owner in (row.id, row.copy_of)]:
        del campaign.blocks[row.id]


def dissolve_blocks(campaign: CampaignTables, block_ids: Sequence[int]) -> int:
    """LEASED -> READY for whole blocks, without a charge; returns the number of events.

    Events with a duplicate claim stay LEASED, for the other claim.
    """
    events = 0
    copies_first = sorted(block_ids, key=lambda number: (campaign.blocks[number].copy_of is None, number))
    for number in copies_first:
        row = campaign.blocks[number]
        other = other_claim(campaign, row)
        if other is not None:
            hand_over(campaign, row, other)
            continue
        leased = campaign.spans.of_block(number)
        campaign.spans.replace_and_coalesce(Verb.RELEASE, old=leased, new=freed(leased))
        drop_block(campaign, number)
        events += sum(map(len, leased))
    return events


def free_behind(campaign: CampaignTables, row: BlockRow, leased: Sequence[Span], *, end: int) -> int:
    """LEASED -> READY for the events of a block behind `end`, where a range of it ends; returns their number."""
    beyond = [span for span in leased if span.stop > end]
    if not beyond:
        return 0
    given = freed([replace(s, start=max(s.start, end)) for s in beyond])
    kept = [replace(s, stop=end) for s in beyond if s.start < end]
    campaign.spans.replace_and_coalesce(Verb.SHORTEN, old=beyond, new=[*kept, *given])
    campaign.blocks[row.id] = replace(row, stop=end)
    return sum(map(len, given))


def _claimed_once(campaign: CampaignTables, block_id: int) -> BlockRow | None:
    """A block that somebody has claimed, and nobody else was given."""
    row = campaign.blocks.get(block_id)
    if row is None or row.attempt is None or row.copy_of is not None:
        return None
    return None if any(other.copy_of == block_id for other in campaign.blocks.values()) else row


def _ended(campaign: CampaignTables, now: datetime) -> list[BlockRow]:
    rows = campaign.blocks.values()
    return [row for row in rows if row.expires_at is not None and row.expires_at < now]


def _extend(campaign: CampaignTables, row: BlockRow, now: datetime) -> None:
    """One more lease, but not for one that ended because an extension did."""
    lease = campaign.row.rules.lease
    extended = {(e.incident.attempt, e.incident.at + lease) for e in campaign.lines(JournalKind.EXTENDED)}
    if (row.attempt, row.expires_at) in extended:
        return
    campaign.blocks[row.id] = replace(row, expires_at=now + lease)
    campaign.write_journal(
        now, kind=JournalKind.EXTENDED, reason=words.EXTENDED, start=row.start, stop=row.stop, **_who(row)
    )


def _journal_loss(
    campaign: CampaignTables, now: datetime, row: BlockRow, start: int, stop: int, reason: str
) -> Incident:
    return campaign.write_journal(now, kind=JournalKind.LOSS, reason=reason, start=start, stop=stop, **_who(row))


def _who(row: BlockRow) -> dict[str, Any]:
    return {"input_id": row.input_id, "attempt": row.attempt, "holder": row.holder}


def _block(campaign: CampaignTables, row: BlockRow, *, avoid: tuple[str, ...] = ()) -> Block:
    ordinal = campaign.inputs[row.input_id].ordinal
    return Block(row.id, row.input_id, ordinal, row.start, row.stop, row.range_events, row.aligned, avoid)


def _claim(campaign: CampaignTables, row: BlockRow) -> Claim:
    """What the holder of a claimed block is told."""
    assert row.attempt is not None and row.expires_at is not None
    return Claim(
        lease=Lease(campaign.row.id, row.id, row.input_id, row.attempt, row.holder, row.expires_at),
        lease_length=campaign.row.rules.lease,
        input=campaign.inputs[row.input_id],
        block=_block(campaign, row),
        missing=tuple(span.range for span in campaign.spans.of_block(row.owner)),
        schema=campaign.row.schema,
    )
