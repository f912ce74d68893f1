"""`try`: runs the payload on a few events in this process; shows what it made of them, and how long it took."""

from __future__ import annotations

from typing import Annotated

import pyarrow as pa
import typer
from rich.console import Console

from eventmill import api
from eventmill.campaign.environment import why_not_here
from eventmill.campaign.inputs import paths_from
from eventmill.campaign.try_payload import Trial
from eventmill.cli.arguments import CampaignFile
from eventmill.cli.output import screen, table
from eventmill.config.campaign_spec import CampaignSpec, Ranges
from eventmill.core.units import counted, write_duration
from eventmill.formats.schemas import type_name
from eventmill.rules import sizing

SHOWN_ROWS = 20
SHOWN_COLUMNS = 8
"""A result with more columns is shown with one line per column."""


def try_payload(
    campaign_file: CampaignFile,
    events: Annotated[int, typer.Option(min=1, help="The number of events.")] = 10,
    start: Annotated[int, typer.Option(min=0, help="The position of the first event in its input, from 0.")] = 0,
    given: Annotated[
        str,
        typer.Option("--input", metavar="INPUT", help="Which input: its number, from 0, address or file name."),
    ] = "0",
) -> None:
    """Run the payload on a few events in this process, to debug it with breakpoint() and print()."""
    campaign = CampaignSpec.from_file(campaign_file)
    with paths_from(campaign_file):
        if (lacked := why_not_here(campaign)) is not None:  # before it may fail for that
            screen().print(f"warning: {lacked}; what this makes may differ from what workers make.")
        trial = api.try_payload(campaign, events=events, start=start, input=given)
    out, where = screen(), trial.where
    size = f"{trial.bytes:,} bytes ({trial.format})"
    made = counted(trial.table.num_rows, "row") if trial.table is not None else size
    place = f"{where.file} [{where.start}, {where.stop})"
    out.print(f"payload {trial.callable} made {made} from {counted(len(where), 'event')}: {place}\n")
    if trial.table is not None:
        _show_table(out, trial.table)
    _show_speed(out, trial, campaign.ranges)


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


def _show_speed(out: Console, trial: Trial, ranges: Ranges) -> None:
    events, call = len(trial.where), trial.call
    per_event = call.seconds / events
    out.print(
        f"\n{per_event:.3g} s per event: {counted(events, 'event')} in {call.seconds:.3g} s "
        f"({call.cpu_seconds:.3g} s of CPU), including what the first call loads, after a set-up of "
        f"{trial.setup.seconds:.3g} s."
    )
    lasts, yours = trial.auto_events * per_event, ""
    if ranges.events != "auto":
        yours = f" Your ranges of {ranges.events:,} would take about {ranges.events * per_event:.3g} s."
    first = ranges.events if ranges.events != "auto" else min(sizing.FIRST_RANGE_EVENTS, trial.input_events)
    grows = ", which become longer as it learns the speed" if ranges.events == "auto" else ""
    auto, aim = counted(trial.auto_events, "event"), write_duration(ranges.seconds)
    out.print(
        f"'ranges: {{events: auto}}' would choose ranges of {auto}, about {lasts:.3g} s each "
        f"({_why(trial, aim=aim)}).{yours} A run begins with ranges of "
        f"{counted(first, 'event')}{grows}."
    )


def _why(trial: Trial, *, aim: str) -> str:
    """What decides the length of automatic ranges."""
    if trial.auto_events == trial.input_events:
        return f"the whole input; ranges.seconds is {aim}"
    if trial.auto_events == sizing.LARGEST_RANGE_EVENTS:
        return f"the largest allowed; ranges.seconds is {aim}"
    return f"ranges.seconds is {aim}"
