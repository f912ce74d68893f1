"""Who may do what at the event service: each endpoint for each role, and what those who may not are told."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from eventmill.core.access_tokens import Role
from eventmill.core.states import State
from eventmill.service.app import create_app
from tests.engine.service_lab import Lab, new_lab

ROLES = (
    "none",
    "garbage",
    "expired",
    "revoked",
    "reader",
    "theirs",
    "their operator",
    "colleague",
    "operator",
    "pilot",
)
"""`pilot` has the session, `colleague` another token for the same campaign; `theirs` are of another campaign."""

ENDLESS = 0
"""Not asked: the answer is a stream that does not end (tests/engine/test_service_streams.py)."""

NOBODY = dict.fromkeys(("none", "garbage", "expired", "revoked"), 401)


@dataclass
class World:
    """A pilot at work for campaign `c`, and somebody of each role."""

    lab: Lab
    app: FastAPI
    tokens: dict[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)

    def ask(self, role: str, method: str, path: str, **options: Any) -> httpx.Response:
        """One call of somebody."""
        headers = {"Authorization": f"Bearer {self.tokens[role]}"} if role != "none" else {}

        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                return await client.request(method, path.format(**self.values), headers=headers, **options)

        return asyncio.run(asked())


@pytest.fixture
def world(tmp_path: Path, long_lead: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr("eventmill.service.campaigns.KEPT_SECONDS", 0.0)  # a new campaign is known at once
    with new_lab(tmp_path) as lab:
        (tmp_path / "events.csv").write_text("event\n" + "\n".join(map(str, range(20))))
        lab.begin("files", inputs=[str(tmp_path / "events.csv")])
        lab.offer("c")
        app = create_app(lab.ledger, str(tmp_path / "ledger.sqlite"), folder=tmp_path)
        made = World(lab, app)
        _fill(made)
        yield made


def _fill(made: World) -> None:
    lab = made.lab
    revoked = lab.token(Role.OPERATOR)
    lab.ledger.revoke_token(revoked.split("_")[1])
    made.tokens = {
        "none": "",
        "garbage": "evm_000000000000_" + "x" * 43,
        "expired": lab.token(Role.OPERATOR, lasts=timedelta()),
        "revoked": revoked,
        "reader": lab.token(Role.READER, "c", "files"),
        "theirs": lab.token(Role.PILOT, "other"),
        "their operator": lab.token(Role.OPERATOR, "other"),
        "colleague": lab.token(Role.PILOT, "c", "files"),
        "operator": lab.token(Role.OPERATOR),
        "pilot": lab.token(Role.PILOT, "c", "files"),
    }
    asked = {"name": "host", "slots": 1, "nonce": "0123456789"}
    session = made.ask("pilot", "POST", "/v1/sessions", json=asked).json()["session"]
    made.values = {"session": session}
    asked = {"blocks": 1, "nonce": "0123456789"}
    (claim,) = made.ask("pilot", "POST", "/v1/sessions/{session}/acquire", json=asked).json()["claims"]
    files = lab.campaigns["files"]
    made.values |= {
        "lease": claim["lease"],
        "digest": claim["payload"],
        "campaign": files.id,
        "input": lab.ledger.inputs(files.id)[0].id,
        "token": lab.token(Role.PILOT, "c").split("_")[1],
        "sha256": hashlib.sha256(b"bytes").hexdigest(),
        "name": "c",
    }


def _upload(world: World) -> dict[str, Any]:
    return {
        "json": {
            "lease": world.values["lease"],
            "range": {"start": 0, "stop": 10},
            "bytes": 5,
            "sha256": world.values["sha256"],
            "md5": hashlib.md5(b"bytes").hexdigest(),
        }
    }


def _report(world: World) -> dict[str, Any]:
    return {"json": {"items": [{"type": "renew", "lease": world.values["lease"]}]}}


def _acquire(world: World) -> dict[str, Any]:
    return {"json": {"nonce": "0123456789"}}


def _begin(world: World) -> dict[str, Any]:
    return {"json": {"name": "host", "slots": 1, "nonce": "another-nonce"}}


def _pause(world: World) -> dict[str, Any]:
    return {"json": {"state": "paused"}}


def _output(world: World) -> dict[str, Any]:
    return {"content": b"bytes", "params": {"sha256": world.values["sha256"]}}


def nothing(world: World) -> dict[str, Any]:
    """A call without a body."""
    return {}


def everybody(status: int, **others: int) -> dict[str, int]:
    """All roles are answered so, but those that are named."""
    return dict.fromkeys(ROLES, status) | {role.replace("_", " "): each for role, each in others.items()}


def of_a_session(status: int, *, operator: int = 404) -> dict[str, int]:
    """A session is its token's alone; that it is another's is told as if it were not there."""
    return everybody(404, reader=403, operator=operator, pilot=status) | NOBODY


Row = tuple[Callable[[World], dict[str, Any]], dict[str, int]]

TABLE: dict[tuple[str, str], Row] = {
    ("GET", "/openapi.json"): (nothing, everybody(200)),
    ("POST", "/v1/sessions"): (_begin, everybody(201, reader=403) | NOBODY),
    ("GET", "/v1/sessions"): (nothing, everybody(403, operator=200, their_operator=200) | NOBODY),
    ("DELETE", "/v1/sessions/{session}"): (nothing, of_a_session(200, operator=200)),
    ("POST", "/v1/sessions/{session}/acquire"): (_acquire, of_a_session(200)),
    ("POST", "/v1/sessions/{session}/report"): (_report, of_a_session(200)),
    ("POST", "/v1/sessions/{session}/uploads"): (_upload, of_a_session(200)),
    ("PUT", "/v1/sessions/{session}/outputs/{lease}/{piece}"): (_output, of_a_session(201)),
    ("GET", "/v1/payloads/{digest}"): (nothing, everybody(200, reader=403) | NOBODY),
    ("GET", "/v1/inputs/{campaign}/{input}"): (
        nothing,
        everybody(200, reader=403, theirs=404, their_operator=404) | NOBODY,
    ),
    ("POST", "/v1/campaigns/{name}/state"): (_pause, everybody(403, operator=200, their_operator=404) | NOBODY),
    ("GET", "/v1/tokens"): (nothing, everybody(403, operator=200, their_operator=200) | NOBODY),
    ("DELETE", "/v1/tokens/{token}"): (nothing, everybody(403, operator=200, their_operator=404) | NOBODY),
    ("GET", "/v1/campaigns"): (nothing, everybody(200) | NOBODY),
    ("GET", "/v1/campaigns/{name}"): (nothing, everybody(200, theirs=404, their_operator=404) | NOBODY),
    ("GET", "/v1/campaigns/{name}/map"): (nothing, everybody(200, theirs=404, their_operator=404) | NOBODY),
    ("GET", "/v1/campaigns/{name}/events"): (nothing, everybody(ENDLESS, theirs=404, their_operator=404) | NOBODY),
    ("GET", "/metrics"): (nothing, everybody(200) | NOBODY),
    ("GET", "/healthz"): (nothing, everybody(200)),
    ("GET", "/readyz"): (nothing, everybody(200)),
    ("GET", "/"): (nothing, everybody(200)),
    ("GET", "/page"): (nothing, everybody(307)),
    ("GET", "/v1/messages"): (nothing, everybody(200)),
}


def routes_of(app: FastAPI) -> set[tuple[str, str]]:
    """Method and path of all that the app answers, whether or not its OpenAPI says so."""
    found: set[tuple[str, str]] = set()

    def look(routes: Any, prefix: str = "") -> None:
        for route in routes:
            inner = getattr(route, "original_router", None) or getattr(route, "app", None)
            if inner is not None and hasattr(inner, "routes") and not isinstance(route, APIRoute):
                look(inner.routes, prefix + getattr(route, "path", ""))
            else:
                methods = getattr(route, "methods", None) or {"GET"}
                found.update((method, prefix + route.path) for method in methods - {"HEAD"})

    look(app.routes)
    return found


def test_the_table_has_all_routes(world: World) -> None:
    """A new route has to be thought about: who may call it?"""
    described = {(method.upper(), path) for path, each in world.app.openapi()["paths"].items() for method in each}
    assert described | {("GET", "/openapi.json")} <= routes_of(world.app)
    assert routes_of(world.app) == set(TABLE)


@pytest.mark.parametrize("route", TABLE, ids=" ".join)
def test_each_role_at_each_endpoint(world: World, route: tuple[str, str]) -> None:
    """Whoever may not call it changes nothing, and hears one line."""
    (method, path), (options, expected) = route, TABLE[route]
    path = path.replace("{piece}", "0-10")
    for role in ROLES:
        if expected[role] == ENDLESS:
            continue
        before = world.lab.everything()
        answer = world.ask(role, method, path, **options(world))
        assert answer.status_code == expected[role], (role, answer.text)
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            assert "\n" not in answer.json()["detail"] and answer.json()["status"] == answer.status_code
            assert world.lab.everything() == before
            assert role == "none" or world.tokens[role].split("_", 2)[2] not in answer.text
        if answer.status_code == 401:
            assert answer.headers["www-authenticate"] == "Bearer"


ABSENT = {
    "session": "0" * 16,
    "campaign": 999,
    "name": "nobody",
    "token": "0" * 12,
    "digest": "0" * 16,
    "input": 999,
}


@pytest.mark.parametrize("route", [route for route in TABLE if "{" in route[1]], ids=" ".join)
@pytest.mark.parametrize("role", ["theirs", "their operator", "colleague"])
def test_what_is_not_yours_is_told_as_what_is_not_there(world: World, route: tuple[str, str], role: str) -> None:
    """The same status and the same words, so that nobody learns what others have."""
    (method, path), (options, expected) = route, TABLE[route]
    if expected[role] != 404:
        return
    path, given = path.replace("{piece}", "0-10"), options(world)
    theirs = world.ask(role, method, path, **given).json()
    for name in re.findall(r"{(\w+)}", path):
        if name in ABSENT:
            shown = str(world.values[name])
            world.values[name] = ABSENT[name]
            absent = world.ask(role, method, path, **given).json()
            assert absent["status"] == theirs["status"] == 404
            told = (
                theirs["detail"]
                .replace(f" {shown} ", f" {ABSENT[name]} ")
                .replace(f"'{shown}'", f"'{ABSENT[name]}'")
            )
            assert absent["detail"] == told
            world.values[name] = type(ABSENT[name])(shown)


def test_an_operator_sees_and_ends_pilots(world: World) -> None:
    """The pilot's blocks go to others at once, and it is told why; others' operators see nothing."""
    (listed,) = world.ask("operator", "GET", "/v1/sessions").json()["sessions"]
    assert (listed["session"], listed["name"]) == (world.values["session"], "host")
    assert listed["token"] == world.tokens["pilot"].split("_")[1]
    assert world.ask("their operator", "GET", "/v1/sessions").json() == {"sessions": []}
    ended = world.ask("operator", "DELETE", "/v1/sessions/{session}").json()
    assert ended == {"released": 1}
    assert world.ask("operator", "GET", "/v1/sessions").json() == {"sessions": []}
    refused = world.ask("pilot", "POST", "/v1/sessions/{session}/acquire", json={"nonce": "9876543210"})
    assert refused.status_code == 409 and "an operator ended it" in refused.json()["detail"]
    assert world.ask("operator", "DELETE", "/v1/sessions/{session}").json() == {"released": 0}


def test_an_operator_lists_and_revokes_tokens(world: World) -> None:
    """A token that is revoked is refused at once, its session ends, and no secret is ever shown."""
    pilot = world.tokens["pilot"].split("_")[1]
    listed = world.ask("operator", "GET", "/v1/tokens")
    assert {each["token"] for each in listed.json()["tokens"]} >= {pilot, world.values["token"]}
    for token in world.tokens.values():
        assert not token or token.split("_", 2)[2] not in listed.text
    hashes = {each.sha256 for each in world.lab.ledger.tokens()}
    assert not any(each in listed.text for each in hashes)
    of_other = world.ask("their operator", "GET", "/v1/tokens").json()["tokens"]
    assert {each["token"] for each in of_other} == {
        world.tokens[role].split("_")[1] for role in ("theirs", "their operator")
    }
    world.values["token"] = pilot
    assert world.ask("operator", "DELETE", "/v1/tokens/{token}").json() == {"token": pilot, "released": 1}
    refused = world.ask("pilot", "POST", "/v1/sessions/{session}/report", **_report(world))
    assert refused.status_code == 401 and "revoked" in refused.json()["detail"]
    assert world.lab.campaigns["c"].counts().leased == 0


def test_an_operator_pauses_and_goes_on(world: World) -> None:
    """As 'eventmill pause' does; said twice, it is one line in the journal. Other words are refused."""
    for state, told in (("paused", "drain"), ("paused", "drain"), ("cancelled", "stop"), ("run", "continue")):
        answer = world.ask("operator", "POST", "/v1/campaigns/{name}/state", json={"state": state})
        assert answer.json()["state"] == state
        reply = world.ask("pilot", "POST", "/v1/sessions/{session}/report", **_report(world)).json()
        assert reply["replies"][0]["directive"] == told
    assert len(world.lab.ledger.journal(world.lab.campaigns["c"].id, "wanted")) == 3
    answer = world.ask("operator", "POST", "/v1/campaigns/{name}/state", json={"state": "deleted"})
    assert answer.status_code == 422
    assert {span.state for _, span in world.lab.ledger.spans(world.lab.campaigns["c"].id)} == {
        State.READY,
        State.LEASED,
    }


def test_a_pilot_gets_work_of_its_campaigns_alone(world: World) -> None:
    """Whatever it asks for: its token decides, and a session for no campaign of it is a session without work."""
    for role, expected in (("theirs", set()), ("colleague", {"c"})):
        world.lab.offer("c")
        asked = {"name": "host", "slots": 1, "nonce": "0123456789", "campaigns": ["c", "other", "nobody"]}
        world.values["session"] = world.ask(role, "POST", "/v1/sessions", json=asked).json()["session"]
        claims = world.ask(role, "POST", "/v1/sessions/{session}/acquire", json={"nonce": "0123456789"}).json()
        assert {claim["campaign"] for claim in claims["claims"]} == expected


def test_payload_code_is_for_those_of_its_campaign(world: World) -> None:
    """Of another campaign's code nothing is told, not even that it is there."""
    (world.lab.folder / "p.py").write_text("def number(events, where):\n    return {'event': events + 1}\n")
    digest = world.lab.begin("secret").record.payload
    assert digest != world.values["digest"]
    world.values["digest"] = digest
    refused = world.ask("pilot", "GET", "/v1/payloads/{digest}")
    assert refused.status_code == 404
    assert world.ask("operator", "GET", "/v1/payloads/{digest}").status_code == 200
