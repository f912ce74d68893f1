"""A few events through the payload in this process, so that `breakpoint()` and prints work. Stores nothing."""

from __future__ import annotations

import bdb
import importlib
import os
import pickle
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from eventmill.campaign.code import payload_code
from eventmill.campaign.inputs import list_inputs, source_spec
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.ranges import Description
from eventmill.core.units import counted
from eventmill.core.work_order import PayloadCode
from eventmill.errors import InputError, PayloadError
from eventmill.formats import arrow_ranges, open_format
from eventmill.payloads import bundles
from eventmill.payloads.calls import SetUp, Where
from eventmill.payloads.child import load_payload
from eventmill.payloads.import_shipped import importing_from
from eventmill.payloads.unpack import put_code
from eventmill.rules import sizing
from eventmill.runtime.scratch import code_folder
from eventmill.sources import Source, open_source
from eventmill.sources.patterns import NOTHING

_NOT_THEIRS = (str(Path(__file__).parents[1]), "<frozen ", str(importlib.__file__))

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Spent:
    """What a call took: wall seconds, and CPU seconds including those of processes that it waited for."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Trial:
    """What a payload made of the events of `where`, and what it took.

    `result` is what it returned; `table` is that as a range output would hold it, None for a format that holds
    none; `bytes` is the size of the range output. `auto_events` is how many events a range would have with
    `ranges: {events: auto}` at this speed, `input_events` how many the input has.
    """

    callable: str
    where: Where
    result: Any
    table: pa.Table | None
    bytes: int
    format: str
    setup: Spent
    call: Spent
    auto_events: int
    input_events: int


def try_payload(campaign: CampaignSpec, *, events: int = 10, start: int = 0, input_number: int = 0) -> Trial:
    """Run the payload on `events` events of one input, from position `start` on. Needs no cluster.

    Raises `InputError` if there are no such events, and `PayloadError`, with the payload's own traceback, if it
    fails or returns what cannot be stored.
    """
    name = f"payload {campaign.payload.callable}"
    source, said = _open_input(campaign, input_number)
    if start >= source.events:
        raise InputError(
            f"{source.url} has {counted(source.events, 'event')}; position {start} is beyond the last one."
        )
    last = min(start + events, source.events)
    where = Where(source.url, start, last, said.label, dict(said.parameters))
    place = f"{where.file} [{where.start}, {where.stop})"
    code = payload_code(campaign, folder=Path.cwd())
    with _unpacked(code) as folder:
        with _user_code(f"{name} could not be set up"):
            payload, setup = _timed(lambda: _set_up(campaign, code, folder))
        found = source.read(where.start, where.stop)
        with _user_code(f"{name} failed for {place}"):
            returned, call = _timed(lambda: payload(found, where))
        with _user_code(f"the result of {name} for {place} cannot be stored"):
            table, size = _as_stored(returned, campaign, events=len(where))
    speed = sizing.Speed(len(where), call.seconds, sizing.LARGEST_RANGE_EVENTS)
    wise = sizing.range_events(speed, wanted=None, seconds=campaign.ranges.seconds.total_seconds())
    return Trial(
        callable=campaign.payload.callable,
        where=where,
        result=returned,
        table=table,
        bytes=size,
        format=campaign.output.format,
        setup=setup,
        call=call,
        auto_events=min(source.events, wise),
        input_events=source.events,
    )


def _open_input(campaign: CampaignSpec, number: int) -> tuple[Source, Description]:
    named = list_inputs(campaign)
    if number >= len(named.urls):
        has = counted(len(named.urls), "input")
        raise InputError(f"the campaign has no input {number}: it has {has}, counted from 0.")
    url = named.urls[number]
    return open_source(url, source_spec(campaign, named)), named.described.get(url, NOTHING)


@contextmanager
def _unpacked(code: PayloadCode) -> Iterator[Path | None]:
    """The folder with the shipped copy, to import from; None for an installed package.

    What was not shipped is missing here, too. Debuggers and tracebacks show the file that the user edits.
    """
    if code.bundle is None:
        yield None
        return
    files = bundles.unpack(code.bundle, entry=code.entry, digest=code.digest)
    folder = put_code(files, code.digest, code_folder())
    written_in = (Path.cwd() / code.callable.rpartition(":")[0]).parent.resolve()
    with importing_from(folder, files, written_in=written_in):
        yield folder


def _set_up(campaign: CampaignSpec, code: PayloadCode, folder: Path | None) -> Callable[[Any, Where], object]:
    parameters = pickle.dumps(campaign.payload.parameters)
    return load_payload(SetUp(code.entry, folder, parameters, campaign.output.columns, path=()))


def _as_stored(returned: object, campaign: CampaignSpec, *, events: int) -> tuple[pa.Table | None, int]:
    """The table that a range output holds, if it holds one, and its size; `PayloadError` if it cannot be."""
    format, declared = open_format(campaign.output.spec), campaign.output.columns
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "range"
        format.write_range(returned, path, events=events, schema=None, declared=declared)
        size = path.stat().st_size
        if format.range_suffix != arrow_ranges.SUFFIX:
            return None, size
        with pa.OSFile(str(path)) as file:
            return pa.ipc.open_file(file).read_all(), size


def _timed(work: Callable[[], T]) -> tuple[T, Spent]:
    begun, used = time.perf_counter(), _cpu_seconds()
    value = work()
    return value, Spent(time.perf_counter() - begun, _cpu_seconds() - used)


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@contextmanager
def _user_code(what: str) -> Iterator[None]:
    """Turn whatever the user's code raises into a PayloadError with that code's own traceback."""
    try:
        yield
    except PayloadError:
        raise
    except bdb.BdbQuit:
        raise PayloadError(f"{what}: you quit the debugger.") from None
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        summary = " ".join("".join(traceback.format_exception_only(error)).split())
        raise PayloadError(f"{what}: {summary}{_their_traceback(error)}") from error


def _their_traceback(error: BaseException) -> str:
    """The frames from the first one that is not Eventmill's, behind a line's end; empty if there are none."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_NOT_THEIRS):
        frames = frames.tb_next
    if frames is None:
        return ""
    return "\n" + "".join(traceback.format_exception(type(error), error, frames)).rstrip()
