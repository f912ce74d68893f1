"""The report as `_<campaign>-report.json` and `_<campaign>-report.png` in the store, and as text."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

from eventmill.core.keys import companion_key
from eventmill.core.records import CampaignRow
from eventmill.core.units import counted
from eventmill.ledger import Ledger
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


def draw(made: Report, path: Path) -> None:
    """Live workers, throughput and losses over the time with a coordinator, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # not pyplot, which may open windows
    from matplotlib.figure import Figure

    seconds = [point.seconds for point in made.points]
    figure = Figure(figsize=(8, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    alive, rate, lost = figure.subplots(3, 1, sharex=True)
    for label, values in (
        ("workers", [p.workers for p in made.points]),
        ("slots", [p.slots for p in made.points]),
        ("busy slots", [p.busy for p in made.points]),
    ):
        alive.step(seconds, values, where="pre", label=label)
    alive.legend(loc="lower center", ncols=3, fontsize=8)
    rate.step(seconds, [p.rate for p in made.points], where="pre", color="tab:green")
    lost.step(seconds, [p.losses for p in made.points], where="pre", color="tab:red")
    alive.set_ylabel("alive")
    rate.set_ylabel("events/s")
    lost.set(ylabel="losses so far", xlabel="seconds with a coordinator")
    for axes in (alive, rate, lost):
        axes.set_ylim(bottom=0)
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
