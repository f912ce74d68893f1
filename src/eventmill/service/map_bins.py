"""The map of events as a bounded answer: strips of bins, made from `reports.event_map`.

An answer has at most `MOST_BINS` bins, whatever the campaign: of more inputs than strips, neighbours share one.
It is written as JSON here rather than by models, which took longer than all the rest; a test holds it to them.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from eventmill.core.records import CampaignRow
from eventmill.errors import NoCampaign
from eventmill.ledger import Ledger
from eventmill.reports.event_map import ORDER, Strip, curves_of, strip_of

MOST_STRIPS = 200
MOST_PIXELS = 2_000
MOST_BINS = 50_000
"""Of all strips together."""


def map_json(
    ledger: Ledger, record: CampaignRow, *, first: int, stop: int | None, strips: int, pixels: int
) -> bytes:
    """The map of the inputs from number `first` up to before `stop`, as JSON of an `EventMap`."""
    at, every = ledger.time(), ledger.inputs(record.id)
    chosen = every[first:stop]
    share = max(1, -(-len(chosen) // strips))
    groups = [chosen[number : number + share] for number in range(0, len(chosen), share)]
    bounds = ledger.state_bounds(record.id, first=first, stop=first + len(chosen)) if chosen else {}
    if not bounds and any(item.events for item in chosen):
        raise NoCampaign(f"campaign '{record.name}' was removed from the ledger a moment ago.")
    curves = curves_of(bounds)
    fitting = max(1, min(pixels, MOST_BINS // max(1, len(groups))))
    answer = {
        "at": at.isoformat().replace("+00:00", "Z"),
        "states": [str(state) for state in ORDER],
        "inputs": len(every),
        "events": sum(item.events for item in every),
        "strips": [
            _as_data(strip_of(group, curves, pixels=fitting), group[0].ordinal, group[-1].ordinal + 1)
            for group in groups
        ],
    }
    return json.dumps(answer, separators=(",", ":")).encode()


def _as_data(strip: Strip, first: int, stop: int) -> dict[str, Any]:
    return {
        "from": first,
        "to": stop,
        "label": strip.label,
        "url": strip.url,
        "events": strip.events,
        "counts": [int(strip.cover[number].sum()) for number in range(len(ORDER))],
        "pixels": strip.cover.shape[1],
        "bins": _bins(strip),
    }


def _bins(strip: Strip) -> list[list[int]]:
    """Runs of bins that are wholly in one state as pairs, others as their events."""
    cover = strip.cover
    if not cover.shape[1]:
        return []
    states = cover.argmax(axis=0)
    is_mixed = (cover > 0).sum(axis=0) > 1
    kind = np.where(is_mixed, -1, states)
    begins = np.flatnonzero(np.concatenate([[True], is_mixed[1:] | (kind[1:] != kind[:-1])]))
    lengths = np.diff([*begins, len(kind)])
    return [
        cover[:, begin].tolist() if kind[begin] < 0 else [int(length), int(kind[begin])]
        for begin, length in zip(begins, lengths, strict=True)
    ]
