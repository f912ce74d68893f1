"""The map of events: what a strip shows, pixel by pixel, and the image that it becomes."""

from __future__ import annotations

import struct
import zlib
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from eventmill.core.ranges import Input
from eventmill.core.records import StateSpan
from eventmill.core.states import State
from eventmill.reports.event_map import ORDER, PIXELS, STRIPS, Strip, event_map, png


def inputs_of(*sizes: int) -> list[Input]:
    firsts = [sum(sizes[:number]) for number in range(len(sizes))]
    return [
        Input(number + 1, number, f"/data/f{number}.root", size, first, "identity")
        for number, (size, first) in enumerate(zip(sizes, firsts, strict=True))
    ]


def shown(strip: Strip) -> list[State]:
    return [ORDER[number] for number in strip.states]


def test_each_input_has_a_strip_from_its_first_event_to_its_last() -> None:
    spans = [
        StateSpan(0, 100, State.MERGED),
        StateSpan(100, 150, State.COMMITTED),
        StateSpan(150, 200, State.READY),
    ]
    first, second = event_map(inputs_of(100, 100), spans, pixels=10)
    assert (first.label, second.label) == ("f0.root", "f1.root")
    assert shown(first) == [State.MERGED] * 10
    assert shown(second) == [State.COMMITTED] * 5 + [State.READY] * 5
    assert second.counts == dict.fromkeys(ORDER, 0) | {State.COMMITTED: 50, State.READY: 50}


def test_one_abandoned_event_among_a_billion_is_seen() -> None:
    """And so is one that is in work, unless an abandoned one is beside it."""
    lost, held = 123_456_789, 900_000_000
    spans = [
        StateSpan(0, lost, State.MERGED),
        StateSpan(lost, lost + 1, State.ABANDONED),
        StateSpan(lost + 1, held, State.MERGED),
        StateSpan(held, held + 1, State.LEASED),
        StateSpan(held + 1, 10**9, State.READY),
    ]
    (strip,) = event_map(inputs_of(10**9), spans)
    assert shown(strip).count(State.ABANDONED) == 1 and shown(strip).count(State.LEASED) == 1
    assert shown(strip)[lost * PIXELS // 10**9] is State.ABANDONED
    assert strip.counts[State.ABANDONED] == 1


def test_many_inputs_share_strips() -> None:
    """Neighbours do, so that a thousand inputs are one picture."""
    strips = event_map(inputs_of(*[10] * 1000), [StateSpan(0, 10_000, State.READY)])
    assert len(strips) <= STRIPS and sum(strip.inputs for strip in strips) == 1000
    assert strips[0].label == "inputs 1 to 42" and strips[0].url is None
    assert sum(strip.events for strip in strips) == 10_000


def test_nothing_is_drawn_of_nothing() -> None:
    """A campaign that is not split yet; an input without events."""
    assert event_map([], []) == ()
    assert event_map(inputs_of(0), []) == ()
    assert [strip.label for strip in event_map(inputs_of(0, 5, 0), [StateSpan(0, 5, State.READY)])] == ["f1.root"]


@given(
    sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=40),
    cuts=st.lists(st.integers(0, 10**6), max_size=60),
    states=st.lists(st.sampled_from(ORDER), min_size=61, max_size=61),
    pixels=st.integers(1, 700),
)
def test_a_map_shows_every_event_and_no_state_that_there_is_not(
    sizes: list[int], cuts: list[int], states: list[State], pixels: int
) -> None:
    """Whatever the spans: each event is counted once, a pixel's state occurs in it, abandoned ones always show."""
    total = sum(sizes)
    edges = sorted({0, total, *(cut % (total + 1) for cut in cuts)})
    spans = [StateSpan(a, b, state) for (a, b), state in zip(pairwise(edges), states, strict=False)]
    of_event = [state for span in spans for state in [span.state] * (span.stop - span.start)]
    position = 0
    for strip in event_map(inputs_of(*sizes), spans, pixels=pixels):
        mine = of_event[position : position + strip.events]
        assert strip.counts == {state: mine.count(state) for state in ORDER}
        edges = [number * strip.events // len(strip.states) for number in range(len(strip.states) + 1)]
        for (first, last), state in zip(pairwise(edges), shown(strip), strict=True):
            assert state in mine[max(0, first - 1) : last + 1]
        assert (State.ABANDONED in mine) == (State.ABANDONED in shown(strip))
        position += strip.events
    assert position == total


def test_an_image_has_the_strips_colours() -> None:
    """Read back as the standard says: a palette, and one byte for each pixel of each row."""
    (strip,) = event_map(inputs_of(4), [StateSpan(0, 2, State.MERGED), StateSpan(2, 4, State.ABANDONED)])
    image = png(strip, width=8, height=3)
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, place = {}, 8
    while place < len(image):
        (size,) = struct.unpack(">I", image[place : place + 4])
        kind, content = image[place + 4 : place + 8], image[place + 8 : place + 8 + size]
        assert struct.unpack(">I", image[place + 8 + size : place + 12 + size]) == (zlib.crc32(kind + content),)
        chunks[kind], place = content, place + 12 + size
    assert struct.unpack(">IIBB", chunks[b"IHDR"][:10]) == (8, 3, 8, 3)
    assert chunks[b"PLTE"][:3] == bytes.fromhex("009e73")
    row = bytes([0] + [0] * 4 + [ORDER.index(State.ABANDONED)] * 4)
    assert zlib.decompress(chunks[b"IDAT"]) == row * 3
