"""What a pilot says of itself decides what it gets, over HTTP; and it is told why it gets nothing."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from eventmill.core.access_tokens import Role
from eventmill.core.environment import Environment
from eventmill.messages import convert
from eventmill.pilot.agent import WAIT_SECONDS, Agent, _wait_seconds
from eventmill.rules.brokering import MARGIN_SECONDS, RESERVE
from eventmill.service_client.connection import Connection
from eventmill.service_client.session import Session, Work
from tests.engine.service_lab import EVENTS, Lab, RawPilot, served_lab
from tests.waiting import until


@pytest.fixture(autouse=True)
def a_change_counts_at_once(monkeypatch: pytest.MonkeyPatch, long_lead: None) -> None:
    monkeypatch.setattr("eventmill.service.campaigns.KEPT_SECONDS", 0.0)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with served_lab(tmp_path) as made:
        yield made
        while _clients:
            _clients.pop().close()


def begin(lab: Lab, name: str, **asked: Any) -> None:
    """A campaign that asks for something, with a block for pilots."""
    lab.begin(name, payload=asked)
    lab.offer(name)


_clients: list[httpx.Client] = []
"""Closed at the end of each test."""


def pilot(lab: Lab, *campaigns: str, **changes: Any) -> RawPilot:
    made = RawPilot(lab, lab.token(Role.PILOT), campaigns=list(campaigns), **changes)
    _clients.append(made.http)
    return made


def ours(lab: Lab, *campaigns: str) -> Session:
    """A session as our own pilot has it."""
    _clients.append(httpx.Client(timeout=60))
    token = lab.token(Role.PILOT, *campaigns)
    return Session(Connection(lab.url, token=token, patience_seconds=60, client=_clients[-1]), name="a", slots=1)


def ask(pilot: RawPilot, **said: Any) -> dict[str, Any]:
    """The whole answer of an acquire."""
    answer = pilot.http.post(f"{pilot.path}/acquire", json={"nonce": secrets.token_hex(8), **said})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def refusals(reply: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["campaign"], each["kind"]) for each in reply["refusals"]]


def taken(reply: dict[str, Any]) -> list[str]:
    return [claim["campaign"] for claim in reply["claims"]]


def test_a_pilot_gets_what_fits_it(lab: Lab) -> None:
    """A GPU, a site, cores: of one campaign it gets blocks, of another it is told why not."""
    begin(lab, "gpu", needs={"gpus": 1})
    begin(lab, "cern", needs={"sites": ["CERN"]})
    lab.offer("c")
    names = ["gpu", "cern", "c"]
    plain = ask(pilot(lab, *names, slots=1), blocks=3)
    assert (taken(plain), refusals(plain)) == (["c"], [("gpu", "gpus"), ("cern", "site")])
    assert "it wants 1 GPU for each slot, and this pilot has 0 for 1 slot" in plain["refusals"][0]["reason"]
    has_all = ask(pilot(lab, *names, slots=1, offers={"gpus": 1, "site": "CERN"}), blocks=3)
    assert (taken(has_all), refusals(has_all)) == (["gpu", "cern"], [])
    order, _ = convert.order_from_text(has_all["claims"][0]["order"])
    assert order.needs.gpus == 0  # what was asked of it before it got the block, is of no use with each block


def test_a_pilot_looks_for_software_before_it_gets_work(lab: Lab) -> None:
    """It is asked, says what is missing, and gets blocks only if nothing is. No lease is begun for that."""
    begin(lab, "new", environment=["numpy==0.1"])
    attempts = lab.ledger.newest_attempt()
    one = pilot(lab, "new")
    silent = ask(one, wait_seconds=0)
    assert refusals(silent) == [("new", "environment")]  # one that knows nothing of it gets nothing
    asked = ask(one, environments={}, wait_seconds=20)  # not held: it has something to do
    (wanted,) = asked["environments"]
    assert (asked["claims"], asked["refusals"]) == ([], [])
    assert wanted == {
        "digest": Environment(("numpy==0.1",)).digest, "packages": ["numpy==0.1"], "path": None, "image": None
    }  # fmt: skip
    lacks = ask(one, environments={wanted["digest"]: ["numpy 0.1 (found 2)"]})
    assert (lacks["claims"], refusals(lacks)) == ([], [("new", "environment")])
    assert lacks["refusals"][0]["reason"].endswith("lacks what payload.environment asks for: numpy 0.1 (found 2)")
    assert lab.ledger.newest_attempt() == attempts
    has = ask(one, environments={wanted["digest"]: []})
    assert taken(has) == ["new"] and has["environments"] == []
    lab.offer("new")
    assert taken(ask(one)) == ["new"]  # what it told once, the ledger knows


def test_a_pilot_of_ours_looks_by_itself(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """The session answers with the next call; what is here is here, what is not is told."""
    begin(lab, "here", environment={"path": str(lab.folder)})
    begin(lab, "gone", environment={"path": str(lab.folder / "gone")})
    session = ours(lab, "here", "gone")
    assert session.acquire(2, wait_seconds=20) == [] and session.is_asked
    (work,) = session.acquire(2, wait_seconds=20)
    assert not session.is_asked and work.order.campaign == "here" and work.order.environment is None
    (refusal,) = session.refusals
    assert (refusal.campaign, refusal.kind) == ("gone", "environment")
    assert refusal.reason.endswith(f"asks for: {lab.folder / 'gone'} (not there)")
    session.end()


def test_a_pilot_says_once_why_it_gets_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line for each campaign and reason, at once, however often it asks."""
    monkeypatch.setattr("eventmill.pilot.agent.WAIT_SECONDS", 0.2)
    said: list[str] = []  # not by way of handlers: other tests may have left some
    monkeypatch.setattr("eventmill.pilot.agent.logger.warning", lambda text, *told: said.append(text % told))
    begin(lab, "gone", environment={"path": str(lab.folder / "gone")})
    begin(lab, "gpu", needs={"gpus": 0.5})
    session = ours(lab, "gone", "gpu")
    calls, acquire = list[int](), session.acquire

    def counted(blocks: int, **said: Any) -> list[Work]:
        calls.append(blocks)
        return acquire(blocks, **said)

    monkeypatch.setattr(session, "acquire", counted)
    agent = Agent(session, 1)
    with ThreadPoolExecutor(1) as executor:
        ended = executor.submit(agent.run)
        until(lambda: len(calls) > 5 or ended.done(), seconds=60)
        session.leave = "enough"
        assert ended.result(60) == "enough"
    session.end()
    told = [each.removeprefix("no work of campaign ") for each in said if each.startswith("no work of campaign ")]
    assert set(told) == {
        "'gpu' for this pilot: it wants 0.5 GPU for each slot, and this pilot has 0 for 1 slot",
        "'gone' for this pilot: this pilot lacks what payload.environment asks for: "
        f"{lab.folder / 'gone'} (not there)",
    }
    assert len(told) == 2
    assert agent.totals.blocks == 0 and lab.ledger.audit(lab.campaigns["gone"].id) == ()


def test_a_call_is_answered_before_its_pilot_ends() -> None:
    """So that a pilot that gets nothing for the little time that it has learns why."""
    assert [_wait_seconds(left) for left in (None, 1000.0, 8.0, 0.5)] == [WAIT_SECONDS, WAIT_SECONDS, 4.0, 1.0]


def measured(lab: Lab, *, seconds_per_event: float) -> None:
    """A block of campaign c is done by somebody, so the speed is known."""
    lab.offer("c")
    worker = pilot(lab, "c")
    (claim,) = worker.acquire()
    for each in claim["ranges"]:
        done = worker.stored(claim, (each["start"], each["stop"]))
        done["outputs"][0]["wall_seconds"] = seconds_per_event * (each["stop"] - each["start"])
        assert worker.report(done).json()["replies"][0]["outcomes"] == ["accepted"]


def enough_for(events: int, *, seconds_per_event: float) -> float:
    return MARGIN_SECONDS + RESERVE * seconds_per_event * events + 0.1


def test_a_pilot_that_ends_soon_gets_what_it_can_do(lab: Lab) -> None:
    """A block is cut behind the last range that ends in time; if none does, it is told so, and others get it."""
    measured(lab, seconds_per_event=2.0)
    lab.offer("c")  # two ranges of ten events
    left = {events: enough_for(events, seconds_per_event=2.0) for events in (9, 10, 19)}
    late = ask(pilot(lab, "c"), seconds_left=left[9])
    assert (late["claims"], refusals(late)) == ([], [("c", "time")])
    assert "an event takes some 2 s, so 9 events would" in late["refusals"][0]["reason"]
    (claim,) = ask(pilot(lab, "c"), seconds_left=left[19])["claims"]
    assert (claim["block"], len(claim["ranges"])) == ({"start": 20, "stop": 30}, 1)
    assert lab.campaigns["c"].counts().ready == EVENTS - 20 - 10
    session = pilot(lab, "c", offers={"seconds_left": left[10]})  # it says so only when it begins
    lab.offer("c")
    (claim,) = ask(session)["claims"]
    assert len(claim["ranges"]) == 1
    assert lab.ledger.audit(lab.campaigns["c"].id) == ()


def test_nothing_is_said_of_time_while_there_is_no_block(lab: Lab) -> None:
    """Nor while another pilot with as little time gets one."""
    measured(lab, seconds_per_event=2.0)
    soon = enough_for(10, seconds_per_event=2.0)
    assert ask(pilot(lab, "c"), seconds_left=soon)["refusals"] == []
    lab.offer("c", events=10)
    assert ask(pilot(lab, "c"), seconds_left=soon)["refusals"] == []


def test_operators_see_what_pilots_do_not_get(lab: Lab) -> None:
    """By campaign, and only of campaigns of their token."""
    begin(lab, "gpu", needs={"gpus": 1})
    pilot(lab, "gpu", "c", name="node1")
    for names, kinds in (((), [("gpu", "gpus")]), (("gpu", "c"), [("gpu", "gpus")])):
        header = {"Authorization": f"Bearer {lab.token(Role.OPERATOR, *names)}"}
        answer = httpx.get(f"{lab.url}/v1/sessions", headers=header).json()
        (entry,) = [each for each in answer["sessions"] if each["name"] == "node1"]
        assert refusals(entry) == kinds
