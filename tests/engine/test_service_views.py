"""What is told of campaigns over HTTP: as the ledger has it, bounded, and described."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from itertools import count

import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel

from eventmill.core.ranges import Description, NewInput
from eventmill.core.records import CampaignRow, DesiredState, Incident
from eventmill.ledger import Ledger, create_ledger
from eventmill.service import models
from eventmill.service.problems import MEDIA_TYPE
from eventmill.service.shared_answers import SharedAnswers
from eventmill.service.views import MOST_CAMPAIGNS
from tests.conftest import SettableClock, new_campaign
from tests.engine.ledger_actions import SAID_NO, begin, commit, lead, output
from tests.engine.service_answers import ask
from tests.live_service import read_only_app

_numbers = count()


@pytest.fixture
def campaign(open_campaign: Callable[..., CampaignRow]) -> CampaignRow:
    """Of 100 events in three inputs, one without any."""
    return open_campaign(60, 0, 40)


@pytest.fixture
def app(ledger: Ledger) -> FastAPI:
    """The views of the ledger."""
    return read_only_app(ledger)


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


def test_events_are_counted_by_label_where_inputs_have_one(ledger: Ledger, app: FastAPI) -> None:
    """A data set of two inputs; of a campaign without labels there is nothing to tell."""
    campaign = new_campaign(ledger, ())
    inputs = [NewInput(f"f{n}", 10, "id", described=Description(label)) for n, label in enumerate("aab")]
    ledger.add_inputs(campaign.id, inputs)
    commit(ledger, begin(ledger, lead(ledger, campaign), events=10), (0, 10))
    told = models.CampaignDetail.model_validate_json(ask(app, "/v1/campaigns/c").content)
    assert [(each.label, each.total, each.processed) for each in told.labels] == [("a", 20, 10), ("b", 10, 0)]
    new_campaign(ledger, (5,), name="plain")
    assert ask(app, "/v1/campaigns/plain").json()["labels"] == []


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


def test_all_answers_are_frozen_models() -> None:
    """Answers are shared between requests, so nobody may change them."""
    for name, kind in vars(models).items():
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not BaseModel:
            assert kind.model_config.get("frozen"), name
