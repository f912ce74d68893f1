"""Reports of pilots: whose lease it is, whether outputs are there, and what the ledger makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby

from eventmill.core.access_tokens import Session, Token, pilot_name
from eventmill.core.leases import Directive, Lease, Outcome, Reply
from eventmill.core.ranges import Input
from eventmill.core.worker_report import Commit, Failure, Renewal, ReportItem
from eventmill.formats.schemas import check_arrow_schema
from eventmill.messages import convert, v1
from eventmill.rules.block_spans import FENCED
from eventmill.service.campaigns import Campaigns, Known
from eventmill.service.problems import Forbidden, Unprocessable
from eventmill.service.uploads import why_not_whole, why_unproven

ARROW = ("parquet", "root")
"""Formats whose schema is that of Arrow tables."""

LOOKS_AT_ONCE = 16
"""Outputs that are looked for in the store side by side."""


class Leases:
    """The leases that a message names, as far as they are this session's."""

    def __init__(self, campaigns: Campaigns, session: Session, token: Token, names: Sequence[str]) -> None:
        """Raises `Forbidden` if one of them is current and another's; of that nothing is told."""
        self._campaigns = campaigns
        self._token = token
        self.worker = pilot_name(session.name, session.id)
        self._named = {name: convert.lease_of(name, holder=self.worker) for name in set(names)}
        ledger, blocks = campaigns.ledger, {lease.block_id for lease in self._named.values()}
        newest, current = 0, ledger.leases(blocks)
        if any(lease.block_id not in current for lease in self._named.values()) or any(
            current[lease.block_id].attempt != lease.attempt for lease in self._named.values()
        ):  # what was drawn before this look, and is not there at the next one, has ended
            newest, current = ledger.newest_attempt(), ledger.leases(blocks)
        self.ended: set[str] = set()
        self._guessed: set[str] = set()
        for name, lease in self._named.items():
            now = current.get(lease.block_id)
            if now is None or now.attempt != lease.attempt:
                self.ended.add(name)
                if lease.attempt > newest:  # nobody's yet, and perhaps another's before this call has ended
                    self._guessed.add(name)
                continue
            if (now.holder, now.campaign_id, now.input_id) != (self.worker, lease.campaign_id, lease.input_id):
                raise Forbidden(f"the lease {name} is not one of this session.")

    def of(self, name: str) -> tuple[Lease, Known, Input] | None:
        """A lease, its campaign and its input; None if there is nothing more to say about it."""
        lease = self._named[name]
        if name in self._guessed:
            return None
        known = self._campaigns.known(lease.campaign_id)
        if known is None or not self._token.is_for(known.row.name):
            return None
        item = self._campaigns.input(lease.campaign_id, lease.input_id)
        return None if item is None else (lease, known, item)


def answer(
    campaigns: Campaigns, session: Session, token: Token, items: Sequence[v1.Item], *, looks: ThreadPoolExecutor
) -> list[v1.ItemReply]:
    """What became of each item, in their order."""
    leases = Leases(campaigns, session, token, [item.lease for item in items])
    proofs = _proofs(leases, items, looks)
    replies: list[v1.ItemReply] = []
    for is_report, group in groupby(items, key=lambda item: item.type in ("commit", "fail", "renew")):
        if is_report:
            replies += _report(campaigns, leases, list(group), proofs)
        else:
            replies += [_other(campaigns, leases, item) for item in group]
    return replies


def _proofs(leases: Leases, items: Sequence[v1.Item], looks: ThreadPoolExecutor) -> dict[int, str | None]:
    """Why the outputs of an item are unproven, by the item's identity in this call."""
    commits = [item for item in items if isinstance(item, v1.CommitItem)]

    def look(item: v1.CommitItem) -> str | None:
        found = leases.of(item.lease)
        if found is None:
            return None  # it will be fenced
        lease, known, of_input = found
        whys = (why_unproven(known, lease, of_input, convert.output_from(output)) for output in item.outputs)
        return next((why for why in whys if why is not None), None)

    return {id(item): why for item, why in zip(commits, looks.map(look, commits), strict=True)}


def _report(
    campaigns: Campaigns, leases: Leases, items: list[v1.Item], proofs: dict[int, str | None]
) -> list[v1.ItemReply]:
    """Commits, failures and renewals: one transaction for all of them."""
    told = [_as_report_item(leases, item) if proofs.get(id(item)) is None else None for item in items]
    sent = [item for item in told if item is not None]
    answers = iter(campaigns.ledger.report(sent) if sent else ())
    replies = []
    for item, one in zip(items, told, strict=True):
        if one is not None:
            replies.append(convert.reply_to(next(answers)))
        elif (why := proofs.get(id(item))) is not None and isinstance(item, v1.CommitItem):
            replies.append(_unproven(item, why))
        else:
            replies.append(convert.reply_to(FENCED))
    return replies


def _unproven(item: v1.CommitItem, why: str) -> v1.ItemReply:
    return v1.ItemReply(
        outcomes=[v1.Outcome.UNPROVEN] * len(item.outputs), directive=v1.Directive.CONTINUE, reason=why
    )


def _as_report_item(leases: Leases, item: v1.Item) -> ReportItem | None:
    found = leases.of(item.lease)
    if found is None:
        return None
    lease, known, of_input = found
    match item:
        case v1.CommitItem():
            outputs = tuple(map(convert.output_from, item.outputs))
            if len({output.key for output in outputs}) < len(outputs):
                raise Unprocessable("a commit names an output twice.")
            if item.payload != known.row.payload:
                raise Unprocessable(f"the code of campaign '{known.row.name}' is {known.row.payload} now.")
            return Commit(lease, outputs, item.payload, item.begun)
        case v1.FailItem():
            piece = convert.range_from(item.range)
            if (why := why_not_whole(known, of_input, piece)) is not None:
                raise Unprocessable(f"a failure cannot be reported: {why}.")
            return Failure(lease, piece, convert.failure_from(item.failure), item.report_id)
        case v1.RenewItem():
            return Renewal(lease, item.begun)
    raise AssertionError(item)


def _other(campaigns: Campaigns, leases: Leases, item: v1.Item) -> v1.ItemReply:
    found, ledger = leases.of(item.lease), campaigns.ledger
    if found is None:
        return convert.reply_to(FENCED)
    lease = found[0]
    match item:
        case v1.AskItem():
            return convert.reply_to(ledger.ask(lease))
        case v1.ReleaseItem():
            return convert.reply_to(Reply((ledger.release(lease, drained=item.drained),), Directive.STOP))
        case v1.SetupFailedItem():
            return convert.reply_to(ledger.setup_failed(lease, convert.failure_from(item.failure)))
        case v1.SetupItem():
            ledger.account_setup(lease.campaign_id, item.cpu_seconds)
            return convert.reply_to(Reply((Outcome.ACCEPTED,), Directive.CONTINUE))
        case v1.TroubleItem():
            ledger.note_trouble(lease, f"{item.kind}: {item.summary}")
            return convert.reply_to(Reply((Outcome.ACCEPTED,), Directive.STOP))
        case v1.SchemaItem():
            return _schema(campaigns, found[1], lease, item)
    raise AssertionError(item)


def _schema(campaigns: Campaigns, known: Known, lease: Lease, item: v1.SchemaItem) -> v1.ItemReply:
    try:
        told = convert.bytes_from(item.schema_)
        assert told is not None
        if known.handle.order.format.name in ARROW:
            check_arrow_schema(told)
    except ValueError as error:
        raise Unprocessable(f"'schema' is not the base64 of an Arrow IPC schema: {error}.") from None
    fixed = campaigns.ledger.infer_schema(lease, told)
    if fixed is None:
        return convert.reply_to(FENCED)
    reply = convert.reply_to(Reply((Outcome.ACCEPTED,), Directive.CONTINUE))
    return reply.model_copy(update={"schema_": convert.bytes_to(fixed)})
