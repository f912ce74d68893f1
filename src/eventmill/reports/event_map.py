"""The map of events: one strip for each input, coloured by the states of its events. Reads no store.

A strip shows the events of an input from the first to the last. A pixel stands for some events: it has the colour
of the state of most of them, but one abandoned event makes it red, and one leased event yellow, because those are
what people look for.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from eventmill.core.ranges import Input
from eventmill.core.records import StateSpan
from eventmill.core.states import State

ORDER = (State.MERGED, State.COMMITTED, State.READY, State.LEASED, State.ABANDONED)
"""The states as numbers of a strip: of two states with equally many events the first is shown."""

COLOURS: dict[State, str] = {
    State.MERGED: "#009e73",
    State.COMMITTED: "#56b4e9",
    State.READY: "#dddddd",
    State.LEASED: "#f0e442",
    State.ABANDONED: "#cc3311",
}
"""Okabe and Ito's colours, which people who do not see red or green can tell apart, and a red."""

COLOUR_NAMES: dict[State, str] = {
    State.MERGED: "green",
    State.COMMITTED: "blue",
    State.READY: "grey",
    State.LEASED: "yellow",
    State.ABANDONED: "red",
}
"""The same for people, where no colour can be shown."""

NEVER_HIDDEN = (State.LEASED, State.ABANDONED)
"""Shown wherever there is one event; the later of them wins."""

STRIPS = 24
"""The most strips: more inputs share them."""

PIXELS = 480
"""The width of a strip."""

HEIGHT = 14


@dataclass(frozen=True, slots=True)
class Strip:
    """The events of one or several neighbouring inputs: `states` are numbers of `ORDER`, one for each pixel.

    `url` is the only input's, None if there are several; `counts` are their events by state.
    """

    label: str
    url: str | None
    inputs: int
    events: int
    counts: dict[State, int]
    states: npt.NDArray[np.uint8]


def event_map(
    inputs: Sequence[Input], spans: Sequence[StateSpan], *, strips: int = STRIPS, pixels: int = PIXELS
) -> tuple[Strip, ...]:
    """The strips of a campaign, in campaign order; none if it has no events. Pure.

    Inputs without events have none. `spans` are campaign-wide positions, without overlap. A strip of few events
    has fewer pixels than `pixels`, one for each event.
    """
    filled = [item for item in inputs if item.events]
    if not filled:
        return ()
    share = -(-len(filled) // strips)
    groups = [filled[i : i + share] for i in range(0, len(filled), share)]
    curves = {state: _curve([span for span in spans if span.state is state]) for state in ORDER}
    return tuple(_strip(group, curves, first=i * share, pixels=pixels) for i, group in enumerate(groups))


Curve = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


def _curve(spans: Sequence[StateSpan]) -> Curve:
    """How many events of one state lie before a position: where it bends, and its values there."""
    bounds = np.array(sorted((span.start, span.stop) for span in spans), dtype=np.float64).reshape(-1, 2)
    steps = np.stack([np.zeros(len(bounds)), bounds[:, 1] - bounds[:, 0]], axis=1)
    return bounds.reshape(-1), np.cumsum(steps.reshape(-1))


def _strip(group: Sequence[Input], curves: dict[State, Curve], *, first: int, pixels: int) -> Strip:
    start, stop = group[0].first, group[-1].first + group[-1].events
    edges = np.floor(np.linspace(start, stop, min(pixels, stop - start) + 1))  # no event is in two pixels
    cover = np.array([np.diff(_at(curves[state], edges)) for state in ORDER])
    states = cover.argmax(axis=0).astype(np.uint8)
    for state in NEVER_HIDDEN:
        number = ORDER.index(state)
        states[cover[number] > 0.5] = number
    counts = {state: round(float(cover[number].sum())) for number, state in enumerate(ORDER)}
    alone = group[0] if len(group) == 1 else None
    label = _name(alone.url) if alone else f"inputs {first + 1:,} to {first + len(group):,}"
    return Strip(label, alone.url if alone else None, len(group), stop - start, counts, states)


def _at(curve: Curve, positions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    bends, values = curve
    return np.interp(positions, bends, values) if len(bends) else np.zeros_like(positions)


def _name(url: str) -> str:
    return PurePosixPath(url.partition("?")[0]).name or url


def png(strip: Strip, *, width: int = PIXELS, height: int = HEIGHT) -> bytes:
    """A strip as a PNG image: some hundred bytes, whatever it shows."""
    columns = strip.states[np.arange(width) * len(strip.states) // width]
    return indexed_png(np.tile(columns, (height, 1)), [COLOURS[state] for state in ORDER])


def indexed_png(pixels: npt.NDArray[np.uint8], colours: Sequence[str]) -> bytes:
    """Pixels, which are numbers of `colours` (`#rrggbb`), as a PNG image with a palette. Needs no package."""
    height, width = pixels.shape
    rows = b"".join(b"\x00" + row.tobytes() for row in pixels)  # filter 0, then one palette index for each pixel
    palette = b"".join(bytes.fromhex(colour.removeprefix("#")) for colour in colours)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)  # eight bits, palette
    chunks = ((b"IHDR", header), (b"PLTE", palette), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def data_url(image: bytes) -> str:
    """A PNG image as an address that contains it: a browser may not be able to read the store."""
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"
