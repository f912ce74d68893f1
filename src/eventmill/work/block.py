"""The loop of a worker over one claimed block: read ahead, compute, store and commit; obey the ledger.

While one range is computed, the next is read, and the previous one is stored and committed. So a death costs at
most two computed ranges, and three ranges are in memory.
"""

from __future__ import annotations

import logging
import secrets
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from eventmill.core.leases import (
    RENEWALS_PER_LEASE,
    BlockEnd,
    BlockReport,
    Claim,
    Directive,
    FailureKind,
    FailureReport,
    Outcome,
    Reply,
)
from eventmill.core.outputs import RangeOutput
from eventmill.core.ranges import EventRange
from eventmill.core.work_order import WorkOrder
from eventmill.errors import CampaignError, EventmillError, InputError, PayloadError, ScratchError
from eventmill.ledger import block_ledger
from eventmill.ledger.protocol import BlockLedger
from eventmill.payloads.calls import RangeCall, RangeResult
from eventmill.payloads.keeper import POLITE
from eventmill.payloads.pool import borrow, prepare
from eventmill.payloads.runner import WarmPayload
from eventmill.payloads.shown_places import as_written
from eventmill.rules import cutting
from eventmill.runtime import drain
from eventmill.runtime.daemon_executor import Reader
from eventmill.runtime.heartbeat import renewing
from eventmill.runtime.scratch import open_scratch
from eventmill.sources import how_changed, open_source
from eventmill.work import block_report
from eventmill.work.block_log import BlockLog
from eventmill.work.outputs import open_outputs
from eventmill.work.reading import OpenInput, ReadHere, open_by_reader, reader_process
from eventmill.work.user_code import payload_entry

logger = logging.getLogger(__name__)

LONG_SECONDS = 0.5
"""If ranges take this long, the worker first asks the ledger whether the next is still its own (a millisecond)."""

LOOK_SECONDS = 0.25
"""How often a worker that waits for events checks whether they are still needed."""

SENT = frozenset(map(int, (signal.SIGKILL, *POLITE)))
"""Signals that come from outside: the sender may have sent the same signal to the worker."""

WORD_SECONDS = 2.0
"""How long after such an end of a payload the worker may learn that it must leave, too."""

NOT_FOR_US = "nothing begun: its events are committed, with other task runs, or were refused to this worker"
"""Why there was no claim, as far as a worker can know: a range that failed on it goes to another one."""

QUARANTINE_SECONDS = 1.0
"""The pause of a worker that gets no work or cannot work, so that other workers take the next block."""


def run_block(order: WorkOrder, block_id: int, *, holder: str) -> BlockReport:
    """Claim a block and process what is still missing of it. Harmless when run twice, also at the same time.

    Raises `EventmillError` if the worker itself cannot work (store, ledger, an input that changed); before that,
    it releases what was not committed.
    """
    try:
        return _claim_and_run(order, block_id, holder=holder)
    except EventmillError:
        time.sleep(QUARANTINE_SECONDS)
        raise


def _claim_and_run(order: WorkOrder, block_id: int, *, holder: str) -> BlockReport:
    ledger, end = block_ledger(order.ledger_url), drain.here()
    if end.why is not None:
        ledger.release_unclaimed(block_id)
        return BlockReport(note=f"given back: {end.why}", end=BlockEnd.DRAINED)
    claim = ledger.claim(block_id, holder=holder, nonce=random_id())
    if claim is None:
        if holder in ledger.quarantined(order.campaign_id):
            logger.info("block %d is not begun: this worker is quarantined", block_id, extra={"worker": holder})
            time.sleep(QUARANTINE_SECONDS)
            return BlockReport(note="this worker is quarantined", end=BlockEnd.HANDED_ON)
        return BlockReport(note=NOT_FOR_US, end=BlockEnd.HANDED_ON)
    log = BlockLog(order.campaign, claim)
    log.claimed()
    with ExitStack() as stack:
        try:
            work = stack.enter_context(_prepared(order, claim, ledger))
        except (ScratchError, CampaignError, PayloadError) as error:  # a fault of this machine, not of an event
            failure = FailureReport(FailureKind.SETUP, str(error))
            ledger.setup_failed(claim.lease, failure)
            log.cannot_work(error)
            time.sleep(QUARANTINE_SECONDS)
            note = f"this worker cannot work: {error}"
            return replace(block_report.nothing_yet(claim), note=note, end=BlockEnd.SICK, failure=failure)
        except BaseException:
            ledger.release(claim.lease)
            raise
        try:
            with end.in_hand(work.end):
                return work.run()
        finally:
            ledger.release(claim.lease, drained=work.drained)  # what was not committed
            log.ended(work.report, drained=work.drained)


@contextmanager
def _prepared(order: WorkOrder, claim: Claim, ledger: BlockLedger) -> Iterator[_BlockWork]:
    with (
        borrow(**_payload_of(order)) as payload,
        reader_process(order.source) as reader,
        open_scratch() as scratch,
    ):
        yield _BlockWork(order, claim, ledger, payload, scratch, reader)


def warm_up(order: WorkOrder, *, slots: int) -> None:
    """Set up the payloads for the first blocks on this worker; returns when they are ready or failed.

    Errors are ignored, because the first block reports them.
    """
    with suppress(EventmillError):
        if drain.here().why is None:
            prepare(**_payload_of(order), number=slots)
            with reader_process(order.source) as reader:
                if reader is not None:
                    reader.start()


def _payload_of(order: WorkOrder) -> dict[str, Any]:
    return {
        "code": payload_entry(order.ledger_url, order.payload.digest),
        "parameters": order.payload.parameters,
        "columns": order.columns,
        "memory_bytes": order.memory_bytes,
        "setup_seconds": order.setup_seconds,
    }


@dataclass(frozen=True, slots=True)
class _Staged:
    """A range whose events are in scratch, or the failure of reading them."""

    range: EventRange
    path: Path
    failure: FailureReport | None


@dataclass(frozen=True, slots=True)
class _Reading:
    """A range that is being read into scratch."""

    range: EventRange
    staged: Future[_Staged]


@dataclass(frozen=True, slots=True)
class _Computed:
    """The result of a range: when it began, how long the payload took, and how long it had waited before."""

    result: RangeResult
    begun: float
    wall_seconds: float
    overhead_seconds: float


class _BlockWork:
    """One claim in work. Reader, storer and renewer have one thread each."""

    def __init__(
        self,
        order: WorkOrder,
        claim: Claim,
        ledger: BlockLedger,
        payload: WarmPayload,
        scratch: Path,
        reader: WarmPayload | None,
    ) -> None:
        self.order = order
        self.claim = claim
        self.ledger = ledger
        self.payload = payload
        self.reader = reader  # the process of the user's own reader
        self.scratch = scratch
        self.outputs = open_outputs(order)
        self.schema = claim.schema
        self.report = block_report.nothing_yet(claim)
        self.log = BlockLog(order.campaign, claim)
        self.directive = Directive.CONTINUE
        self.begun: int | None = None  # the end of the last range that was given to the payload
        self.stop = claim.block.stop  # the ledger may give the last part to others
        self._computed_at: float | None = None
        self._computed_seconds = 0.0
        self._directive_lock = threading.Lock()
        self._is_fenced = False
        self.drained: str | None = None

    def run(self) -> BlockReport:
        """Process the block, as far as the ledger allows."""
        lease_seconds = self.claim.lease_length.total_seconds()
        with renewing(self._renew, seconds=lease_seconds / RENEWALS_PER_LEASE):
            reader, storer = Reader(), ThreadPoolExecutor(1, thread_name_prefix="storer")
            try:
                # The input is opened, and its first range read, while the payload is set up.
                opening = reader.submit(lambda: self._open_source(expected=self.claim.input.identity))
                reads = self._reads(opening, reader)
                first = next(reads, None)
                if self._set_up():
                    self._work_through(first, reads, storer)
            finally:
                storer.shutdown(wait=True)
                reader.close()
                self._stop_reading()
        if self.report.end is not BlockEnd.SICK:
            end = block_report.end_of(
                self.report,
                self.claim,
                stop=self.stop,
                drained=self.drained,
                directive=self.directive,
                is_fenced=self._is_fenced,
            )
            self.report = replace(self.report, end=end, note=self.drained or "")
        return self.report

    def obey(self, reply: Reply) -> None:
        """Keep the strictest directive and the nearest end. STOP also cancels the running call of the payload."""
        with self._directive_lock:
            self._is_fenced |= Outcome.FENCED in reply.outcomes
            if reply.stop is not None:
                self.stop = min(self.stop, reply.stop)
            if self.directive is not Directive.STOP:
                self.directive = reply.directive if reply.directive is not Directive.CONTINUE else self.directive
        if reply.directive is Directive.STOP:
            self.payload.stop()
            self._stop_reading()

    def _stop_reading(self) -> None:
        """End a reader's process that is in the middle of something, because nobody waits for it any more."""
        if self.reader is not None and self.reader.busy:
            self.reader.stop()

    def end(self) -> None:
        """Cancel the running call, because this process must end. Computed ranges are still committed."""
        self.drained = drain.here().why
        self.obey(Reply((), Directive.STOP))

    def _renew(self, done: threading.Event) -> bool:
        reply = self.ledger.renew(self.claim.lease, begun=self.begun)
        if not done.is_set():
            self.obey(reply)
        return True

    def _ask(self) -> None:
        """Ask the ledger where the block now ends: the reply to the last commit may be old, or not here yet."""
        with suppress(EventmillError):  # the ledger does not answer: the next commit will show it
            self.obey(self.ledger.ask(self.claim.lease))

    def _begin_or_leave(self, piece: EventRange) -> bool:
        if drain.here().begin_or_leave(self.order.payload.digest, len(piece)):
            return True
        self.drained = drain.here().why
        return False

    def _is_stopped(self) -> bool:
        return self.directive is Directive.STOP

    def _set_up(self) -> bool:
        failure = self.payload.start() or (None if self.reader is None else self.reader.start())
        if failure is not None:
            if not self._is_stopped() and not self._ends_with_us(failure):
                self._note_setup_failed(failure)
            return False
        if seconds := self.payload.take_setup_seconds():
            self.ledger.account_setup(self.claim.lease.campaign_id, seconds)
        return True

    def _ends_with_us(self, failure: FailureReport) -> bool:
        """Whether a payload died because all processes of this machine or job must end.

        Batch systems signal each process of a job, often the payload first. Then nothing is charged: if the events
        are at fault, it will show on another worker.
        """
        if failure.signal is None:
            return False
        why = drain.here().told_within(WORD_SECONDS if failure.signal in SENT else 0.0)
        if why is not None:
            self.drained = f"{why}; {failure.summary}"
        return why is not None

    def _open_source(self, *, expected: str | None = None) -> OpenInput:
        item, spec = self.claim.input, self.order.source
        url = locate(item.url, folder=self.order.folder)
        source: OpenInput
        if self.reader is not None and spec.reader is not None:
            source = open_by_reader(self.reader, url, spec.reader)
        else:
            source = ReadHere(open_source(url, spec, expected=expected, index=item.index))
        if (source.identity, source.events) != (item.identity, item.events):
            raise InputError(
                f"{item.url} has changed since it was split: "
                f"{how_changed(item.events, item.identity, source.events, source.identity)}. "
                "Restore the old file, or start over with 'eventmill run CAMPAIGN.yaml --changed restart'."
            )
        return source

    def _work_through(
        self, reading: _Reading | None, reads: Iterator[_Reading], storer: ThreadPoolExecutor
    ) -> None:
        uncommitted: deque[Future[BlockReport]] = deque()
        while reading is not None and self.directive is Directive.CONTINUE:
            staged = self._wait_for(reading)
            if staged is None:
                break
            if self._computed_seconds >= LONG_SECONDS:
                self._ask()
            if not self._begin_or_leave(staged.range):
                break
            reading = next(reads, None)
            while len(uncommitted) > 1:
                self._add(uncommitted.popleft().result())
            if staged.range.start >= self.stop or self.directive is not Directive.CONTINUE:
                break
            outcome = staged.failure or self._compute(staged)
            staged.path.unlink(missing_ok=True)
            if self._is_stopped():
                break
            if isinstance(outcome, FailureReport):
                if self._ends_with_us(outcome):
                    break
                self._fail(staged.range, outcome)
            else:
                uncommitted.append(storer.submit(self._store, staged.range, outcome))
        for future in uncommitted:
            self._add(future.result())

    def _reads(self, opening: Future[OpenInput], reader: Reader) -> Iterator[_Reading]:
        """Yield range by range; each read begins when it is requested."""
        for piece in self._ranges():
            yield _Reading(piece, reader.submit(partial(self._read, opening, piece)))

    def _wait_for(self, reading: _Reading) -> _Staged | None:
        """The events that were read; None if they are not needed any more, or reading took too long."""
        begun = time.monotonic()
        patience = self.order.input_seconds if self.reader is None else None  # the reader's process has its own
        while not wait([reading.staged], LOOK_SECONDS).done:
            if self.directive is not Directive.CONTINUE:
                return None
            if (why := drain.here().why) is not None:
                self.drained = why
                return None
            if patience is not None and time.monotonic() - begun > patience:
                failure = FailureReport(
                    FailureKind.INPUT,
                    f"{self.claim.input.url} could not be read within {patience:g} s (limits.input_timeout)",
                )
                # Not with `_fail`, which checks the input again and would hang, too.
                self.obey(self.ledger.fail(self.claim.lease, reading.range, failure, report_id=random_id()))
                self.log.failed(reading.range, failure)
                self._add(block_report.one_failed(reading.range, failure))
                return None
        return reading.staged.result()

    def _ranges(self) -> Iterator[EventRange]:
        for piece in cutting.ranges_of(self.claim, merge_events=self.order.merge_events):
            if piece.start >= self.stop:
                return
            yield piece

    def _read(self, opening: Future[OpenInput], piece: EventRange) -> _Staged:
        source = opening.result()  # what is not what was split ends the block, and no event is at fault
        path = self.scratch / f"{piece.start}.events"
        return _Staged(piece, path, source.stage(piece, path))

    def _compute(self, staged: _Staged) -> _Computed | FailureReport:
        call = RangeCall(
            range=staged.range,
            url=self.claim.input.url,
            events_path=staged.path,
            output_path=self._output_path(staged.range),
            schema=self.schema,
            format=self.order.format,
            described=self.claim.input.description,
        )
        self.begun = staged.range.stop
        begun, before = time.monotonic(), self._computed_at
        outcome = self._run(call)
        if isinstance(outcome, RangeResult) and self.schema is None and outcome.infers:
            self.schema = self.ledger.infer_schema(self.claim.lease, outcome.schema)
            if self.schema is None:  # nobody waits for this range any more
                self.obey(Reply((Outcome.FENCED,), Directive.STOP))
            elif self.schema != outcome.schema:  # another worker was first, with other columns: the child says so
                outcome = self._run(replace(call, schema=self.schema))
        self._computed_at = time.monotonic()
        self._computed_seconds = self._computed_at - begun
        if isinstance(outcome, FailureReport):
            return outcome
        return _Computed(outcome, begun, self._computed_seconds, 0.0 if before is None else begun - before)

    def _run(self, call: RangeCall) -> RangeResult | FailureReport:
        """One call, which may take `limits.event_seconds` for each event."""
        limit = self.order.event_seconds
        outcome = self.payload.run(call, None if limit is None else limit * len(call.range))
        if isinstance(outcome, FailureReport) and outcome.kind is FailureKind.TIMEOUT:
            told = (
                f"{outcome.summary}: limits.event_seconds allows {limit:g} s for each of {len(call.range)} events"
            )
            return replace(outcome, summary=told)
        return outcome

    def _output_path(self, piece: EventRange) -> Path:
        return self.scratch / f"{piece.start}.output"

    def _fail(self, piece: EventRange, failure: FailureReport) -> None:
        """Report a failure as what it is: of the range, of the set-up, or of the whole input."""
        failure = as_written(failure, self.order)
        if failure.kind is FailureKind.SETUP:
            self._note_setup_failed(failure)
            return
        if failure.kind is FailureKind.INPUT:
            self._open_source()  # raises if the file is gone or another one: then no event is at fault
        self.obey(self.ledger.fail(self.claim.lease, piece, failure, report_id=random_id()))
        self.log.failed(piece, failure)
        self._add(block_report.one_failed(piece, failure))

    def _note_setup_failed(self, failure: FailureReport) -> None:
        failure = as_written(failure, self.order)
        self.obey(self.ledger.setup_failed(self.claim.lease, failure))
        self.log.setup_failed(failure)
        note = f"the payload could not be set up: {failure.summary}"
        self.report = replace(self.report, note=note, end=BlockEnd.SICK, failure=failure, failed_at=None)

    def _add(self, part: BlockReport) -> None:
        self.report = block_report.together(self.report, part)

    def _store(self, piece: EventRange, computed: _Computed) -> BlockReport:
        """Upload, then commit. There is never a moment when an output is counted and its object is not there."""
        lease = self.claim.lease
        stored = self.outputs.put(lease, self.claim.input.ordinal, piece, self._output_path(piece))
        self._output_path(piece).unlink(missing_ok=True)
        if stored is None:
            self.obey(Reply((Outcome.FENCED,), Directive.STOP))
            return BlockReport(fenced=len(piece))
        output = RangeOutput(
            range=piece,
            key=stored.key,
            bytes=stored.bytes,
            sha256=stored.sha256,
            rows=computed.result.rows,
            cpu_seconds=computed.result.cpu_seconds,
            wall_seconds=computed.wall_seconds,
            overhead_seconds=computed.overhead_seconds,
        )
        reply = self.ledger.commit(lease, [output], payload=self.order.payload.digest, begun=self.begun)
        self.obey(reply)
        drain.here().took(self.order.payload.digest, len(piece), seconds=time.monotonic() - computed.begun)
        self.log.handed_in(output, reply.outcomes)
        if reply.outcomes == (Outcome.FENCED,):
            with suppress(EventmillError):  # otherwise it is an orphan, which the sweep at the end deletes
                self.outputs.delete([stored.key])
            return BlockReport(fenced=len(piece))
        return BlockReport(committed=len(piece), ranges=1, cpu_seconds=output.cpu_seconds, worked_stop=piece.stop)


def random_id() -> str:
    """Sixteen hex digits, never the same twice: by them the ledger knows a message that is repeated."""
    return secrets.token_hex(8)


def locate(url: str, *, folder: str) -> str:
    """The address of an input for this process, whose working directory may differ from the coordinator's."""
    return url if "://" in url or url.startswith("generated:") else str(Path(folder) / url)
