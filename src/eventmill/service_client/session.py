"""The session of a pilot at an event service: it begins, acquires blocks, reports, ends."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Collection, Sequence
from dataclasses import replace
from http import HTTPStatus

from eventmill.core.leases import Claim
from eventmill.core.work_order import WorkOrder
from eventmill.errors import LedgerError
from eventmill.messages import convert, v1
from eventmill.service_client.connection import Connection, Refused, SessionEnded
from eventmill.service_client.environments import Environments
from eventmill.service_client.inputs import ServedInput
from eventmill.service_client.ledger import ServiceLedger
from eventmill.service_client.outputs import ServiceOutputs
from eventmill.service_client.reporter import Reporter
from eventmill.sources.served_inputs import serve_at, served

TRIES_PER_LEASE = 6
"""While the service does not answer, at least: after an outage a pilot must be back before its leases end."""

LAST_SECONDS = 10.0
"""How long to try to say goodbye."""


BEGIN_ANOTHER = "Begin another one."
"""What a service tells whoever uses an ended session; a pilot whose session was ended does not do so."""


class Work:
    """What a pilot got: a claim, and the order by which it is worked on."""

    def __init__(self, claim: Claim, order: WorkOrder) -> None:
        self.claim = claim
        self.order = order


class Session:
    """A session; use it in a `with` block. In this process, it is what stands at the address of the service."""

    def __init__(
        self,
        connection: Connection,
        *,
        name: str,
        slots: int,
        campaigns: Collection[str] | None = None,
        offers: v1.Offers | None = None,
    ) -> None:
        """Begin it. Raises `LedgerError` if the service does not answer or does not accept the token."""
        self.connection = connection
        request = v1.SessionRequest(
            name=name,
            slots=slots,
            campaigns=None if campaigns is None else sorted(campaigns),
            offers=offers or v1.Offers(),
            nonce=new_nonce(),
        )
        begun = connection.ask("POST", "/v1/sessions", v1.SessionReply, message=request)
        if begun.protocol != v1.PROTOCOL:
            raise LedgerError(
                f"{connection.url} speaks version {begun.protocol} of the messages, this pilot version "
                f"{v1.PROTOCOL}: install the pilot of Eventmill {begun.version}."
            )
        self.id, self.worker = begun.session, begun.worker
        self._path = f"/v1/sessions/{self.id}"
        self._reporter = Reporter(self._report)
        self.ledger = ServiceLedger(connection, self.id, self._reporter)
        self.outputs = ServiceOutputs(connection, self.id)
        self.leave: str | None = None
        self.refusals: tuple[v1.Refusal, ...] = ()
        self._asked: tuple[v1.Environment, ...] = ()
        self._environments = Environments()
        with _lock:
            _sessions[connection.url] = self

    def acquire(self, blocks: int, *, wait_seconds: float, seconds_left: float | None = None) -> list[Work]:
        """Up to so many blocks; none if there is no work that fits within this time (at most 25 s).

        They can be done in `seconds_left`, as far as is known. `refusals` then says of which campaigns there is
        nothing for this pilot. The service may first ask for software: if it did (`is_asked`), the next call tells
        what of it is here. Raises `SessionEnded` if the session has ended.
        """
        self._environments.look(self._asked)  # not before: with blocks in hand, a path that hangs costs a lease
        request = v1.AcquireRequest(
            blocks=blocks,
            wait_seconds=min(wait_seconds, v1.LONGEST_WAIT_SECONDS),
            nonce=new_nonce(),
            seconds_left=seconds_left,
            environments=self._environments.answers(),
        )
        try:
            reply = self.connection.ask("POST", f"{self._path}/acquire", v1.AcquireReply, message=request)
        except Refused as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            raise SessionEnded(
                error.detail.removesuffix(BEGIN_ANOTHER).rstrip(" ."), status=error.status
            ) from None
        self.leave = reply.leave or self.leave
        self.refusals, self._asked = tuple(reply.refusals), tuple(reply.environments)
        return [self._begun(claim) for claim in reply.claims]

    @property
    def is_asked(self) -> bool:
        """Whether the service asked for software with its last answer."""
        return bool(self._asked)

    def end(self, *, patience_seconds: float = LAST_SECONDS) -> None:
        """Report what waits, and end the session: what it still holds goes to others."""
        try:
            self._reporter.close()
            self.connection.ask("DELETE", self._path, v1.EndReply, patience_seconds=patience_seconds)
        finally:
            with _lock:
                if _sessions.get(self.connection.url) is self:
                    del _sessions[self.connection.url]

    def _report(self, items: Sequence[v1.Item]) -> v1.ReportReply:
        request = v1.ReportRequest(items=list(items))
        reply = self.connection.ask("POST", f"{self._path}/report", v1.ReportReply, message=request)
        self.leave = reply.leave or self.leave
        return reply

    def _begun(self, told: v1.Claim) -> Work:
        order, known = convert.order_from_text(told.order)
        claim = convert.claim_from(told, holder=self.worker, known=known)
        self.connection.come_back_within(claim.lease_length.total_seconds() / TRIES_PER_LEASE)
        url = self.connection.url
        source = order.source
        if source.reader is not None:
            source = replace(source, reader=replace(source.reader, ledger_url=url))
        self._place(told.input)
        self.ledger.keep(claim)
        return Work(claim, replace(order, ledger_url=url, source=source))

    def _place(self, item: v1.InputAddress) -> None:
        """Where the input is read: at its own address, or at that which the service gave."""
        if item.size is None:
            return
        known = served(item.name)
        if isinstance(known, ServedInput) and known.identity == item.identity:
            known.address = item.url
            return
        serve_at(
            item.name,
            ServedInput(item.name, self.connection, address=item.url, identity=item.identity, size=item.size),
        )


def new_nonce() -> str:
    """Random, for one call and its repetitions."""
    return secrets.token_hex(12)


def session_at(url: str) -> Session:
    """The session of this process at the service with this address; `LedgerError` if it has none."""
    with _lock:
        found = _sessions.get(url.rstrip("/"))
    if found is None:
        raise LedgerError(f"this process has no session at the event service {url}.")
    return found


_lock = threading.Lock()
_sessions: dict[str, Session] = {}
