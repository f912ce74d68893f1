"""The calls of pilots: sessions, acquire, report, uploads, outputs, payloads, inputs.

FastAPI reads the annotations of each route, also of names in this function: they are no texts here.
"""

import asyncio
import hashlib
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from eventmill.core.access_tokens import Role, Session, Token, in_both, pilot_name
from eventmill.core.leases import Claim, Lease
from eventmill.core.ranges import EventRange, Input
from eventmill.core.version import VERSION
from eventmill.errors import LedgerError, StoreError
from eventmill.ledger import Ledger
from eventmill.messages import convert, v1
from eventmill.rules.brokering import UNASKED, seconds_left
from eventmill.service import byte_ranges, reports
from eventmill.service.addresses import local_file
from eventmill.service.campaigns import Campaigns, Fitting, Known, refusal_to
from eventmill.service.claims import to_message
from eventmill.service.guard import Guard
from eventmill.service.limits import Rate, told_length
from eventmill.service.offers import Waiting
from eventmill.service.problems import Conflict, NotFound, TooLarge, Unprocessable
from eventmill.service.uploads import MOST_BYTES, output_key, upload_kind, where_to_put, why_not_whole

SEEN_SECONDS = 5.0
"""How often it is written down that a pilot lives."""

SEE_AGAIN_SECONDS = 1.0
"""Who lives is written down this often at most; who called in between is with the next who calls later."""

TAKES_AT_ONCE = 4
"""Calls for blocks that look at the ledger at a time. Hundreds come at once when there is work: all would wait for
the one that writes, in the threads in which reports are answered, and before the coordinator that offers more."""

RETRY_SECONDS = 1.0
"""When a pilot that got no block asks again."""

Digest = Annotated[str, Path(pattern=r"^[0-9A-Za-z_-]{1,128}$")]
Number = Annotated[int, Path(ge=1, le=2**62)]
LeaseInPath = Annotated[str, Path(pattern=v1.LEASE, alias="lease")]
RangeInPath = Annotated[str, Path(pattern=r"^[0-9]{1,18}-[0-9]{1,18}$", alias="piece")]


class Pilots:
    """What the calls of pilots share."""

    def __init__(
        self, ledger: Ledger, campaigns: Campaigns, guard: Guard, *, uploads: FilePath | None = None
    ) -> None:
        self.uploads = uploads
        self.ledger, self.campaigns, self.guard = ledger, campaigns, guard
        self.rate = Rate()
        self.looks = ThreadPoolExecutor(reports.LOOKS_AT_ONCE, thread_name_prefix="store")
        self.takes = asyncio.Semaphore(TAKES_AT_ONCE)
        self.waiting = Waiting(self._count_offers)
        self._seeing = threading.Lock()
        self._seen: dict[str, float] = {}
        self._to_see: set[str] = set()
        self._saw_at = float("-inf")

    def see(self, session: Session) -> None:
        """Write down that the pilot lives, now and then, and of all who called meanwhile at once."""
        now = time.monotonic()
        with self._seeing:
            if now - self._seen.get(session.id, -SEEN_SECONDS) >= SEEN_SECONDS:
                if len(self._seen) > 100_000:
                    self._seen.clear()
                self._seen[session.id] = now
                self._to_see.add(session.id)
            if not self._to_see or now - self._saw_at < SEE_AGAIN_SECONDS:
                return
            seen, self._to_see, self._saw_at = self._to_see, set[str](), now
        self.ledger.see_sessions(seen)

    def told(self, session: Session, asked: v1.AcquireRequest) -> Session:
        """The session with what its pilot says by now of software; the ledger keeps that."""
        told = asked.environments
        if told is None or told == session.offers.get("environments"):
            return session
        offers = {**session.offers, "environments": told}
        self.ledger.note_offers(session.id, offers)
        return replace(session, offers=offers)

    def take(self, session: Session, token: Token, asked: v1.AcquireRequest, *, waited: float) -> v1.AcquireReply:
        """Blocks for this pilot, as many as there are and fit it, up to so many; and why it gets no others.

        A call may have been held for long, so who asks is looked at again: before, and with blocks in hand.
        """
        self._check(session, token)
        left = None if asked.seconds_left is None else asked.seconds_left - waited
        if left is None and session.offers.get("seconds_left") is not None:
            left = seconds_left(session, now=self.ledger.time())
        fitting = self.campaigns.fitting(session, token, left=left)
        worker, claims = pilot_name(session.name, session.id), list[v1.Claim]()
        for number in range(asked.blocks if fitting.ids else 0):
            claim = self.ledger.acquire(
                fitting.ids,
                holder=worker,
                nonce=f"{asked.nonce}-{number}",
                most_events=fitting.most_events,
            )
            if claim is None:
                break
            claims.append(self._told(claim))
        if claims:
            self._check(session, token)
        return v1.AcquireReply(
            claims=claims,
            retry_in_seconds=0.0 if claims else RETRY_SECONDS,
            environments=list(map(convert.environment_to, fitting.environments)),
            refusals=[
                *self._refusals(fitting, asked, got_some=bool(claims)),
                *([] if claims else self._idle_refusals(fitting, session, token)),
            ],
        )

    def _refusals(self, fitting: Fitting, asked: v1.AcquireRequest, *, got_some: bool) -> list[v1.Refusal]:
        """Why it gets nothing of some campaigns; that it has too little time is told if it gets nothing at all."""
        names, found = {row.id: row.name for row in self.campaigns.rows()}, list[v1.Refusal]()
        for number, refusal in fitting.refused.items():
            if refusal.kind == UNASKED and asked.environments is not None:
                continue  # it is asked
            if number in fitting.most_events and (got_some or not self._is_too_long(number, fitting)):
                continue
            if number in names:
                found.append(refusal_to(names[number], refusal))
        return found

    def _idle_refusals(self, fitting: Fitting, session: Session, token: Token) -> list[v1.Refusal]:
        """Why a pilot that fits gets nothing all the same."""
        names, found = {row.id: row.name for row in self.campaigns.rows()}, self.campaigns.unknown(session, token)
        for number in fitting.ids:
            if number in names and (refusal := self.campaigns.why_quarantined(number, session)) is not None:
                found.append(refusal_to(names[number], refusal))
        return found

    def _is_too_long(self, campaign_id: int, fitting: Fitting) -> bool:
        """Whether a campaign has blocks for pilots, and all of them are longer than this pilot has time for."""
        blocks = self.ledger.block_ranges(self.ledger.offered(campaign_id)).values()
        return bool(blocks) and min(map(len, blocks)) > fitting.most_events[campaign_id]

    def _check(self, session: Session, token: Token) -> None:
        """Raise `Conflict` if the session has ended, `Unauthorized` if its token is not accepted any more."""
        now = self.ledger.session(session.id)
        if now is None or now.ended_at is not None:
            reason = "it was removed" if now is None else now.end_reason
            self.ledger.end_session(session.id, reason=str(reason))  # it may just have got a block
            raise Conflict(f"session {session.id} has ended: {reason}. Begin another one.")
        self.guard.check_again(token)

    def _told(self, claim: Claim) -> v1.Claim:
        known = self.campaigns.known(claim.lease.campaign_id)
        if known is None:
            raise LedgerError(f"campaign number {claim.lease.campaign_id} was removed.")
        try:
            return to_message(claim, known)
        except BaseException:  # for example, its order has something that no message can hold
            self.ledger.release(claim.lease)
            raise

    def _count_offers(self) -> dict[str, int]:
        rows = (row for row in self.campaigns.rows() if row.closed_at is None)
        return {row.name: len(self.ledger.offered(row.id)) for row in rows}


def _may_have(session: Session, token: Token, reply: v1.AcquireReply, name: str) -> bool:
    """Whether a pilot that was answered so may have blocks of this campaign when there are some."""
    refused = any(each.campaign == name for each in reply.refusals)
    return not refused and token.is_for(name) and session.works_for(name)


def work_router(pilots: Pilots) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1", tags=["pilots"])
    guard, ledger, campaigns = pilots.guard, pilots.ledger, pilots.campaigns
    is_pilot, its_session, known_session = guard.may(Role.PILOT), guard.session(), guard.known_session()

    async def counted(token: Annotated[Token, Depends(is_pilot)]) -> Token:
        pilots.rate.count(token.id)
        return token

    Caller = Annotated[Token, Depends(counted)]
    Its = Annotated[Session, Depends(its_session)]
    ItsAsKnown = Annotated[Session, Depends(known_session)]
    ItsOrOurs = Annotated[Session, Depends(guard.session_to_end())]

    @router.post("/sessions", status_code=201)
    def begin_session(asked: v1.SessionRequest, token: Caller) -> v1.SessionReply:
        """Begin a session: a pilot with so many slots. Repeated with the same nonce, it is the same one."""
        session_id = hashlib.sha256(f"{token.id}/{asked.nonce}".encode()).hexdigest()[:16]
        session = ledger.begin_session(
            session_id,
            token_id=token.id,
            name=asked.name,
            slots=asked.slots,
            offers=asked.offers.model_dump(),
            campaigns=in_both(token.campaigns, asked.campaigns),
        )
        return v1.SessionReply(
            session=session.id,
            worker=pilot_name(session.name, session.id),
            version=VERSION,
            wait_seconds=v1.LONGEST_WAIT_SECONDS,
        )

    @router.delete("/sessions/{session}")
    def end_session(session: ItsOrOurs, token: Caller) -> v1.EndReply:
        """End a session. Blocks that it still has go to others at once; nothing is charged.

        An operator may end any session of the campaigns of its token.
        """
        ends_itself = session.token_id == token.id
        reason = "the pilot ended" if ends_itself else f"an operator ended it, with token {token.id}"
        return v1.EndReply(released=ledger.end_session(session.id, reason=reason))

    @router.post("/sessions/{session}/acquire")
    async def acquire(asked: v1.AcquireRequest, session: Its, token: Caller) -> v1.AcquireReply:
        """Ask for blocks; the call is held until there is one, for `wait_seconds` at most.

        Repeated with the same nonce, it is answered with the same blocks.
        """
        begun = time.monotonic()
        async with pilots.takes:
            await run_in_threadpool(pilots.see, session)
            told = await run_in_threadpool(pilots.told, session, asked)
        while True:
            waited = time.monotonic() - begun
            async with pilots.takes:
                reply = await run_in_threadpool(partial(pilots.take, told, token, asked, waited=waited))
            left = asked.wait_seconds - (time.monotonic() - begun)
            if reply.claims or _is_asked(asked, reply) or left <= 0 or pilots.waiting.ends:
                return reply
            await pilots.waiting.wait(left, may_have=partial(_may_have, session, token, reply))

    @router.post("/sessions/{session}/report")
    def report(asked: v1.ReportRequest, session: ItsAsKnown, token: Caller) -> v1.ReportReply:
        """Tell what happened in all slots: outputs, failures, renewals, released blocks. Each may be repeated."""
        pilots.see(session)
        return v1.ReportReply(replies=reports.answer(campaigns, session, token, asked.items, looks=pilots.looks))

    @router.post("/sessions/{session}/uploads")
    def upload(asked: v1.UploadRequest, session: ItsAsKnown, token: Caller) -> v1.UploadReply:
        """Ask where to put an output: at an address for exactly these bytes, under a key of its own."""
        known, lease, item = _current(session, token, asked.lease, convert.range_from(asked.range))
        return where_to_put(known, session.id, lease, item, asked)

    @router.put("/sessions/{session}/outputs/{lease}/{piece}", status_code=201)
    async def put_output(
        lease: LeaseInPath,
        piece: RangeInPath,
        session: ItsAsKnown,
        token: Caller,
        request: Request,
        sha256: Annotated[str, Query(pattern=r"^[0-9a-f]{64}$", description="Of the bytes that follow, in hex.")],
    ) -> v1.StoredReply:
        """Store an output through the service. Repeated with the same bytes, it is the same object."""
        start, stop = map(int, piece.split("-"))
        if start >= stop:
            raise Unprocessable(f"[{start}, {stop}) holds no event.")
        events = EventRange(start, stop)
        known, current, item = await run_in_threadpool(_current, session, token, lease, events)
        if upload_kind(known) is not v1.UploadKind.PROXIED:
            raise Conflict(f"outputs of '{known.row.name}' are uploaded to the store: POST …/uploads says where.")
        key = output_key(known, current, item, events, sha256)
        with tempfile.TemporaryDirectory(prefix="upload-", dir=pilots.uploads) as folder:
            path = FilePath(folder) / "output"
            size = await _received(request, path, sha256)
            await run_in_threadpool(_store, known, key, path, size)
        return v1.StoredReply(key=key, bytes=size, sha256=sha256)

    @router.get("/payloads/{digest}")
    def payload(digest: Digest, token: Caller) -> v1.PayloadReply:
        """The code of a payload or reader, of a campaign of this token."""
        mine = (row for row in campaigns.rows() if token.is_for(row.name))
        if not any(digest in (row.payload, row.reader) for row in mine):
            raise NotFound(f"there is no payload code {digest} in a campaign of this token.")
        return convert.code_to(ledger.code(digest))

    @router.get("/inputs/{campaign}/{input}")
    def read_input(
        campaign: Number,
        input: Number,
        token: Caller,
        range: Annotated[str | None, Header(max_length=200)] = None,
        if_match: Annotated[str | None, Header(max_length=200)] = None,
    ) -> Response:
        """Bytes of an input that lies in a folder of the service: one range of a request (RFC 9110, 14.1.2)."""
        known = campaigns.known(campaign)
        item = campaigns.input(campaign, input) if known is not None and token.is_for(known.row.name) else None
        path = None if item is None else local_file(item, campaigns.folder)
        if item is None or path is None:
            raise NotFound(f"there is no input {input} of a campaign {campaign} that the service serves.")
        return byte_ranges.answer(item, path, asked=range, if_match=if_match)

    def _current(session: Session, token: Token, lease: str, piece: EventRange) -> tuple[Known, Lease, Input]:
        """A lease of this session that lasts, if this range may have an output under it."""
        leases = reports.Leases(campaigns, session, token, [lease])
        found = leases.of(lease)
        block = None if found is None else ledger.block_ranges([found[0].block_id]).get(found[0].block_id)
        if found is None or lease in leases.ended or block is None or piece.start >= block.stop:
            raise Conflict(f"the lease {lease} is not current any more: drop the block, and acquire another one.")
        if piece.start < block.start:
            raise Unprocessable(f"no output is taken: {piece} lies outside the block {block}.")
        if piece.stop > block.stop:  # perhaps it ended there, before its last part was given to others
            raise Conflict(f"the block ends at {block.stop:,} now: drop it, and acquire another one.")
        if (why := why_not_whole(found[1], found[2], piece)) is not None:
            raise Unprocessable(f"no output is taken: {why}.")
        return found[1], found[0], found[2]

    return router


def _is_asked(asked: v1.AcquireRequest, reply: v1.AcquireReply) -> bool:
    """Whether the pilot looks for software now, and will ask again; others ignore what they do not know."""
    known = asked.environments
    return bool(reply.environments) and known is not None and len(known) < v1.MOST_ENVIRONMENTS


async def _received(request: Request, path: FilePath, sha256: str) -> int:
    """The body of a request in a file; its size. Refused if it is too large, or not what was told."""
    told = told_length(request.headers.get("content-length", "0"))
    if told is None or told > MOST_BYTES:
        raise TooLarge(f"an output is too large: at most {MOST_BYTES:,} bytes are taken.")
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("wb") as file:
            async for piece in request.stream():
                size += len(piece)
                if size > MOST_BYTES:
                    raise TooLarge(f"an output is too large: at most {MOST_BYTES:,} bytes are taken.")
                digest.update(piece)
                await run_in_threadpool(file.write, piece)
    except ClientDisconnect:
        raise Unprocessable(f"the call ended after {size:,} bytes; nothing was stored. Send them again.") from None
    except OSError as error:
        raise StoreError(f"an output cannot be received into {path.parent}: {error}") from None
    if digest.hexdigest() != sha256:
        raise Unprocessable(
            f"the {size:,} bytes that came have the SHA-256 {digest.hexdigest()}, and {sha256} was told; "
            "nothing was stored. Send them again."
        )
    return size


def _store(known: Known, key: str, path: FilePath, size: int) -> None:
    """Store it, unless the same call did so before."""
    store = known.handle.store
    if store.size(key) == size:  # the key has the SHA-256 of the content
        return
    try:
        store.put(key, path)
    except StoreError:
        if store.size(key) != size:  # else: another call with the same content was faster
            raise
