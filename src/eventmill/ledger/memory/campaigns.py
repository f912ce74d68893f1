"""Verbs on whole campaigns; in memory."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from eventmill import text
from eventmill.core.leases import LeadershipLease, Lease
from eventmill.core.partition import coalesce
from eventmill.core.ranges import Description, Input, NewInput, SeenLayout, Span
from eventmill.core.records import (
    NOTHING_LEFT,
    TARGET_REACHED,
    CampaignRow,
    Counts,
    DesiredState,
    JournalKind,
    Rules,
    Sample,
)
from eventmill.core.states import State, Verb
from eventmill.core.work_order import PayloadCode
from eventmill.ledger import words
from eventmill.ledger.memory.blocks import dissolve_blocks
from eventmill.ledger.memory.holders import live_workers
from eventmill.ledger.memory.tables import CampaignTables, MemoryTables
from eventmill.rules.block_spans import LEADER_SECONDS, UNBLEMISHED
from eventmill.rules.sampling import is_time, to_forget


class CampaignVerbs(MemoryTables):
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
        """Add a new campaign. Raises `NameTaken` if the ledger has a campaign of this name."""
        name = text.name(name)
        with self._lock:
            if any(campaign.row.name == name for campaign in self._campaigns.values()):
                raise words.name_taken(name)
            self._keep_code(code)
            if reader is not None:
                self._keep_code(reader)
            now = self._now()
            row = CampaignRow(
                id=next(self._campaign_numbers),
                uid=secrets.token_hex(16),
                name=name,
                spec=_as_json(spec),
                rules=rules,
                payload=text.name(code.digest),
                store_url=text.name(store_url),
                schema=None,
                desired_state=DesiredState.RUN,
                created_at=now,
                closed_at=None,
                close_reason=None,
                reader=None if reader is None else text.name(reader.digest),
            )
            self._campaigns[row.id] = CampaignTables(row, looked_at=now)
            return row

    def campaign(self, name: str) -> CampaignRow:
        """The campaign of this name; otherwise `LedgerError` lists the existing names."""
        with self._lock:
            rows = {campaign.row.name: campaign.row for campaign in self._campaigns.values()}
            if text.name(name) not in rows:
                raise words.no_campaign(name, sorted(rows))
            return rows[text.name(name)]

    def campaign_numbered(self, campaign_id: int) -> CampaignRow:
        """The campaign with this number; `LedgerError` if it was restarted or deleted."""
        with self._lock:
            return self._tables(campaign_id).row

    def campaigns(self) -> tuple[CampaignRow, ...]:
        """All campaigns, in the order in which they were opened."""
        with self._lock:
            return tuple(campaign.row for campaign in self._campaigns.values())

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
        """Continue with another spec, other rules or other code; what is done is kept."""
        with self._lock:
            campaign = self._tables(campaign_id)
            self._keep_code(code)
            if reader is not None:
                self._keep_code(reader)
            for number, item in campaign.inputs.items():
                if (said := (described or {}).get(item.url)) is not None:
                    campaign.inputs[number] = replace(item, **_description(said))
            campaign.write_journal(self._now(), kind=JournalKind.CHANGED, reason=reason)
            campaign.set_row(
                spec=_as_json(spec),
                rules=rules,
                payload=text.name(code.digest),
                reader=None if reader is None else text.name(reader.digest),
                store_url=text.name(store_url),
                closed_at=None,
            )

    def add_inputs(self, campaign_id: int, inputs: Sequence[NewInput]) -> tuple[Input, ...]:
        """Register inputs after the existing ones, with one READY span each. Adding an input twice is harmless."""
        with self._lock:
            campaign = self._tables(campaign_id)
            known = {item.url: (item.identity, item.events) for item in campaign.inputs.values()}
            for new in inputs:
                content = text.name(new.identity), new.events
                if known.setdefault(text.name(new.url), content) != content:
                    raise words.input_changed(text.name(new.url))
            there = {item.url for item in campaign.inputs.values()}
            for new in inputs:
                if text.name(new.url) not in there:
                    there.add(text.name(new.url))
                    self._add_input(campaign, new)
            return tuple(campaign.inputs.values())

    def _add_input(self, campaign: CampaignTables, new: NewInput) -> None:
        last = next(reversed(campaign.inputs.values()), None)
        item = Input(
            id=next(self._input_numbers),
            ordinal=last.ordinal + 1 if last else 0,
            url=text.name(new.url),
            events=new.events,
            first=last.first + last.events if last else 0,
            identity=text.name(new.identity),
            boundaries=new.boundaries,
            **_description(new.described),
            index=None if new.index is None else _as_json(new.index),
        )
        campaign.inputs[item.id] = item
        if new.layout:
            campaign.layouts[item.id] = new.layout
        if new.events:
            campaign.spans.add(Span(item.id, 0, new.events, State.READY))
            campaign.open_again()

    def inputs(self, campaign_id: int) -> tuple[Input, ...]:
        """All inputs in campaign order."""
        with self._lock:
            return tuple(self._look_at(campaign_id).inputs.values())

    def layouts(self, campaign_id: int) -> tuple[SeenLayout, ...]:
        """The layouts of all inputs that have events, in the order of the first input with each."""
        with self._lock:
            campaign = self._look_at(campaign_id)
            seen: dict[Any, SeenLayout] = {}
            for number, layout in campaign.layouts.items():
                item = campaign.inputs[number]
                if item.events:
                    old = seen.get(layout, SeenLayout(item.url, 0, layout))
                    seen[layout] = replace(old, inputs=old.inputs + 1)
            return tuple(seen.values())

    def note_once(self, campaign_id: int, *, kind: JournalKind, lines: Mapping[str, str]) -> None:
        """Write lines of one kind into the journal, reason -> detail, without those whose reason is there."""
        with self._lock:
            campaign = self._tables(campaign_id)
            for line, detail in lines.items():
                reason = text.told(line, most_bytes=text.LINE_BYTES)
                if all(known.incident.reason != reason for known in campaign.lines(kind)):
                    campaign.write_journal(self._now(), kind=kind, reason=reason, detail=detail)

    def fix_schema(self, campaign_id: int, schema_bytes: bytes) -> bytes:
        """Fix the Arrow schema of the outputs. The first schema wins; returns the one that is fixed."""
        with self._lock:
            campaign = self._tables(campaign_id)
            if campaign.row.schema is None:
                campaign.set_row(schema=schema_bytes)
            return campaign.row.schema or schema_bytes

    def infer_schema(self, lease: Lease, schema_bytes: bytes) -> bytes | None:
        """`fix_schema` with the schema found under `lease`. None, unchanged, if the lease is not current."""
        with self._lock:
            campaign = self._campaigns.get(lease.campaign_id)
            if campaign is None or campaign.current(lease) is None:
                return None
            return self.fix_schema(lease.campaign_id, schema_bytes)

    def acquire_leadership(
        self, campaign_id: int, holder: str, *, is_gone: Callable[[str], bool]
    ) -> LeadershipLease:
        """Become the only coordinator; blocks that the previous one had only reserved return to READY."""
        with self._lock:
            campaign, now = self._tables(campaign_id), self._now()
            ends = campaign.leader_expires_at
            if campaign.leader and ends is not None and ends > now and not is_gone(campaign.leader):
                raise words.driven_by(campaign.row.name, campaign.leader, ends - now, ledger=self.address)
            campaign.leader, campaign.leader_attempt = text.name(holder), self._next_attempt()
            campaign.leader_expires_at = now + timedelta(seconds=LEADER_SECONDS)
            dissolve_blocks(campaign, [row.id for row in campaign.blocks.values() if row.attempt is None])
            return LeadershipLease(campaign_id, campaign.leader_attempt, holder)

    def renew_leadership(self, leadership: LeadershipLease) -> bool:
        """Renew the leadership; False if another coordinator has taken over."""
        with self._lock:
            campaign = self._if_led(leadership)
            if campaign is not None:
                campaign.leader_expires_at = self._now() + timedelta(seconds=LEADER_SECONDS)
            return campaign is not None

    def release_leadership(self, leadership: LeadershipLease) -> bool:
        """Release the leadership, so that the next run need not wait."""
        with self._lock:
            campaign = self._if_led(leadership)
            if campaign is not None:
                campaign.leader = campaign.leader_expires_at = None
            return campaign is not None

    def _if_led(self, leadership: LeadershipLease) -> CampaignTables | None:
        campaign = self._campaigns.get(leadership.campaign_id)
        if campaign is None or campaign.leader is None or campaign.leader_attempt != leadership.attempt:
            return None
        return campaign

    def leader(self, campaign_id: int) -> str | None:
        """The process that holds the live leadership of the campaign; None if there is no coordinator."""
        with self._lock:
            campaign = self._tables(campaign_id)
            ends = campaign.leader_expires_at
            return campaign.leader if ends is not None and ends > self._now() else None

    def last_lead(self, campaign_id: int) -> int | None:
        """The number of the newest leadership of a campaign, live or not; None if it never had one."""
        with self._lock:
            return self._tables(campaign_id).leader_attempt

    def set_desired_state(self, campaign_id: int, wanted: DesiredState) -> None:
        """Record what the user wants; workers learn it with their next reply."""
        with self._lock:
            self._tables(campaign_id).set_row(desired_state=wanted)
            self.note(campaign_id, kind=JournalKind.WANTED, reason=str(wanted))

    def note(self, campaign_id: int, *, kind: JournalKind, reason: str) -> None:
        """Write a line about the whole campaign into the journal."""
        with self._lock:
            self._tables(campaign_id).write_journal(self._now(), kind=kind, reason=reason)

    def note_broken(self, leadership: LeadershipLease, *, reason: str) -> None:
        """Record that this coordinator ends because it is useless to continue; valid until the next leadership."""
        told, _, detail = reason.partition("\n")
        with self._lock:
            self._tables(leadership.campaign_id).write_journal(
                self._now(),
                kind=JournalKind.BROKEN,
                reason=told,
                detail=detail,
                attempt=leadership.attempt,
                holder=leadership.holder,
            )

    def broken(self, campaign_id: int) -> str | None:
        """Why it is useless to continue, as recorded by the last coordinator; None if it did not record that."""
        with self._lock:
            campaign = self._tables(campaign_id)
            found = (line.incident for line in campaign.lines(JournalKind.BROKEN))
            return next((i.reason for i in found if i.attempt == campaign.leader_attempt), None)

    def close(self, campaign_id: int, *, reason: str) -> None:
        """READY, LEASED -> ABANDONED with `reason`; live leases are fenced. Harmless when repeated."""
        with self._lock:
            campaign, now = self._tables(campaign_id), self._now()
            old = [s for s in campaign.spans if s.state in (State.READY, State.LEASED)]
            gone = [replace(s, state=State.ABANDONED, block_id=None, reason=reason, **UNBLEMISHED) for s in old]
            campaign.spans.replace(Verb.CLOSE, old=old, new=coalesce(gone))
            campaign.blocks.clear()
            if campaign.row.closed_at is None:
                told = text.told(reason, most_bytes=text.LINE_BYTES)
                campaign.set_row(closed_at=now, close_reason=told)
            if old:
                detail = f"{sum(map(len, old))} events"
                campaign.write_journal(now, kind=JournalKind.CLOSED, reason=reason, detail=detail)

    def close_if_done(self, campaign_id: int) -> bool:
        """`close` if the target is reached or no event is READY or LEASED; returns whether it is closed."""
        with self._lock:
            counts = self.counts(campaign_id)
            reached = counts.done >= counts.needed(self._tables(campaign_id).row.rules.target)
            if counts.open and not reached:
                return False
            if counts.total:
                self.close(campaign_id, reason=TARGET_REACHED if reached else NOTHING_LEFT)
            return True

    def counts(self, campaign_id: int) -> Counts:
        """Events by state."""
        with self._lock:
            events = self._look_at(campaign_id).spans.events
            return Counts(**{state.value: number for state, number in events.items()})

    def reopen(self, campaign_id: int) -> int:
        """ABANDONED -> READY with fresh budgets; returns the number of events."""
        with self._lock:
            campaign = self._tables(campaign_id)
            old = [s for s in campaign.spans if s.state in (State.ABANDONED, State.READY)]
            fresh = [replace(s, state=State.READY, reason=None, **UNBLEMISHED) for s in old]
            campaign.spans.replace(Verb.REOPEN, old=old, new=coalesce(fresh))
            campaign.set_row(closed_at=None, close_reason=None, desired_state=DesiredState.RUN)
            return sum(len(s) for s in old if s.state is State.ABANDONED)

    def forget_campaign(self, campaign_id: int) -> None:
        """Delete a campaign from the ledger; the caller deletes its objects."""
        with self._lock:
            self._campaigns.pop(campaign_id, None)
            self._keys = {key: number for key, number in self._keys.items() if number != campaign_id}

    def code(self, digest: str) -> PayloadCode:
        """The payload code with this digest; `LedgerError` if the ledger does not have it."""
        with self._lock:
            found = self._codes.get(text.name(digest))
            if found is None:
                raise words.no_code(digest)
            return found

    def _keep_code(self, code: PayloadCode) -> None:
        callable, entry, digest = (text.name(part) for part in (code.callable, code.entry, code.digest))
        code = PayloadCode(callable, entry, digest, code.bundle)
        known = self._codes.setdefault(code.digest, code)
        if known.entry != code.entry or (known.bundle is None) != (code.bundle is None):
            raise words.other_code(code, known.entry)

    def note_sample(
        self,
        leadership: LeadershipLease,
        *,
        slots: int,
        every: timedelta,
        range_events: int | None = None,
        range_seconds: float | None = None,
    ) -> bool:
        """Write down how the campaign stands, unless somebody did lately; returns whether it was time to."""
        with self._lock:
            campaign, now = self._tables(leadership.campaign_id), self._now()
            ends = (campaign.samples[0].at, campaign.samples[-1].at) if campaign.samples else (None, None)
            if not is_time(*ends, now=now, every=every):
                return False
            counts, rows = self.counts(leadership.campaign_id), campaign.blocks.values()
            campaign.samples.append(
                Sample(
                    at=now,
                    leadership=leadership.attempt,
                    done=counts.done,
                    ready=counts.ready,
                    workers=len(live_workers(campaign, now)),
                    slots=slots,
                    busy=sum(row.expires_at is not None and row.expires_at > now for row in rows),
                    losses=sum(1 for _ in campaign.lines(JournalKind.LOSS)),
                    range_events=range_events,
                    range_seconds=range_seconds,
                )
            )
            gone = set(to_forget([sample.at for sample in campaign.samples]))
            campaign.samples = [sample for sample in campaign.samples if sample.at not in gone]
            return True

    def samples(self, campaign_id: int) -> tuple[Sample, ...]:
        """All samples that were kept, oldest first."""
        with self._lock:
            return tuple(self._look_at(campaign_id).samples)


def _description(said: Description) -> dict[str, Any]:
    """Label and parameters as they come back from a database."""
    label = None if said.label is None else text.told(said.label)
    return {"label": label, "parameters": _as_json(said.parameters)}


def _as_json(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A private copy, as it would come back from a database."""
    kept: dict[str, Any] = json.loads(json.dumps(dict(spec)))
    return kept
