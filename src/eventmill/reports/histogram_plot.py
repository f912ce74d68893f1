"""`_<campaign>-histograms.png`: the sums over the merged files of a campaign with `format: hist`.

Drawn with matplotlib, and omitted if that is not installed, since the files contain everything.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from eventmill.config.output_spec import format_of
from eventmill.core.keys import companion_key
from eventmill.core.records import CampaignRow
from eventmill.formats import histograms
from eventmill.ledger import Ledger
from eventmill.store import Store
from eventmill.store.overwrite import replace

COLUMNS = 3
"""The number of histograms in a row."""

MOST = 24
"""The maximum number of histograms; more would be too small."""


def picture_key(campaign: str) -> str:
    """The key of the plot in the store."""
    return companion_key(campaign, "histograms.png")


def write_picture(ledger: Ledger, store: Store, record: CampaignRow) -> str | None:
    """Draw the histograms; returns the key of the plot, None if there are none or matplotlib is missing.

    Harmless if two processes do it at once, because the plots are equal.
    """
    files = ledger.merged_outputs(record.id)
    if format_of(record.spec).name != "hist" or not files or importlib.util.find_spec("matplotlib") is None:
        return None
    total: histograms.Histograms = {}
    for file in files:
        with store.open(file.key) as opened:
            total = histograms.added(total, histograms.load(opened, name=file.key), name=file.key)
    key = picture_key(record.name)
    title = f"{record.name}: {sum(file.events for file in files):,} events"
    replace(store, key, lambda path: draw(total, path, title=title))
    return key


def draw(total: histograms.Histograms, path: Path, *, title: str) -> None:
    """Draw one-dimensional histograms with their errors and two-dimensional ones in colours, as a PNG.

    Others, and those beyond the first 24, are named below.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # not pyplot, which may open windows
    from matplotlib.figure import Figure

    shown = {name: value for name, value in total.items() if value.ndim in (1, 2)}
    shown = dict(list(shown.items())[:MOST])
    lines = -(-max(1, len(shown)) // COLUMNS)
    figure = Figure(figsize=(5 * min(COLUMNS, max(1, len(shown))), 3.8 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (name, value) in enumerate(shown.items()):
        axes = figure.add_subplot(lines, min(COLUMNS, len(shown)), place + 1)
        axes.set_title(name)
        _draw_one(axes, value) if value.ndim == 1 else _draw_two(axes, value)
    left_out = [name for name in total if name not in shown]
    figure.suptitle(title + (f"\nnot drawn: {', '.join(left_out)}" if left_out else ""))
    figure.savefig(path, format="png", dpi=80)


def _draw_one(axes: Any, value: Any) -> None:
    (axis,) = value.axes
    heights, variances = value.values(), value.variances()
    if axis.traits.continuous:
        axes.stairs(heights, axis.edges)
        places = axis.centers
    else:
        places = range(len(heights))
        axes.bar(places, heights)
        axes.set_xticks(places, [str(bin) for bin in axis])
    if variances is not None:
        axes.errorbar(places, heights, yerr=variances**0.5, fmt="none", linewidth=0.8, color="black")
    axes.set_xlabel(axis.label or axis.name)


def _draw_two(axes: Any, value: Any) -> None:
    across, up = value.axes
    mesh = axes.pcolormesh(_edges(across), _edges(up), value.values().T)
    axes.figure.colorbar(mesh, ax=axes)
    for axis, named, ticks in ((across, axes.set_xlabel, axes.set_xticks), (up, axes.set_ylabel, axes.set_yticks)):
        named(axis.label or axis.name)
        if not axis.traits.continuous:
            ticks([place + 0.5 for place in range(len(axis))], [str(bin) for bin in axis])


def _edges(axis: Any) -> Any:
    return axis.edges if axis.traits.continuous else range(len(axis) + 1)
