"""What may be seen of campaigns over HTTP: bounded, exact, and never a fault of the service."""

from __future__ import annotations

import asyncio
import json
import math
import re
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import combinations, count
from operator import mul
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel

from eventmill.core.ranges import Span
from eventmill.core.records import CampaignRow, DesiredState, Incident
from eventmill.core.states import State
from eventmill.ledger import Ledger, create_ledger
from eventmill.ledger.database import schema
from eventmill.ledger.database.transactions import insert_spans
from eventmill.reports.event_map import COLOURS
from eventmill.service import models
from eventmill.service.live_page import FOLDER
from eventmill.service.map_bins import MOST_BINS, MOST_STRIPS, map_json
from eventmill.service.problems import MEDIA_TYPE
from eventmill.service.shared_answers import SharedAnswers
from eventmill.service.views import MOST_CAMPAIGNS
from tests.conftest import SettableClock, new_campaign
from tests.engine.ledger_actions import SAID_NO, begin, commit, lead, output
from tests.live_service import read_only_app, whoever_knows

_numbers = count()


def ask(app: FastAPI, path: str, *, token: str | None = None, method: str = "GET") -> httpx.Response:
    """One request; an exception that nobody catches becomes the 500 that a server would answer."""

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with httpx.AsyncClient(transport=transport, base_url="http://service", headers=headers) as client:
            return await client.request(method, path)

    return asyncio.run(asked())


def problem_of(response: httpx.Response) -> models.Problem:
    """The problem that a refusal tells: one line, with its own status."""
    assert response.headers["content-type"] == MEDIA_TYPE
    problem = models.Problem.model_validate_json(response.content)
    assert problem.status == response.status_code and problem.detail and "\n" not in problem.detail
    return problem


@pytest.fixture
def campaign(open_campaign: Callable[..., CampaignRow]) -> CampaignRow:
    """Of 100 events in three inputs, one without any."""
    return open_campaign(60, 0, 40)


@pytest.fixture
def app(ledger: Ledger) -> FastAPI:
    """The views of the ledger."""
    return read_only_app(ledger)


# The map


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


# What is refused, and how


ANY_TEXT = st.text(max_size=60)


@pytest.fixture(scope="module")
def quiet() -> FastAPI:
    """The views of a campaign at which nothing happens, made once for many questions."""
    ledger = create_ledger(f"memory://views-{next(_numbers)}")
    new_campaign(ledger, (5, 3), name="secret-name")
    new_campaign(ledger, (5, 3))
    return read_only_app(ledger)


@given(name=ANY_TEXT)
def test_whatever_is_asked_for_by_name_is_no_fault_of_the_service(quiet: FastAPI, name: str) -> None:
    """A campaign that there is not, whatever it is called: a problem of the one who asks, in one line."""
    for path in ("", "/map", "/events"):
        try:
            named = quote(name, safe="")
        except UnicodeEncodeError:  # half a surrogate pair is no url
            return
        response = ask(quiet, f"/v1/campaigns/{named}{path}")
        if response.status_code not in (200, 307):  # "" is the list; "." and ".." are resolved by the client
            assert 400 <= response.status_code < 500
            assert "secret-name" not in problem_of(response).detail


@given(
    path=st.sampled_from(["/v1/campaigns", "/v1/campaigns/c/map", "/v1/campaigns/c", "/metrics", "/healthz"]),
    asked=st.dictionaries(
        st.sampled_from(["from", "to", "pixels", "strips", "limit", "offset", "x"]),
        st.one_of(st.integers(-5, 5), st.integers(), st.floats(), ANY_TEXT),
        max_size=4,
    ),
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "NONSENSE"]),
)
def test_no_question_is_a_fault_of_the_service(
    quiet: FastAPI, path: str, asked: dict[str, Any], method: str
) -> None:
    """Numbers of any size, words, other methods: an answer, or a problem of the one who asks."""
    try:
        query = urlencode(asked)
    except UnicodeEncodeError:
        return
    response = ask(quiet, f"{path}?{query}", method=method)
    assert response.status_code < 500
    if response.status_code != 200 and method != "HEAD":
        problem_of(response)


def test_who_may_not_read_is_told_nothing(ledger: Ledger, campaign: CampaignRow) -> None:
    """Without a token, whether there is a campaign or not is told alike."""
    app = read_only_app(ledger, may_read=whoever_knows("right"))
    for path in ("", "/c", "/c/map", "/c/events", "/other"):
        for token in (None, "wrong"):
            response = ask(app, f"/v1/campaigns{path}", token=token)
            assert response.status_code == 401 and response.headers["www-authenticate"] == "Bearer"
            problem_of(response)
    assert ask(app, "/metrics").status_code == 401
    assert ask(app, "/v1/campaigns/c", token="right").status_code == 200
    for path in ("/", "/page/page.js", "/healthz", "/readyz"):  # nothing in them is anybody's
        assert ask(app, path).status_code == 200


def test_a_reader_of_some_campaigns_sees_no_others(
    ledger: Ledger, open_campaign: Callable[..., CampaignRow]
) -> None:
    """What others are called is not told either."""
    open_campaign(5, name="mine")
    open_campaign(5, name="theirs")
    app = read_only_app(ledger, may_read=whoever_knows("right", {"mine", "unborn"}))
    assert [each["name"] for each in ask(app, "/v1/campaigns", token="right").json()["campaigns"]] == ["mine"]
    theirs, unborn = (ask(app, f"/v1/campaigns/{name}", token="right") for name in ("theirs", "unborn"))
    assert theirs.status_code == unborn.status_code == 404
    assert problem_of(theirs).detail.replace("theirs", "unborn") == problem_of(unborn).detail


def test_a_ledger_that_does_not_answer_is_said_so(tmp_path: Path) -> None:
    """503, with a time to come back; alive it is all the same."""
    path = tmp_path / "ledger.sqlite"
    ledger = create_ledger(str(path))
    app = read_only_app(ledger)
    assert ask(app, "/readyz").json() == {"status": "ok"}
    ledger.disconnect()
    path.write_bytes(b"no database" * 1000)
    for extra in ("-wal", "-shm"):
        (tmp_path / f"ledger.sqlite{extra}").unlink(missing_ok=True)
    for address in ("/readyz", "/v1/campaigns", "/v1/campaigns/c"):
        response = ask(app, address)
        assert response.status_code == 503 and int(response.headers["retry-after"]) > 0
        assert "ledger" in problem_of(response).detail
    assert ask(app, "/healthz").json() == {"status": "ok"}
    metrics = ask(app, "/metrics")
    assert metrics.status_code == 200 and "eventmill_ledger_up 0.0" in metrics.text


# What is told


def test_a_campaign_is_told_with_who_holds_what(
    ledger: Ledger, campaign: CampaignRow, app: FastAPI, clock: SettableClock
) -> None:
    """A worker with 20 events from 10 on, an idle one, a loss, a failure: as the ledger has them."""
    leadership = lead(ledger, campaign)
    claim = begin(ledger, leadership, events=30, holder="far:12:345")
    commit(ledger, claim, (0, 10))
    ledger.record_heartbeats(campaign.id, ["idle"])
    lost = begin(ledger, leadership, events=10, holder="lost:1:1")
    ledger.mark_lost(campaign.id, holders=["lost:1:1"], reason="gone")
    failing = begin(ledger, leadership, events=10, holder="far:13:345")
    ledger.fail(failing.lease, failing.missing[0], SAID_NO)
    clock.move(5)
    told = models.CampaignDetail.model_validate_json(ask(app, "/v1/campaigns/c").content)
    workers = {worker.holder: worker for worker in told.at_work.listed}
    far = workers["far:12:345"]
    assert (far.host, far.pid, far.events) == ("far", 12, 20)
    (held,) = far.holds
    assert (held.input, held.start, held.stop, held.events) == ("file0", 10, 30, 20)
    assert (told.at - held.since).total_seconds() == 5
    assert workers["idle"].holds == [] and workers["idle"].host is None and "lost:1:1" not in workers
    assert told.lost.total == told.losses == 1
    assert told.lost.newest[0].reason == "gone" and told.lost.newest[0].start == lost.block.start
    assert told.failed.total == told.failures == 1 and "Traceback: no" in told.failed.newest[0].detail
    assert (told.done, told.target, told.inputs, told.state) == (10, 1.0, 3, "running")


def test_rate_and_time_left_come_from_the_samples_of_the_run(
    ledger: Ledger, open_campaign: Callable[..., CampaignRow], app: FastAPI, clock: SettableClock, long_lead: None
) -> None:
    """Ten events every two seconds are five events per second; nothing is said before that can be known."""
    leadership = lead(ledger, open_campaign(200))
    for number in range(8):
        commit(ledger, begin(ledger, leadership, events=10), (10 * number, 10 * number + 10))
        ledger.note_sample(leadership, slots=1, every=timedelta(seconds=2))
        told = models.CampaignDetail.model_validate_json(ask(read_only_app(ledger), "/v1/campaigns/c").content)
        assert (told.rate is None) == (number < 3)
        clock.move(2)
    assert told.rate == pytest.approx(5.0) and told.seconds_left == pytest.approx(120 / 5)
    assert [sample.done for sample in told.samples] == [10 * (number + 1) for number in range(8)]
    assert told.samples[-1].rate == pytest.approx(5.0)
    ledger.set_desired_state(1, DesiredState.PAUSED)
    paused = models.CampaignDetail.model_validate_json(ask(read_only_app(ledger), "/v1/campaigns/c").content)
    assert paused.rate is None and paused.desired_state is DesiredState.PAUSED


def test_lists_are_bounded() -> None:
    """Of 700 failures of 300 workers the newest are listed, and all are counted."""
    ledger = create_ledger(f"memory://views-{next(_numbers)}")
    leadership = lead(ledger, campaign := new_campaign(ledger, (1000,), failures=10_000))
    for number in range(300):
        begin(ledger, leadership, events=1, size=1, holder=f"h:{number + 1}:1")
    claim = begin(ledger, leadership, events=700, size=1, holder="failing")
    for position in range(claim.block.start, claim.block.stop):
        ledger.fail(claim.lease, output(position, position + 1).range, SAID_NO)
    told = models.CampaignDetail.model_validate_json(ask(read_only_app(ledger), "/v1/campaigns/c").content)
    incidents: tuple[Incident, ...] = ledger.journal(campaign.id)
    assert told.failures == told.failed.total == len(incidents)
    assert len(told.failed.newest) == 20 and len(told.at_work.listed) == 200 and told.at_work.total == 301


def test_campaigns_are_listed_newest_first_in_pages(ledger: Ledger, app: FastAPI) -> None:
    """All of them, each once."""
    names = [f"c{number}" for number in range(7)]
    for name in names:
        new_campaign(ledger, (3,), name=name)
    pages = [ask(app, f"/v1/campaigns?limit=3&offset={offset}").json() for offset in (0, 3, 6, 9)]
    assert [each["name"] for page in pages for each in page["campaigns"]] == names[::-1]
    assert {page["total"] for page in pages} == {7}
    assert ask(app, f"/v1/campaigns?limit={MOST_CAMPAIGNS + 1}").status_code == 422


def test_openapi_says_what_everything_means(app: FastAPI) -> None:
    """Each field of each answer has a description, each endpoint a summary and its errors."""
    told = ask(app, "/openapi.json").json()
    bare = [
        f"{name}.{key}"
        for name, model in told["components"]["schemas"].items()
        for key, value in model.get("properties", {}).items()
        if "description" not in value
        and not any("description" in each for each in value.get("anyOf", []))
        and "$ref" not in json.dumps(value)
        and (name, key) not in {("StripView", "bins"), ("Health", "status")}
    ]
    assert bare == []
    for path, methods in told["paths"].items():
        for method in methods.values():
            assert method["summary"] and method["description"], path
            for status, answer in method["responses"].items():
                if int(status) >= 400:
                    assert list(answer["content"]) == [MEDIA_TYPE]


def test_requests_are_counted_by_route_and_status(ledger: Ledger, campaign: CampaignRow, app: FastAPI) -> None:
    """By the route as it was declared: names of campaigns and nonsense do not make more series."""
    for path, times in (("/v1/campaigns/c", 2), ("/v1/campaigns/x", 1), ("/nonsense/1", 1), ("/nonsense/2", 1)):
        for _ in range(times):
            ask(app, path)
    families = {family.name: family for family in text_string_to_metric_families(ask(app, "/metrics").text)}
    counted = {
        (sample.labels["route"], sample.labels["status"]): sample.value
        for sample in families["eventmill_http_requests"].samples
        if sample.name.endswith("_total")
    }
    route = "/v1/campaigns/{name}"
    assert counted == {(route, "200"): 2, (route, "404"): 1, ("other", "404"): 2}


def test_one_answer_serves_all_who_ask_at_once() -> None:
    """The first makes it; the others wait for that; later it is made anew. An error is nobody else's."""
    now, made, together = [0.0], [], threading.Barrier(8)
    answers = SharedAnswers(fresh_seconds=1, monotonic=lambda: now[0])

    def make() -> int:
        made.append(threading.get_ident())
        return len(made)

    found: list[int] = []

    def asks() -> None:
        together.wait()
        found.append(answers.get("key", make))

    threads = [threading.Thread(target=asks) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1] * 8 and len(made) == 1
    now[0] = 1.5
    assert answers.get("key", make) == 2
    with pytest.raises(ZeroDivisionError):
        answers.get("other", lambda: 1 // 0)
    assert answers.get("other", lambda: "well") == "well"


# The page


def test_the_page_lets_nothing_in_from_elsewhere(app: FastAPI) -> None:
    """A strict policy; no script or style in the markup, which it would stop; no address of another host."""
    for name in ("", *(f"page/{path.name}" for path in FOLDER.iterdir())):
        response = ask(app, f"/{name}")
        assert response.status_code == 200
        policy = response.headers["content-security-policy"]
        assert policy.startswith("default-src 'self';") and "unsafe" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        text = response.text.replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text and "innerHTML" not in text and "eval(" not in text, name
    index = ask(app, "/").text
    assert "<style" not in index and " style=" not in index and " onclick" not in index
    assert "<script>" not in index and "<noscript>" in index
    assert ask(app, "/page/page.js").headers["content-type"].startswith("text/javascript")
    for name in ("/page/..%2fviews.py", "/page/../views.py", "/page/", "/page/none.js"):
        assert ask(app, name).status_code == 404


def test_the_page_is_asked_for_once(app: FastAPI) -> None:
    """Afterwards it is known by its ETag."""

    async def asked_twice() -> list[int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
            first = await client.get("/page/page.js")
            again = await client.get("/page/page.js", headers={"If-None-Match": first.headers["etag"]})
            return [first.status_code, again.status_code]

    assert asyncio.run(asked_twice()) == [200, 304]


def test_the_page_has_the_colours_of_the_reports() -> None:
    """A campaign looks the same in a notebook."""
    style = (FOLDER / "style.css").read_text()
    assert [state for state, colour in COLOURS.items() if f"--{state}: {colour};" not in style] == []


KINDS_OF_SIGHT = {
    "most people": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no red": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
    "no green": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
    "no blue": ((1.256, -0.077, -0.179), (-0.078, 0.931, 0.148), (0.005, 0.691, 0.304)),
}
"""What eyes make of linear red, green and blue: Machado, Oliveira and Fernandes (2009), at full severity."""


@pytest.mark.parametrize("sight", KINDS_OF_SIGHT)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_whoever_sees_no_red_green_or_blue_tells_the_states_apart(sight: str, scheme: str) -> None:
    """Any two of them differ by 15 in CIE Lab at least; a difference of 2.3 is just seen."""
    style = (FOLDER / "style.css").read_text()
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    found = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", light))
    if scheme == "dark":
        found |= dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", dark.partition("* {")[0]))
    seen = {state: _lab(found[state], KINDS_OF_SIGHT[sight]) for state in State}
    for one, other in combinations(State, 2):
        assert math.dist(seen[one], seen[other]) > 15, (one, other)


def _lab(colour: str, sight: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """CIE Lab of a colour as somebody sees it, by the white of sRGB."""
    srgb = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in srgb]
    seen = [min(1.0, max(0.0, sum(map(mul, row, linear)))) for row in sight]
    to_xyz = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    xyz = [sum(map(mul, row, seen)) / white for row, white in zip(to_xyz, (0.9505, 1.0, 1.089), strict=True)]
    x, y, z = (value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116 for value in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def test_all_answers_are_frozen_models() -> None:
    """Answers are shared between requests, so nobody may change them."""
    for name, kind in vars(models).items():
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not BaseModel:
            assert kind.model_config.get("frozen"), name
