"""The map of events over HTTP: exact to the event, and bounded however large the campaign."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import count
from pathlib import Path
from urllib.parse import urlencode

import sqlalchemy as sa
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from eventmill.core.ranges import Span
from eventmill.core.records import CampaignRow
from eventmill.core.states import State
from eventmill.ledger import Ledger, create_ledger
from eventmill.ledger.database import schema
from eventmill.ledger.database.transactions import insert_spans
from eventmill.service import models
from eventmill.service.map_bins import MOST_BINS, MOST_STRIPS, map_json
from tests.conftest import new_campaign
from tests.engine.ledger_actions import SAID_NO, begin, lead, output
from tests.engine.service_answers import ask
from tests.live_service import read_only_app

_numbers = count()


Step = tuple[str, int, int]
KINDS = st.sampled_from(["hold", "commit", "fail", "merge"])
STEPS = st.lists(st.tuples(KINDS, st.integers(1, 60), st.integers(0, 9)), max_size=25)


def worked_on(sizes: list[int], steps: list[Step]) -> tuple[Ledger, CampaignRow]:
    """A campaign after these steps: blocks held, ranges committed, events given up, files merged."""
    ledger = create_ledger(f"memory://views-{next(_numbers)}")
    campaign = new_campaign(ledger, tuple(sizes), merge_events=50, failures=1)
    leadership = lead(ledger, campaign)
    for kind, events, where in steps:
        if kind == "merge":
            for number in ledger.begin_merges(campaign.id, suffix=".parquet"):
                claimed = ledger.claim_merge(number, holder="m", length=campaign.rules.lease)
                assert claimed is not None
                merge, lease = claimed
                ledger.complete_merge(lease, staged=f"s{number}", bytes=7, sha256="0" * 64, rows=merge.rows)
                ledger.published(number)
        elif block := ledger.reserve(leadership, events=events, range_events=events):
            claim = ledger.claim(block.id, holder=f"h:{next(_numbers)}:7")
            assert claim is not None
            start, stop = claim.block.start, claim.block.stop
            middle = start + (stop - start) * where // 10
            if kind == "commit" and middle > start:
                ledger.commit(claim.lease, [output(start, middle)], payload="0" * 16)
            elif kind == "fail":
                ledger.fail(claim.lease, output(start, stop).range, SAID_NO)
    return ledger, campaign


def states_of(ledger: Ledger, campaign: CampaignRow) -> list[State]:
    """The state of each event of the campaign."""
    return [span.state for _, span in ledger.spans(campaign.id) for _ in range(len(span))]


def bins_of(strip: models.StripView, states: list[State]) -> list[Counter[State]]:
    """The events of each bin by state, as anybody reads the answer who has read its description."""
    found = []
    for each in strip.bins:
        if len(each) == 2:
            for _ in range(each[0]):
                number = len(found)
                size = (number + 1) * strip.events // strip.pixels - number * strip.events // strip.pixels
                found.append(Counter({states[each[1]]: size}))
        else:
            found.append(Counter({state: events for state, events in zip(states, each, strict=True) if events}))
    assert len(found) == strip.pixels
    return found


def map_of(app: FastAPI, name: str = "c", **asked: int) -> models.EventMap:
    """The map, which is what the models say."""
    response = ask(app, f"/v1/campaigns/{name}/map?{urlencode(asked)}")
    assert response.status_code == 200, response.text
    return models.EventMap.model_validate_json(response.content)


@settings(max_examples=60)
@given(
    sizes=st.lists(st.integers(0, 300), min_size=1, max_size=12),
    steps=STEPS,
    pixels=st.integers(1, 400),
    strips=st.integers(1, 14),
    window=st.tuples(st.integers(0, 12), st.integers(1, 12)),
)
def test_every_bin_has_the_events_of_its_place(
    sizes: list[int], steps: list[Step], pixels: int, strips: int, window: tuple[int, int]
) -> None:
    """Whatever was done: bin by bin, state by state, the map is what the ledger says of each event."""
    ledger, campaign = worked_on(sizes, steps)
    first, stop = window[0], window[0] + window[1]
    content = map_json(ledger, campaign, first=first, stop=stop, pixels=pixels, strips=strips)
    found = models.EventMap.model_validate_json(content)
    every, firsts = states_of(ledger, campaign), [item.first for item in ledger.inputs(campaign.id)]
    assert found.inputs == len(sizes) and found.events == sum(sizes)
    assert len(found.strips) <= strips
    shown = [number for strip in found.strips for number in range(strip.from_, strip.to)]
    assert shown == list(range(len(sizes)))[first:stop]  # each input once, in order
    for strip in found.strips:
        begin_at = firsts[strip.from_]
        mine = every[begin_at : begin_at + strip.events]
        assert strip.events == sum(sizes[strip.from_ : strip.to]) and strip.pixels == min(pixels, strip.events)
        bins = bins_of(strip, found.states)
        assert sum(sum(each.values()) for each in bins) == strip.events
        assert dict(zip(found.states, strip.counts, strict=True)) == {s: mine.count(s) for s in found.states}
        for number, each in enumerate(bins):
            edges = [k * strip.events // strip.pixels for k in (number, number + 1)]
            assert each == Counter(mine[slice(*edges)])


@given(sizes=st.lists(st.integers(0, 200), min_size=1, max_size=8), steps=STEPS)
@settings(max_examples=12)
def test_the_states_of_the_map_sum_to_the_counts(sizes: list[int], steps: list[Step]) -> None:
    """Of the map, of the list, of the detail and of the metrics."""
    ledger, _ = worked_on(sizes, steps)
    app = read_only_app(ledger)
    found = map_of(app)
    sums = {
        str(state): sum(strip.counts[number] for strip in found.strips)
        for number, state in enumerate(found.states)
    }
    detail = ask(app, "/v1/campaigns/c").json()
    assert {state: detail["events"][state] for state in sums} == sums
    assert detail["events"]["total"] == sum(sizes) == sum(sums.values())
    assert ask(app, "/v1/campaigns").json()["campaigns"][0]["events"] == detail["events"]
    families = text_string_to_metric_families(ask(app, "/metrics").text)
    events = next(family for family in families if family.name == "eventmill_events")
    assert {sample.labels["state"]: sample.value for sample in events.samples} == sums


def test_an_input_of_more_events_than_a_float_can_count_is_exact() -> None:
    """The last bin of 2^62 events; one event of another state is not lost."""
    ledger = create_ledger(f"memory://views-{next(_numbers)}")
    campaign = new_campaign(ledger, (2**62 + 3,))
    claim = begin(ledger, lead(ledger, campaign), events=1, size=1)
    assert claim.block.stop == 1
    (strip,) = map_of(read_only_app(ledger), pixels=7).strips
    bins = bins_of(strip, list(map_of(read_only_app(ledger)).states))
    assert bins[0][State.LEASED] == 1 and sum(sum(each.values()) for each in bins) == 2**62 + 3


INPUTS, SPANS = 1_000, 100_000


ASKED: list[tuple[dict[str, int], int]] = [
    ({}, 2_000_000),
    ({"strips": 1, "pixels": 800}, 40_000),
    ({"strips": 200, "pixels": 2_000}, 2_500_000),
    ({"from": 500, "to": 530, "pixels": 700}, 150_000),
    ({"from": 999, "strips": 200, "pixels": 2_000}, 10_000),
    ({"from": 1_000}, 1_000),
]
"""Questions, and the most bytes of the answer."""


def test_a_thousand_million_events_are_a_bounded_answer(tmp_path: Path) -> None:
    """Of 100,000 spans in 1,000 inputs, whatever is asked for: so many strips, so many bins, so many bytes."""
    ledger = create_ledger(str(tmp_path / "ledger.sqlite"))
    campaign = new_campaign(ledger, (10**6,) * INPUTS, name="large")
    size = 10**6 * INPUTS // SPANS
    with ledger.writing() as tx:
        tx.execute(sa.delete(schema.span))
        for item in ledger.inputs(campaign.id):
            ready = [Span(item.id, start, start + size, State.READY) for start in range(0, item.events, size)]
            lost = [replace(span, state=State.ABANDONED, reason="lost") for span in ready]
            insert_spans(tx, campaign.id, [*ready[::2], *lost[1::2]])
    app = read_only_app(ledger)
    for asked, most_bytes in ASKED:
        response = ask(app, f"/v1/campaigns/large/map?{urlencode(asked)}")
        found = models.EventMap.model_validate_json(response.content)
        assert len(response.content) < most_bytes
        assert len(found.strips) <= MOST_STRIPS and sum(strip.pixels for strip in found.strips) <= MOST_BINS
        assert found.events == 10**9
        shown = min(INPUTS, asked.get("to", INPUTS)) - asked.get("from", 0)
        assert sum(strip.events for strip in found.strips) == shown * 10**6
        for strip in found.strips:
            assert sum(sum(each.values()) for each in bins_of(strip, found.states)) == strip.events
