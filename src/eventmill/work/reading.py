"""How a process reads inputs: with a source of Eventmill or a package, or in the process of the user's reader."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from eventmill.access import how_to_look_up
from eventmill.core.leases import FailureKind, FailureReport
from eventmill.core.ranges import EventRange, NewInput
from eventmill.core.work_order import ReaderSpec, SourceSpec
from eventmill.errors import InputError, PayloadError
from eventmill.payloads.pool import borrow_reader
from eventmill.payloads.reader_calls import EventsRead, InspectCall, Inspected, ReadCall, ReaderSetUp
from eventmill.payloads.runner import WarmPayload
from eventmill.payloads.shown_places import with_places
from eventmill.runtime.scratch import stage
from eventmill.sources import Source
from eventmill.work.user_code import payload_entry

TRIES = 3
"""A reader's process that dies while it inspects an input is tried again: it may have been preempted."""


_FRAME = re.compile(r'File "([^"<]+)", line (\d+)')


class OpenInput(Protocol):
    """An open input, whoever reads it."""

    @property
    def events(self) -> int:
        """The number of its events."""

    @property
    def identity(self) -> str:
        """What changes when its content does."""

    def stage(self, piece: EventRange, path: Path) -> FailureReport | None:
        """Write the events of a range to `path`, for the payload's process; None if successful."""


class ReadHere:
    """An input that is read in this process."""

    def __init__(self, source: Source) -> None:
        self.events, self.identity = source.events, source.identity
        self._source = source

    def stage(self, piece: EventRange, path: Path) -> FailureReport | None:
        """Read, then write."""
        try:
            events = self._source.read(piece.start, piece.stop)
        except InputError as error:
            return FailureReport(FailureKind.INPUT, str(error))
        return stage(events, path)


@dataclass(frozen=True, slots=True)
class ReadByReader:
    """An input that the user's reader reads, in a process of its own."""

    url: str
    events: int
    identity: str
    process: WarmPayload
    seconds: float | None

    def stage(self, piece: EventRange, path: Path) -> FailureReport | None:
        """Both in the reader's process."""
        call = ReadCall(self.url, piece, path, self.identity, self.events)
        answer = self.process.read(call, self.seconds)
        return _told(answer) if isinstance(answer, FailureReport) else None


@contextmanager
def reader_process(spec: SourceSpec) -> Iterator[WarmPayload | None]:
    """The process of the campaign's reader, kept warm between blocks; None if it has no reader.

    Raises `PayloadError` or `ScratchError` if its code is not here.
    """
    reader = spec.reader
    if reader is None:
        yield None
        return
    with borrow_reader(
        payload_entry(reader.ledger_url, reader.digest),
        parameters=reader.parameters,
        reader=ReaderSetUp(spec.columns, spec.credentials, how_to_look_up() if spec.credentials else None),
        memory_bytes=reader.memory_bytes,
        setup_seconds=reader.setup_seconds,
    ) as process:
        yield process


def open_by_reader(process: WarmPayload, url: str, reader: ReaderSpec) -> ReadByReader:
    """The input at `url` in the reader's process; `InputError` says why not, with the reader's own traceback."""
    try:
        found = _inspected(process.read(InspectCall(url), reader.input_seconds), reader)
    except InputError as error:
        raise InputError(f"{url}: {error}") from error
    return ReadByReader(url, found.events, found.identity, process, reader.input_seconds)


def inspect_by_reader(url: str, spec: SourceSpec) -> NewInput:
    """What the reader says of an input. `InputError` if it cannot be read, `PayloadError` if it has no reader."""
    assert spec.reader is not None
    with reader_process(spec) as process:
        assert process is not None
        for left in reversed(range(TRIES)):
            answer = process.read(InspectCall(url), spec.reader.input_seconds)
            if not (left and isinstance(answer, FailureReport) and answer.kind is FailureKind.CRASH):
                break
        return _inspected(answer, spec.reader)


def _inspected(answer: Inspected | EventsRead | FailureReport, reader: ReaderSpec) -> NewInput:
    if isinstance(answer, Inspected):
        return answer.found
    assert isinstance(answer, FailureReport)
    answer = with_places(answer, reader, folder=None)
    if answer.kind is FailureKind.SETUP:
        raise PayloadError(f"the reader cannot be set up: {_with_details(answer)}")
    raise InputError(_with_place(_told(answer)))


def _told(failure: FailureReport) -> FailureReport:
    """With the name of the limit that it exceeded."""
    if failure.kind is FailureKind.TIMEOUT:
        return replace(failure, summary=f"{failure.summary} (limits.input_timeout)")
    return failure


def _with_place(failure: FailureReport) -> str:
    """One line, because several inputs may fail: what is wrong, and where in the user's code."""
    raised, crashed = _FRAME.findall(failure.traceback), _FRAME.findall(failure.printed)
    frames = raised[-1:] or crashed[:1]  # a crash is told from its end
    place = "".join(f" ({Path(file).name}, line {line})" for file, line in frames)
    return f"{failure.summary.rstrip('.')}{place}."


def _with_details(failure: FailureReport) -> str:
    details = "".join(f"\n{text.rstrip()}" for text in (failure.traceback, failure.printed) if text.strip())
    return failure.summary + details
