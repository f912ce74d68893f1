"""Plots of a campaign with matplotlib, into axes that the caller has: its course, and the map of its events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from eventmill.core.units import counted
from eventmill.reports.report import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from eventmill.reports.event_map import Strip

COURSE = 3
"""The number of axes of `draw_course`, from top to bottom, which share their x."""


def draw_course(made: Report, axes: Sequence[Axes]) -> None:
    """Draw live workers and slots, throughput, and losses over the seconds with a coordinator."""
    alive, rate, lost = axes
    seconds = [point.seconds for point in made.points]
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
    for one in axes:
        one.set_ylim(bottom=0)


def draw_map(strips: Sequence[Strip], axes: Axes) -> None:
    """Draw the strips from top to bottom, each as wide as the axes; the legend has the states that occur."""
    from matplotlib.colors import ListedColormap, to_rgba
    from matplotlib.patches import Patch

    from eventmill.reports.event_map import COLOURS, ORDER  # with numpy, which commands do without

    palette = ListedColormap([to_rgba(COLOURS[state]) for state in ORDER])
    for number, strip in enumerate(strips):
        place = (0.0, 1.0, number + 0.42, number - 0.42)
        cells: Any = strip.states[None, :]
        axes.imshow(
            cells, cmap=palette, vmin=0, vmax=len(ORDER) - 1, aspect="auto", extent=place, interpolation="none"
        )
    axes.set(xlim=(0, 1), ylim=(len(strips) - 0.5, -0.5), xticks=[0, 1], xticklabels=["first", "last event"])
    labels = [f"{strip.label}  {counted(strip.events, 'event')}" for strip in strips]
    axes.set_yticks(range(len(strips)), labels, fontsize=8)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    there = [state for state in ORDER if any(strip.counts[state] for strip in strips)]
    handles = [Patch(color=COLOURS[state], label=str(state)) for state in there]
    axes.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=len(ORDER), frameon=False, fontsize=8
    )
