"""The invariant: spans are replaced only by spans with the same events. Pure; knows no database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from eventmill.core.ranges import EventRange, Span
from eventmill.core.states import State, Verb, check_move
from eventmill.errors import PartitionBroken


def in_order(spans: Iterable[Span]) -> list[Span]:
    """Spans in campaign order: by input, then by position."""
    return sorted(spans, key=lambda span: (span.input_id, span.start))


def check_replacement(verb: Verb, old: Sequence[Span], new: Sequence[Span]) -> None:
    """Raise unless `new` covers exactly the events of `old`, each moved along an arrow of `verb`.

    Raises `PartitionBroken` for a gap, an overlap or a foreign event, `IllegalMove` for a wrong arrow.
    """
    before, after = in_order(old), in_order(new)
    if coverage(before, verb) != coverage(after, verb):
        raise PartitionBroken(
            f"'{verb}' would replace {_text(before)} by {_text(after)}, which are not the same events; "
            "nothing was changed."
        )
    i = j = 0
    while i < len(before) and j < len(after):
        check_move(verb, before[i].state, after[j].state)
        ends = before[i].stop, after[j].stop
        i += ends[0] <= ends[1]
        j += ends[1] <= ends[0]


def coverage(ordered: Sequence[Span], verb: Verb | None = None) -> list[tuple[int, int, int]]:
    """The events of `ordered` spans as maximal `(input, start, stop)`; raises on an overlap."""
    pieces: list[tuple[int, int, int]] = []
    for span in ordered:
        if pieces and pieces[-1][0] == span.input_id:
            _, start, stop = pieces[-1]
            if span.start < stop:
                raise PartitionBroken(
                    f"'{verb or 'audit'}' would have events [{span.start}, {min(stop, span.stop)}) of input "
                    f"{span.input_id} twice; nothing was changed."
                )
            if span.start == stop:
                pieces[-1] = (span.input_id, start, span.stop)
                continue
        pieces.append((span.input_id, span.start, span.stop))
    return pieces


def partition_problems(url: str, input_id: int, events: int, spans: Sequence[Span]) -> list[str]:
    """What is wrong if these `spans` in order are not exactly the `events` of an input, one line each."""
    try:
        found = coverage(spans)
    except PartitionBroken as error:
        return [f"{url}: {error}"]
    if found != ([(input_id, 0, events)] if events else []):
        pieces = ", ".join(f"[{start}, {stop})" for _, start, stop in found[:5])
        return [f"{url}: spans cover {pieces or 'nothing'} instead of [0, {events})"]
    return []


def isolate(span: Span, piece: EventRange, **changes: Any) -> tuple[Span, ...]:
    """Cut `span` so that `piece`, a part of it, is a span of its own with `changes`; the rest is unchanged."""
    if not span.range.covers(piece):
        raise PartitionBroken(f"{piece} is not inside {span.range}; nothing was changed.")
    left = (replace(span, stop=piece.start),) if span.start < piece.start else ()
    right = (replace(span, start=piece.stop),) if piece.stop < span.stop else ()
    return (*left, replace(span, start=piece.start, stop=piece.stop, **changes), *right)


def coalesce(spans: Iterable[Span]) -> list[Span]:
    """Join equal neighbours: READY without failures or losses, MERGED in one file, ABANDONED for one reason.

    A READY span with failures or losses keeps its borders, because they mark the suspect events.
    """
    out: list[Span] = []
    for span in in_order(spans):
        if out and _joins(out[-1], span):
            out[-1] = replace(out[-1], stop=span.stop)
        else:
            out.append(span)
    return out


def _joins(left: Span, right: Span) -> bool:
    if left.stop != right.start or left.state in (State.LEASED, State.COMMITTED):
        return False
    if left.state is State.READY and left.is_suspect:
        return False
    return replace(left, start=right.start, stop=right.stop) == right


def _text(spans: Sequence[Span]) -> str:
    return ", ".join(f"{span.input_id}:{span.range}" for span in spans[:6]) + (", …" if len(spans) > 6 else "")
