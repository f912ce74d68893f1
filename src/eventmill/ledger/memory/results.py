"""Verbs that record results: commits, failures, failed set-ups, and reports of many; in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from eventmill import text
from eventmill.core.leases import Directive, FailureReport, Lease, Outcome, Reply
from eventmill.core.outputs import RangeOutput
from eventmill.core.partition import isolate
from eventmill.core.ranges import EventRange, Span
from eventmill.core.records import JournalKind, UsageCause
from eventmill.core.states import State, Verb
from eventmill.core.worker_report import Commit, Failure, Renewal, ReportItem
from eventmill.ledger.memory.blocks import BlockVerbs, dissolve_blocks, drop_block, hand_over, other_claim
from eventmill.ledger.memory.holders import note_not_set_up, note_success
from eventmill.ledger.memory.tables import CampaignTables, OutputRow
from eventmill.rules.block_spans import DIRECTIVES, FENCED, check_keys, cleared, judge, limits_of
from eventmill.rules.failed_ranges import after_failure, failed_once_more


class ResultVerbs(BlockVerbs):
    """Verbs that record results."""

    def commit(
        self, lease: Lease, outputs: Sequence[RangeOutput], *, payload: str, begun: int | None = None
    ) -> Reply:
        """LEASED -> COMMITTED for each output whose range is leased to this attempt; others are told why not."""
        check_keys(outputs)
        with self._lock:
            campaign = self._tables(lease.campaign_id)
            return self._commit(campaign, Commit(lease, tuple(outputs), payload, begun))

    def fail(
        self, lease: Lease, failed: EventRange, report: FailureReport, *, report_id: str | None = None
    ) -> Reply:
        """LEASED -> READY, or split in two, or ABANDONED; once, however often it is told with one `report_id`."""
        with self._lock:
            return self._fail(self._tables(lease.campaign_id), Failure(lease, failed, report, report_id))

    def report(self, items: Sequence[ReportItem]) -> tuple[Reply, ...]:
        """Many commits, failures and renewals of one process, in this order; a reply for each."""
        for item in items:
            if isinstance(item, Commit):
                check_keys(item.outputs)
        with self._lock:
            return tuple(self._answer(item) for item in items)

    def _answer(self, item: ReportItem) -> Reply:
        campaign = self._campaigns.get(item.lease.campaign_id)
        if campaign is None:
            return FENCED
        match item:
            case Commit():
                return self._commit(campaign, item)
            case Failure():
                return self._fail(campaign, item)
            case Renewal():
                return self.renew(item.lease, begun=item.begun)

    def _commit(self, campaign: CampaignTables, item: Commit) -> Reply:
        row, now = campaign.current(item.lease), self._now()
        leased = campaign.spans.of_block(row.owner) if row is not None else []
        known = [output.key for output in item.outputs if text.name(output.key) in self._keys]
        outcomes, left = judge(leased, item.outputs, known=known)
        for outcome, cause in ((Outcome.ACCEPTED, UsageCause.USEFUL), (Outcome.FENCED, UsageCause.FENCED)):
            chosen = [o for o, became in zip(item.outputs, outcomes, strict=True) if became is outcome]
            _account(campaign, cause, chosen, now)
        won = [o for o, became in zip(item.outputs, outcomes, strict=True) if became is Outcome.ACCEPTED]
        if won:
            done = [self._keep_output(campaign, item, output) for output in won]
            campaign.spans.replace(Verb.COMMIT, old=leased, new=[*left, *done])
            for suspect in cleared(leased, won):
                note_success(campaign, item.lease, suspect, now)
        if row is None:
            return Reply(tuple(outcomes), Directive.STOP)
        if not left:
            drop_block(campaign, row.owner)
        elif item.begun is not None and item.begun > row.begun:
            campaign.blocks[row.id] = replace(row, begun=item.begun)
        return Reply(tuple(outcomes), DIRECTIVES[campaign.row.desired_state], stop=row.stop)

    def _keep_output(self, campaign: CampaignTables, item: Commit, output: RangeOutput) -> Span:
        number, place, key = next(self._output_numbers), output.range, text.name(output.key)
        campaign.outputs[number] = OutputRow(
            number, item.lease.input_id, replace(output, key=key), item.lease.attempt, item.lease.holder
        )
        self._keys[key] = campaign.row.id
        return Span(
            item.lease.input_id,
            place.start,
            place.stop,
            State.COMMITTED,
            output_id=number,
            payload=text.name(item.payload),
        )

    def _fail(self, campaign: CampaignTables, item: Failure) -> Reply:
        lease, failed, report, now = item.lease, item.failed, item.report, self._now()
        row = campaign.current(lease)
        if item.report_id is not None and campaign.reports.get(item.report_id) == lease.attempt:
            reply = self.ask(lease)
            return Reply((Outcome.ACCEPTED,), reply.directive, reply.stop)
        leased = campaign.spans.of_block(row.owner) if row is not None else []
        covering = next((s for s in leased if s.range.covers(failed)), None)
        if row is None or covering is None:
            return FENCED
        pieces = isolate(covering, failed)
        mine = next(piece for piece in pieces if piece.range == failed)
        rest = [piece for piece in pieces if piece is not mine]
        other = other_claim(campaign, row)
        if other is not None:
            verdict: tuple[Span, ...] = (failed_once_more(mine, holder=lease.holder),)
            campaign.spans.replace(Verb.FAIL, old=[covering], new=[*rest, *verdict])
            hand_over(campaign, row, other)
        else:
            verdict = after_failure(mine, report, limits=limits_of(campaign.row), holder=lease.holder)
            campaign.spans.replace_and_coalesce(Verb.FAIL, old=[covering], new=[*rest, *verdict])
        given_up = any(span.state is State.ABANDONED for span in verdict)
        campaign.write_journal(
            now,
            kind=JournalKind.ABANDONED if given_up else JournalKind.FAILURE,
            reason=f"{report.kind}: {report.summary}",
            detail=report.detail,
            input_id=lease.input_id,
            start=failed.start,
            stop=failed.stop,
            attempt=lease.attempt,
            holder=lease.holder,
            cpu_seconds=report.cpu_seconds,
        )
        if item.report_id is not None:
            campaign.reports[item.report_id] = lease.attempt
        campaign.add_usage(UsageCause.FAILURE, at=now, events=len(failed), cpu_seconds=report.cpu_seconds)
        if other is not None:
            return Reply((Outcome.ACCEPTED,), Directive.STOP)
        if not campaign.spans.of_block(row.owner):
            drop_block(campaign, row.id)
        return Reply((Outcome.ACCEPTED,), DIRECTIVES[campaign.row.desired_state], stop=row.stop)

    def setup_failed(self, lease: Lease, report: FailureReport) -> Reply:
        """LEASED -> READY: the payload could not be set up; no event is charged. The journal has the reason."""
        with self._lock:
            campaign, now = self._tables(lease.campaign_id), self._now()
            if campaign.current(lease) is None:
                return FENCED
            dissolve_blocks(campaign, [lease.block_id])
            campaign.write_journal(
                now,
                kind=JournalKind.SETUP,
                reason=report.summary,
                detail=report.detail,
                input_id=lease.input_id,
                attempt=lease.attempt,
                holder=lease.holder,
                cpu_seconds=report.cpu_seconds,
            )
            note_not_set_up(campaign, lease, now)
            campaign.add_usage(UsageCause.SETUP_FAILED, at=now, events=0, cpu_seconds=report.cpu_seconds)
            return Reply((Outcome.ACCEPTED,), Directive.STOP)

    def account_setup(self, campaign_id: int, cpu_seconds: float) -> None:
        """Record the CPU time of setting up a payload."""
        with self._lock:
            campaign = self._tables(campaign_id)
            campaign.add_usage(UsageCause.SETUP, at=self._now(), events=0, cpu_seconds=cpu_seconds)


def _account(campaign: CampaignTables, cause: UsageCause, outputs: Sequence[RangeOutput], now: datetime) -> None:
    if outputs:
        campaign.add_usage(
            cause,
            at=now,
            events=sum(len(o.range) for o in outputs),
            cpu_seconds=sum(o.cpu_seconds for o in outputs),
            wall_seconds=sum(o.wall_seconds for o in outputs),
            overhead_seconds=sum(o.overhead_seconds for o in outputs),
            occurrences=len(outputs),
        )
