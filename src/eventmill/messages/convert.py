"""What messages mean inside: leases, claims, outputs and replies, in both directions."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter

from eventmill.core.environment import Environment
from eventmill.core.leases import Block, Claim, Directive, FailureKind, FailureReport, Lease, Outcome, Reply
from eventmill.core.outputs import RangeOutput
from eventmill.core.ranges import EventRange, Input
from eventmill.core.work_order import PayloadCode, WorkOrder
from eventmill.errors import LedgerError
from eventmill.messages import v1


@lru_cache(maxsize=1)
def _orders() -> TypeAdapter[WorkOrder]:
    return TypeAdapter(WorkOrder)


def order_to_text(order: WorkOrder, item: Input) -> str:
    """What Eventmill's own pilot needs to work on this input, as JSON text; NaN and infinity are kept.

    Raises `TypeError` for a parameter that JSON does not have.
    """
    data = {
        "order": _orders().dump_python(order),
        "input": {"label": item.label, "parameters": item.parameters, "index": item.index},
    }
    return json.dumps(data)


def order_from_text(order: str) -> tuple[WorkOrder, dict[str, Any]]:
    """A work order, and what the ledger knows of its input besides; raises `ValueError` if it is none."""
    data = json.loads(order)
    return _orders().validate_python(data["order"]), dict(data["input"])


def lease_name(lease: Lease) -> str:
    """The name of a lease in messages."""
    return f"{lease.campaign_id}.{lease.block_id}.{lease.input_id}.{lease.attempt}"


def lease_of(name: str, *, holder: str) -> Lease:
    """The lease with this name. When it ends is not in it: only the ledger knows that."""
    found = v1.LEASE_PARTS.fullmatch(name)
    if found is None:
        raise LedgerError(f"'{name}' is not the name of a lease.")
    campaign, block, item, attempt = map(int, found.groups())
    return Lease(campaign, block, item, attempt, holder, datetime.max.replace(tzinfo=UTC))


def range_to(piece: EventRange) -> v1.Range:
    """A range of events."""
    return v1.Range(start=piece.start, stop=piece.stop)


def range_from(piece: v1.Range) -> EventRange:
    """A range of events."""
    return EventRange(piece.start, piece.stop)


def output_to(output: RangeOutput) -> v1.Output:
    """One stored output."""
    return v1.Output(
        range=range_to(output.range),
        key=output.key,
        bytes=output.bytes,
        sha256=output.sha256,
        rows=output.rows,
        cpu_seconds=output.cpu_seconds,
        wall_seconds=output.wall_seconds,
        overhead_seconds=output.overhead_seconds,
    )


def output_from(output: v1.Output) -> RangeOutput:
    """One stored output."""
    return RangeOutput(
        range=range_from(output.range),
        key=output.key,
        bytes=output.bytes,
        sha256=output.sha256,
        rows=output.rows,
        cpu_seconds=output.cpu_seconds,
        wall_seconds=output.wall_seconds,
        overhead_seconds=output.overhead_seconds,
    )


def failure_to(failure: FailureReport) -> v1.Failure:
    """Why something failed."""
    return v1.Failure(
        kind=failure.kind.value,
        summary=failure.summary[:10_000],
        traceback=failure.traceback[-100_000:],
        printed=failure.printed[-100_000:],
        cpu_seconds=failure.cpu_seconds,
        signal=failure.signal,
    )


def failure_from(failure: v1.Failure) -> FailureReport:
    """Why something failed."""
    return FailureReport(
        FailureKind(failure.kind),
        failure.summary,
        failure.traceback,
        failure.printed,
        failure.cpu_seconds,
        failure.signal,
    )


def reply_to(reply: Reply) -> v1.ItemReply:
    """What became of an item."""
    return v1.ItemReply(
        outcomes=[v1.Outcome(outcome.value) for outcome in reply.outcomes],
        directive=v1.Directive(reply.directive.value),
        stop=reply.stop,
    )


def reply_from(reply: v1.ItemReply) -> Reply:
    """What became of an item; what is unproven is told apart by the caller."""
    outcomes = tuple(Outcome(outcome.value) for outcome in reply.outcomes if outcome is not v1.Outcome.UNPROVEN)
    return Reply(outcomes, Directive(reply.directive.value), reply.stop)


def claim_from(claim: v1.Claim, *, holder: str, known: dict[str, Any]) -> Claim:
    """A claim as `work/` knows it; `known` is what `order_from_text` says of its input."""
    lease, item = lease_of(claim.lease, holder=holder), claim.input
    return Claim(
        lease=lease,
        lease_length=timedelta(seconds=claim.lease_seconds),
        input=Input(
            id=lease.input_id,
            ordinal=item.ordinal,
            url=item.name,
            events=item.events,
            first=item.first,
            identity=item.identity,
            boundaries=tuple(item.boundaries),
            **known,
        ),
        block=Block(
            lease.block_id,
            lease.input_id,
            item.ordinal,
            claim.block.start,
            claim.block.stop,
            claim.range_events,
            claim.aligned,
        ),
        missing=tuple(map(range_from, claim.missing)),
        schema=bytes_from(claim.schema_),
    )


def code_to(code: PayloadCode) -> v1.PayloadReply:
    """The code of a payload."""
    return v1.PayloadReply(
        digest=code.digest, callable=code.callable, entry=code.entry, bundle=bytes_to(code.bundle)
    )


def code_from(code: v1.PayloadReply) -> PayloadCode:
    """The code of a payload."""
    return PayloadCode(code.callable, code.entry, code.digest, bytes_from(code.bundle))


def environment_to(environment: Environment) -> v1.Environment:
    """Software that a campaign asks for."""
    return v1.Environment(
        digest=environment.digest,
        packages=list(environment.packages),
        path=environment.path,
        image=environment.image,
    )


def environment_from(environment: v1.Environment) -> Environment:
    """Software that a campaign asks for. The service's digest is its name, also if it is made in another way."""
    return Environment(tuple(environment.packages), environment.path, environment.image)


def bytes_to(data: bytes | None) -> str | None:
    """Base64."""
    return None if data is None else base64.b64encode(data).decode()


def bytes_from(text: str | None) -> bytes | None:
    """From base64; raises `ValueError` for what is none."""
    if text is None:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from None
