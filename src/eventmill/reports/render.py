"""The report as `_<campaign>-report.json` and `_<campaign>-report.png` in the store, and as text."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eventmill.core.keys import companion_key
from eventmill.core.records import CampaignRow
from eventmill.core.units import counted
from eventmill.ledger import Ledger
from eventmill.reports.html_table import table_html
from eventmill.reports.plots import COURSE, draw_course
from eventmill.reports.report import Report, as_data, report
from eventmill.store import Store
from eventmill.store.overwrite import replace

POINTS_TO_DRAW = 5
"""The minimum for a plot: a campaign of a few seconds has only numbers, and does not wait a second for a plot."""


def report_key(campaign: str, suffix: str) -> str:
    """The key of the report in the store: `json`, or its plot, `png`."""
    return companion_key(campaign, f"report.{suffix}")


def write_report(ledger: Ledger, store: Store, record: CampaignRow) -> str:
    """Write or replace the report; returns the key of the JSON file.

    It includes a plot if matplotlib is installed and the campaign lasted long enough for a curve. Harmless if two
    processes do it at once.
    """
    made = report(ledger, ledger.campaign(record.name))
    text = json.dumps(as_data(made), indent=2) + "\n"
    replace(store, report_key(record.name, "json"), lambda path: path.write_text(text, encoding="utf-8"))
    if len(made.points) >= POINTS_TO_DRAW and importlib.util.find_spec("matplotlib") is not None:
        replace(store, report_key(record.name, "png"), lambda path: draw(made, path))
    return report_key(record.name, "json")


def facts_of(made: Report) -> list[tuple[str, str]]:
    """The report as lines of name and text."""
    events = made.events
    lines = [
        ("events", f"{events['total']:,}, {events['merged']:,} merged, {events['abandoned']:,} abandoned"),
        *label_lines(made.labels),
        ("wall", f"{made.wall_seconds:,.1f} s with a coordinator"),
        ("slots", f"{made.slot_seconds:,.1f} s alive, {made.idle_seconds:,.1f} s of them idle"),
        ("idle tail", f"{made.idle_tail_seconds:,.1f} s of slot time while no work was left to hand out"),
        ("goodput", goodput(made)),
        ("set-up", f"{_percent(made.setup_share)} of the CPU spent"),
        ("failures", f"{made.failures:,}"),
        ("losses", _losses(made)),
        ("recomputed", _recomputed(made)),
        ("ranges", _lengths(made)),
    ]
    if made.quarantined:
        lines.append(("quarantined", ", ".join(made.quarantined)))
    return lines


def goodput(made: Report) -> str:
    """Both ratios, in the words in which text, picture and Prefect's artifact have them."""
    of_cpu = f"{_at_least(made)}{_percent(made.goodput_of_cpu)}"
    return f"{of_cpu} of the CPU spent, {_percent(made.goodput_of_slots)} of the slot time"


def label_lines(labels: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """One line for each label: its events, and what became of them."""
    return [
        (
            "" if number else "by label",
            f"{'without a label' if each['label'] is None else each['label']}: {each['total']:,} events, "
            f"{each['processed']:,} processed, {each['abandoned']:,} abandoned",
        )
        for number, each in enumerate(labels)
    ]


def account_rows(made: Report) -> list[tuple[str, str, int, int, str]]:
    """The accounts of CPU as rows: cause, seconds, events, how often, how that is known."""
    shown = [account for account in made.accounts if account.occurrences or account.cause == "useful"]
    return [(a.cause, f"{a.cpu_seconds:,.2f}", a.events, a.occurrences, a.known) for a in shown]


def markdown(made: Report) -> str:
    """The report as two Markdown tables."""
    facts = "\n".join(f"| {name} | {text} |" for name, text in facts_of(made))
    rows = "\n".join(f"| {' | '.join(str(cell) for cell in row)} |" for row in account_rows(made))
    return (
        f"| {made.campaign} | |\n|---|---|\n{facts}\n\n"
        f"| CPU | seconds | events | times | how it is known |\n|---|--:|--:|--:|---|\n{rows}\n"
    )


SHORT = ("events", "wall", "goodput", "failures", "losses")
"""The lines of a report that is printed."""


def as_text(made: Report) -> str:
    """The report in a few lines; `eventmill report` prints all."""
    lines = [f"  {name:<8}  {text}" for name, text in facts_of(made) if name in SHORT]
    return "\n".join([f"report of {made.campaign}", *lines])


def as_html(made: Report) -> str:
    """The report as two tables, for a notebook."""
    heads = ("CPU", "seconds", "events", "times", "how it is known")
    accounts = [heads, *([str(cell) for cell in row] for row in account_rows(made))]
    return table_html(made.campaign, facts_of(made)) + table_html("What the CPU was spent on", accounts)


def draw(made: Report, path: Path) -> None:
    """Live workers, throughput and losses over the time with a coordinator, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # not pyplot, which may open windows
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    draw_course(made, figure.subplots(COURSE, 1, sharex=True))
    losses = counted(made.losses, "loss", "losses")
    figure.suptitle(f"{made.campaign}: goodput {goodput(made)}, {losses}")
    figure.savefig(path, format="png", dpi=90)


def _at_least(made: Report) -> str:
    return "at least " if made.losses else ""


def _recomputed(made: Report) -> str:
    if not made.losses:
        return "nothing"
    each = made.recomputed_per_loss
    return "unknown" if each is None else f"at most {each:,.1f} events per loss"


def _losses(made: Report) -> str:
    each = made.losses_per_worker_hour
    return f"{made.losses:,}" if each is None else f"{made.losses:,}, {each:,.1f} per worker-hour"


def _lengths(made: Report) -> str:
    if not made.ranges:
        return "none chosen yet"
    sizes = [chosen.events for chosen in made.ranges]
    last = made.ranges[-1]
    worth = f", about {last.seconds:.1f} s" if last.seconds is not None else ""
    return f"{min(sizes):,} to {max(sizes):,} events, {last.events:,} at the end{worth}"


def _percent(share: float | None) -> str:
    return "an unknown part" if share is None else f"{share:.1%}"
