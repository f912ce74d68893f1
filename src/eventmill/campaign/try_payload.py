"""A few events through the payload in this process, so that `breakpoint()` and prints work. Stores nothing."""

from __future__ import annotations

import os
import pickle
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from eventmill.campaign.code import payload_code
from eventmill.campaign.environment import why_not_here
from eventmill.campaign.tried_input import read_some, unpacked, users_code
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.config.cell_code import places_of
from eventmill.core.units import counted
from eventmill.core.work_order import PayloadCode
from eventmill.formats import arrow_ranges, open_format
from eventmill.formats.schemas import type_name
from eventmill.payloads.calls import SetUp, Where
from eventmill.payloads.loading import load_payload
from eventmill.reports.html_table import table_html
from eventmill.rules import sizing
from eventmill.text import line

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Spent:
    """What a call took: wall seconds, and CPU seconds including those of processes that it waited for."""

    seconds: float
    cpu_seconds: float


SHOWN_ROWS = 5
"""So many rows of a result a notebook shows."""

SHOWN_COLUMNS = 8
"""So many columns are named in a line."""


@dataclass(frozen=True, slots=True, repr=False)
class Trial:
    """What a payload made of the events of `where`, and what it took.

    `result` is what it returned; `table` is that as a range output would hold it, None for a format that holds
    none; `bytes` is the size of the range output. `auto_events` is how many events a range would have with
    `ranges: {events: auto}` at this speed, `input_events` how many the input has. `lacks` says what of
    `payload.environment` is not here; None if all is.
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
    lacks: str | None = None

    def __repr__(self) -> str:
        """One line."""
        return f"<Trial of {self.callable}: {self._made()} from {counted(len(self.where), 'event')}>"

    def __str__(self) -> str:
        """A few lines: what came of it, what it took, and how long ranges would be."""
        return "\n".join([f"trial of {self.callable}", *(f"  {name:<7}  {text}" for name, text in self._rows())])

    def _repr_html_(self) -> str:
        """The trial as a notebook shows it, with the first rows of the result."""
        shown = table_html(f"trial of {self.callable}", self._rows())
        if self.table is None:
            return shown
        first = self.table.slice(0, SHOWN_ROWS)
        names, columns = self.table.column_names, (column.to_pylist() for column in first.columns)
        rows = [names, *([line(str(value)) for value in row] for row in zip(*columns, strict=True))]
        return shown + table_html(f"the first of {counted(self.table.num_rows, 'row')}", rows)

    def _made(self) -> str:
        size = f"{self.bytes:,} bytes ({self.format})"
        return size if self.table is None else f"{counted(self.table.num_rows, 'row')}, {size}"

    def _rows(self) -> list[tuple[str, str]]:
        where, per_event = self.where, self.call.seconds / max(1, len(self.where))
        rows = [("events", f"{where.file} [{where.start}, {where.stop})"), ("made", self._made())]
        if self.table is not None:
            named = [f"{field.name}: {type_name(field.type)}" for field in self.table.schema]
            more = f" and {len(named) - SHOWN_COLUMNS} more" if len(named) > SHOWN_COLUMNS else ""
            rows.append(("columns", ", ".join(named[:SHOWN_COLUMNS]) + more))
        took = (
            f"{self.call.seconds:.3g} s, {per_event:.3g} s per event, after a set-up of {self.setup.seconds:.3g} s"
        )
        rows += [("took", took), ("ranges", f"of {counted(self.auto_events, 'event')} with events: auto")]
        return rows if self.lacks is None else [*rows, ("warning", self.lacks)]


def try_payload(campaign: CampaignSpec, *, events: int = 10, start: int = 0, input: int | str = 0) -> Trial:
    """Run the payload on `events` events of one input, from position `start` on. Needs no cluster.

    Raises `InputError` if there are no such events, and `PayloadError`, with the payload's own traceback, if it
    fails or returns what cannot be stored.
    """
    name = f"payload {campaign.payload.callable}"
    lacks = why_not_here(campaign)
    tried = read_some(campaign, events=events, start=start, input=input)
    where = tried.where
    place = f"{where.file} [{where.start}, {where.stop})"
    code, places = payload_code(campaign, folder=Path.cwd()), places_of(campaign.payload.source)
    with unpacked(code, key="payload.files") as shipped:
        folder = None if shipped is None else shipped.folder
        with users_code(f"{name} could not be set up", places, shipped):
            payload, setup = _timed(lambda: _set_up(campaign, code, folder))
        with users_code(f"{name} failed for {place}", places, shipped):
            returned, call = _timed(lambda: payload(tried.found, where))
        with users_code(f"the result of {name} for {place} cannot be stored"):
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
        auto_events=min(tried.input_events, wise),
        input_events=tried.input_events,
        lacks=lacks,
    )


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
