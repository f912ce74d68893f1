"""An event service as the ledger of the blocks that a pilot holds."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Literal

from eventmill.core.leases import Claim, FailureReport, Lease, Outcome, Reply
from eventmill.core.outputs import RangeOutput
from eventmill.core.ranges import EventRange
from eventmill.core.work_order import PayloadCode
from eventmill.core.worker_report import Commit, Failure, ReportItem
from eventmill.errors import EventmillError, InputError, LedgerError, StoreError
from eventmill.messages import convert, v1
from eventmill.service_client.connection import Connection
from eventmill.service_client.reporter import Reporter

logger = logging.getLogger(__name__)

INSTALL = (
    " What the payload imports must be installed here; with 'payload.environment' only those who have it get work."
)

MOST_TROUBLE = 2_000
"""Characters of what is told of an error."""


class ServiceLedger:
    """The verbs of `BlockLedger`. Blocks are claimed by `acquire` of the session, and kept here until begun."""

    def __init__(self, connection: Connection, session_id: str, reporter: Reporter) -> None:
        self._connection = connection
        self._session_id = session_id
        self._reporter = reporter
        self._lock = threading.Lock()
        self._claims: dict[int, Claim] = {}
        self._leases: dict[int, Lease] = {}  # by campaign, the last that was claimed
        self._told: set[str] = set()

    @property
    def address(self) -> str:
        """The address of the service."""
        return self._connection.url

    def keep(self, claim: Claim) -> None:
        """A claim that this pilot got, and will begin."""
        with self._lock:
            self._claims[claim.lease.block_id] = claim
            self._leases[claim.lease.campaign_id] = claim.lease

    def waiting(self) -> tuple[Claim, ...]:
        """Claims that are not begun."""
        with self._lock:
            return tuple(self._claims.values())

    def claim(self, block_id: int, *, holder: str, nonce: str) -> Claim | None:
        """The claim that was acquired, once."""
        with self._lock:
            return self._claims.pop(block_id, None)

    def renew(self, lease: Lease, *, begun: int | None = None) -> Reply:
        """Move the deadline of a lease."""
        return self._send(v1.RenewItem(type="renew", lease=convert.lease_name(lease), begun=begun))

    def ask(self, lease: Lease) -> Reply:
        """The reply that `renew` would give."""
        return self._send(v1.AskItem(type="ask", lease=convert.lease_name(lease)))

    def commit(
        self, lease: Lease, outputs: Sequence[RangeOutput], *, payload: str, begun: int | None = None
    ) -> Reply:
        """Record outputs; `StoreError` if the service does not find one of them in the store."""
        item = v1.CommitItem(
            type="commit",
            lease=convert.lease_name(lease),
            outputs=[convert.output_to(output) for output in outputs],
            payload=payload,
            begun=begun,
        )
        reply = self._reporter.send(item)
        if v1.Outcome.UNPROVEN in reply.outcomes:
            raise StoreError(f"the event service did not find an output in the store: {reply.reason}")
        return convert.reply_from(reply)

    def fail(self, lease: Lease, failed: EventRange, report: FailureReport, *, report_id: str) -> Reply:
        """Charge a failure to a range."""
        self._tell_new(report)
        return self._send(
            v1.FailItem(
                type="fail",
                lease=convert.lease_name(lease),
                range=convert.range_to(failed),
                failure=convert.failure_to(report),
                report_id=report_id,
            )
        )

    def _tell_new(self, failure: FailureReport) -> None:
        """Tell each kind of error once: whoever looks after a pilot sees this log only, and events are charged.

        Its kind alone: what the payload or a library said may contain a parameter.
        """
        name = failure.summary.partition(":")[0]
        kind = name if name.isidentifier() else str(failure.kind)
        with self._lock:
            is_new = kind not in self._told
            self._told.add(kind)
        if is_new:
            advice = INSTALL if kind in ("ModuleNotFoundError", "ImportError") else ""
            logger.warning("a range failed on this pilot: %s. 'eventmill status' has more.%s", kind, advice)

    def report(self, items: Sequence[ReportItem]) -> tuple[Reply, ...]:
        """Each item by itself; what comes at once travels in one message anyway."""
        return tuple(self._one(item) for item in items)

    def _one(self, item: ReportItem) -> Reply:
        match item:
            case Commit():
                return self.commit(item.lease, item.outputs, payload=item.payload, begun=item.begun)
            case Failure():
                if item.report_id is None:
                    raise LedgerError("a failure without 'report_id' cannot be reported to an event service.")
                return self.fail(item.lease, item.failed, item.report, report_id=item.report_id)
            case _:
                return self.renew(item.lease, begun=item.begun)

    def setup_failed(self, lease: Lease, report: FailureReport) -> Reply:
        """Release the whole block, because the payload could not be set up."""
        return self._send(
            v1.SetupFailedItem(
                type="setup_failed", lease=convert.lease_name(lease), failure=convert.failure_to(report)
            )
        )

    def account_setup(self, campaign_id: int, cpu_seconds: float) -> None:
        """Record the CPU time of a set-up."""
        lease = self._leases[campaign_id]
        self._send(v1.SetupItem(type="setup", lease=convert.lease_name(lease), cpu_seconds=cpu_seconds))

    def release(self, lease: Lease, *, drained: str | None = None) -> Outcome:
        """Release what is left of a block."""
        item = v1.ReleaseItem(type="release", lease=convert.lease_name(lease), drained=drained)
        return self._send(item).outcomes[0]

    def release_unclaimed(self, block_id: int) -> bool:
        """Release a claim that was not begun."""
        claim = self.claim(block_id, holder="", nonce="")
        if claim is None:
            return False
        return self.release(claim.lease) is Outcome.ACCEPTED

    def tell_trouble(self, lease: Lease, error: EventmillError) -> None:
        """This pilot could not work on a block, and no event is at fault."""
        kinds: dict[type[EventmillError], Literal["input", "store"]] = {InputError: "input", StoreError: "store"}
        kind = next((kinds[known] for known in kinds if isinstance(error, known)), "other")
        self._send(
            v1.TroubleItem(
                type="trouble", lease=convert.lease_name(lease), kind=kind, summary=str(error)[:MOST_TROUBLE]
            )
        )

    def infer_schema(self, lease: Lease, schema_bytes: bytes) -> bytes | None:
        """Fix the schema of the campaign, or learn the one that is fixed; None if the lease is not current."""
        told = convert.bytes_to(schema_bytes)
        assert told is not None
        item = v1.SchemaItem(type="schema", lease=convert.lease_name(lease), schema_=told)
        return convert.bytes_from(self._reporter.send(item).schema_)

    def quarantined(self, campaign_id: int) -> frozenset[str]:
        """Nobody: the service gives no work to a quarantined pilot."""
        return frozenset()

    def code(self, digest: str) -> PayloadCode:
        """The payload code with this digest."""
        return convert.code_from(self._connection.ask("GET", f"/v1/payloads/{digest}", v1.PayloadReply))

    def _send(self, item: v1.Item) -> Reply:
        return convert.reply_from(self._reporter.send(item))
