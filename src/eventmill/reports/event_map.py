"""The map of events: one strip for each input, coloured by the states of its events. Reads no store.

A strip shows the events of an input from the first to the last. A pixel stands for some events: it has the colour
of the state of most of them, but one abandoned event makes it red, and one leased event yellow, because those are
what people look for.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
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
    """The events of one or several neighbouring inputs, cut into pixels, all as long as possible.

    `url` is the only input's, None if there are several. Pixel k of p has the events from `k * events // p` on;
    `cover` are their numbers by state, of shape (states in `ORDER`, pixels), and exact.
    """

    label: str
    url: str | None
    inputs: int
    events: int
    cover: npt.NDArray[np.int64]

    @property
    def counts(self) -> dict[State, int]:
        """Its events by state."""
        return {state: int(self.cover[number].sum()) for number, state in enumerate(ORDER)}

    @property
    def states(self) -> npt.NDArray[np.uint8]:
        """What each pixel shows: a number of `ORDER`."""
        found: npt.NDArray[np.uint8] = self.cover.argmax(axis=0).astype(np.uint8)
        for state in NEVER_HIDDEN:
            number = ORDER.index(state)
            found[self.cover[number] > 0] = number
        return found


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
    curves = curves_of(bounds_of(spans))
    return tuple(strip_of(group, curves, pixels=pixels) for group in groups)


Numbers = npt.NDArray[np.int64]

Curve = tuple[Numbers, Numbers, Numbers]
"""The spans of one state: where they start, where they stop, and the events of those before each, and of all."""


Bounds = Mapping[State, tuple[Sequence[int], Sequence[int]]]
"""State -> where its spans start, and where they stop, in any order: campaign-wide positions without overlap."""


def bounds_of(spans: Iterable[StateSpan]) -> Bounds:
    """The bounds of spans."""
    found: dict[State, tuple[list[int], list[int]]] = {}
    for span in spans:
        starts, stops = found.setdefault(span.state, ([], []))
        starts.append(span.start)
        stops.append(span.stop)
    return found


def curves_of(bounds: Bounds) -> tuple[Curve, ...]:
    """The curves of all states, in `ORDER`."""
    return tuple(_curve(*bounds.get(state, ((), ()))) for state in ORDER)


def _curve(starts: Sequence[int], stops: Sequence[int]) -> Curve:
    # Without overlap, both have the same order.
    first, last = np.sort(np.array(starts, dtype=np.int64)), np.sort(np.array(stops, dtype=np.int64))
    return first, last, np.concatenate([np.zeros(1, np.int64), np.cumsum(last - first)])


def _before(curve: Curve, positions: Numbers) -> Numbers:
    """How many events of the state lie before each position."""
    starts, stops, sums = curve
    if not len(starts):
        return np.zeros_like(positions)
    begun = np.searchsorted(starts, positions, side="left")
    return sums[begun] - np.where(begun > 0, np.maximum(stops[begun - 1] - positions, 0), 0)


def edges_of(events: int, pixels: int) -> Numbers:
    """Where the pixels of so many events begin, and the last one ends: `k * events // pixels`.

    There are fewer pixels than asked for where there are fewer events: no event is in two. No events have none.
    """
    pixels = min(pixels, events) or 1
    whole, rest = divmod(events, pixels)
    numbers = np.arange(pixels + 1 if events else 1, dtype=np.int64)
    return numbers * whole + numbers * rest // pixels  # as one product it may have more than 63 bits


def strip_of(group: Sequence[Input], curves: Sequence[Curve], *, pixels: int = PIXELS) -> Strip:
    """The strip of neighbouring inputs, one at least; without a pixel if they have no events."""
    start, stop = group[0].first, group[-1].first + group[-1].events
    edges = start + edges_of(stop - start, pixels)
    cover = np.array([np.diff(_before(curve, edges)) for curve in curves])
    alone = group[0] if len(group) == 1 else None
    label = _name(alone.url) if alone else f"inputs {group[0].ordinal + 1:,} to {group[-1].ordinal + 1:,}"
    return Strip(label, alone.url if alone else None, len(group), stop - start, cover)


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
