"""`try`: runs the payload on a few events in this process, so that `breakpoint()` and `print()` work."""

from __future__ import annotations

import bdb
import importlib
import os
import pickle
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import pyarrow as pa
import typer
from rich.console import Console

import eventmill
from eventmill.campaign.inputs import list_inputs, source_spec
from eventmill.cli.arguments import CampaignFile
from eventmill.cli.output import screen, table
from eventmill.config.campaign_spec import CampaignSpec, read_campaign
from eventmill.core.units import counted, write_duration
from eventmill.errors import InputError, PayloadError
from eventmill.formats import arrow_ranges, open_format
from eventmill.formats.schemas import type_name
from eventmill.payloads.calls import SetUp, Where
from eventmill.payloads.child import load_payload
from eventmill.payloads.locate import find_payload
from eventmill.rules import sizing
from eventmill.sources import Source, open_source

SHOWN_ROWS = 20
SHOWN_COLUMNS = 8
"""A result with more columns is shown with one line per column."""

_NOT_THEIRS = (str(Path(eventmill.__file__).parent), "<frozen ", str(importlib.__file__))

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Spent:
    """What a call took: wall seconds, and CPU seconds including those of processes that it waited for."""

    seconds: float
    cpu_seconds: float


def try_payload(
    campaign_file: CampaignFile,
    events: Annotated[int, typer.Option(min=1, help="The number of events.")] = 10,
    start: Annotated[int, typer.Option(min=0, help="The position of the first event in its input, from 0.")] = 0,
    number: Annotated[int, typer.Option("--input", min=0, help="The number of the input, from 0.")] = 0,
) -> None:
    """Run the payload on a few events in this process, to debug it with breakpoint() and print()."""
    campaign = read_campaign(campaign_file)
    payload_name, out = f"payload {campaign.payload.callable}", screen()
    source = _open_input(campaign, number)
    if start >= source.events:
        raise InputError(
            f"{source.url} has {counted(source.events, 'event')}; --start {start} is beyond the last one."
        )
    where = Where(source.url, start, min(start + events, source.events))
    place = f"{where.file} [{where.start}, {where.stop})"
    with _user_code(f"{payload_name} could not be set up"):
        payload, set_up = _timed(lambda: _set_up(campaign))
    found = source.read(where.start, where.stop)
    with _user_code(f"{payload_name} failed for {place}"):
        returned, call = _timed(lambda: payload(found, where))
    with _user_code(f"the result of {payload_name} for {place} cannot be stored"):
        made = _as_stored(returned, campaign, events=len(where))
    what = counted(made.num_rows, "row") if isinstance(made, pa.Table) else made
    out.print(f"{payload_name} made {what} from {counted(len(where), 'event')}: {place}\n")
    if isinstance(made, pa.Table):
        _show_table(out, made)
    _show_speed(out, campaign, set_up=set_up, call=call, events=len(where), most=source.events)


def _open_input(campaign: CampaignSpec, number: int) -> Source:
    named = list_inputs(campaign)
    if number >= len(named.urls):
        has = counted(len(named.urls), "input")
        raise InputError(f"there is no input {number}: the campaign has {has}, counted from 0.")
    return open_source(named.urls[number], source_spec(campaign, named))


def _set_up(campaign: CampaignSpec) -> Callable[[Any, Where], object]:
    """The payload, imported from its own file: debuggers and tracebacks show what the user edits."""
    code = find_payload(campaign.payload.callable, folder=Path.cwd())
    folder = None
    if code.bundle is not None:
        folder = (Path.cwd() / code.callable.rpartition(":")[0]).parent.resolve()
        sys.path.insert(0, str(folder))
    parameters = pickle.dumps(campaign.payload.parameters)
    return load_payload(SetUp(code.entry, folder, parameters, campaign.output.columns, path=()))


def _as_stored(returned: object, campaign: CampaignSpec, *, events: int) -> pa.Table | str:
    """The table of the range output, or the size of one without a table; `PayloadError` if it cannot be stored."""
    format, declared = open_format(campaign.output.spec), campaign.output.columns
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "range"
        format.write_range(returned, path, events=events, schema=None, declared=declared)
        if format.range_suffix != arrow_ranges.SUFFIX:
            return f"{path.stat().st_size:,} bytes ({campaign.output.format})"
        with pa.OSFile(str(path)) as file:
            return pa.ipc.open_file(file).read_all()


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


def _show_table(out: Console, made: pa.Table) -> None:
    names = [f"{field.name}: {type_name(field.type)}" for field in made.schema]
    columns = [[_shown(value) for value in column.to_pylist()] for column in made.slice(0, SHOWN_ROWS).columns]
    if len(columns) <= SHOWN_COLUMNS:
        out.print(table(names, zip(*columns, strict=True)))
    else:
        out.print(table(["column", "values"], [(n, ", ".join(c)) for n, c in zip(names, columns, strict=True)]))
    if made.num_rows > SHOWN_ROWS:
        out.print(f"… and {made.num_rows - SHOWN_ROWS:,} more rows")


def _shown(value: object) -> str:
    """A value for people: floating-point numbers have six digits."""
    match value:
        case float():
            return f"{value:.6g}"
        case list():
            return f"[{', '.join(map(_shown, value))}]"
        case dict():
            return f"{{{', '.join(f'{name}: {_shown(part)}' for name, part in value.items())}}}"
        case _:
            return str(value)


def _show_speed(
    out: Console, campaign: CampaignSpec, *, set_up: Spent, call: Spent, events: int, most: int
) -> None:
    ranges = campaign.ranges
    per_event = call.seconds / events
    speed = sizing.Speed(events, call.seconds, sizing.LARGEST_RANGE_EVENTS)
    auto = min(most, sizing.range_events(speed, wanted=None, seconds=ranges.seconds.total_seconds()))
    out.print(
        f"\n{per_event:.3g} s per event: {counted(events, 'event')} in {call.seconds:.3g} s "
        f"({call.cpu_seconds:.3g} s of CPU), including what the first call loads, after a set-up of "
        f"{set_up.seconds:.3g} s."
    )
    aim, yours = write_duration(ranges.seconds), ""
    if ranges.events != "auto":
        yours = f"; your ranges of {ranges.events} take {ranges.events * per_event:.3g} s"
    out.print(f"'ranges: {{events: auto}}' would choose ranges of {counted(auto, 'event')}, to take {aim}{yours}.")
