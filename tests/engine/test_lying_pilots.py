"""A pilot that lies changes nothing: whatever it says, the next honest one goes on, and merged files are exact.

Everything travels over HTTP to a real server. After each lie the ledger and the store are as they were.
"""

from __future__ import annotations

import itertools
import json
import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventmill.core.access_tokens import Role
from eventmill.ledger import Ledger
from eventmill.service.offers import Waiting
from eventmill.service.tokens import revoke
from tests.engine.lying_scene import FAILURE, Scene, every_item, outcomes, release
from tests.engine.service_lab import MERGE, Lab, RawPilot, commit, honest, served_lab, table_bytes


@pytest.fixture(autouse=True)
def a_change_counts_at_once(monkeypatch: pytest.MonkeyPatch, long_lead: None) -> None:
    monkeypatch.setattr("eventmill.service.campaigns.KEPT_SECONDS", 0.0)
    monkeypatch.setattr("eventmill.service.tokens.KEPT_SECONDS", 0.0)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with served_lab(tmp_path) as made:
        yield made


@pytest.fixture
def scene(lab: Lab) -> Scene:
    return Scene(lab)


def test_ranges_that_are_not_the_liars(scene: Scene) -> None:
    """Outside the block or the input, across a merge window, empty, backwards: not stored, not believed."""
    claim, liar = scene.lies, scene.liar
    assert (claim["block"]["start"], claim["block"]["stop"]) == (20, 40)
    pieces = [
        (0, 10),
        (10, 30),
        (19, 21),
        (30, 50),
        (30, 41),
        (40, 50),
        (50, 60),
        (35, 45),
        (59, 61),
        (0, 10**18 - 1),
    ]
    with scene.nothing_changes():
        for start, stop in pieces:
            data = table_bytes(np.arange(max(0, start), min(stop, 1000)))
            assert liar.put(claim["lease"], (start, stop), data).status_code in (409, 422), (start, stop)
            asked = {
                "lease": claim["lease"],
                "range": {"start": start, "stop": stop},
                "bytes": 1,
                "sha256": "0" * 64,
                "md5": "0" * 32,
            }
            assert liar.http.post(f"{liar.path}/uploads", json=asked).status_code in (409, 422)
            item = commit(claim, (start, stop), data, key=scene.done["outputs"][0]["key"])
            assert outcomes(liar.report(item)) == ["unproven"]
            if stop > 2 * MERGE or start < 20 or stop > 40:
                failed = {
                    "type": "fail",
                    "lease": claim["lease"],
                    "failure": FAILURE,
                    "report_id": secrets.token_hex(8),
                }
                failed["range"] = {"start": start, "stop": stop}
                assert outcomes(liar.report(failed)) in (["fenced"], ["422"])
        for bad in ("5-5", "9-3", "-1-3", "1-", "a-b", "1-2-3", "١-٢", "1" * 30 + "-2"):
            path = f"{liar.path}/outputs/{claim['lease']}/{bad}"
            assert liar.http.put(path, params={"sha256": "0" * 64}, content=b"").status_code in (404, 422), bad
    scene.goes_on()


def test_leases_of_others(scene: Scene) -> None:
    """Of another session, campaign, input; guessed, mixed: all that is said about them is refused or too late."""
    liar = scene.liar
    mine, theirs, lies = (each["lease"] for each in (scene.mine, scene.elsewhere, scene.lies))
    data = honest(scene.mine, (10, 20))
    with scene.nothing_changes():
        for lease in (mine, theirs):
            assert liar.put(lease, (10, 20), data).status_code == 403
            for item in every_item(scene, lease):
                refused = liar.report(item)
                assert refused.status_code == 403 and mine not in refused.json()["detail"].replace(lease, "")
                # what is said of one's own beside it does not happen either
                assert liar.report(release(lies), item).status_code == 403
    newest = scene.lab.ledger.newest_attempt()
    parts = [set(each) for each in zip(*(name.split(".") for name in (mine, theirs, lies)), strict=True)]
    parts = [parts[0] | {"999"}, *parts[1:3], parts[3] | {str(newest + 1)}]
    with scene.nothing_changes():
        for forged in {".".join(each) for each in itertools.product(*parts)} - {lies}:
            said = outcomes(liar.report(every_item(scene, forged)[0]))
            # "duplicate": this very object, of which only its maker knows the SHA-256, counts already
            assert said in (["403"], ["fenced"], ["unproven"], ["duplicate"]), forged
            assert outcomes(liar.report(release(forged))) in (["403"], ["fenced"]), forged
    with scene.nothing_changes():
        for name in (
            "",
            "1",
            "1.2.3",
            "1.2.3.4.5",
            "a.b.c.d",
            "1.2.3.4\n",
            "-1.2.3.4",
            "١.٢.٣.٤",
            "1" * 19 + ".2.3.4",
        ):
            assert liar.report(release(name)).status_code == 422, name
    scene.goes_on()


def test_the_next_attempt_cannot_be_guessed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are numbers in a row: who names the next one, which another pilot gets meanwhile, changes nothing."""
    lab, liar = scene.lab, scene.liar
    campaign, block, item, _ = map(int, scene.lies["lease"].split("."))
    lab.offer("c")
    guesses = [f"{campaign}.{block + n}.{item}.{lab.ledger.newest_attempt() + 1}" for n in range(1, 6)]
    got: list[dict[str, Any]] = []
    report = Ledger.report

    def between(self: Ledger, items: Any) -> Any:
        if not got:  # after the service has looked whose leases these are, and before it reports
            got.extend(scene.honest.acquire())
        return report(self, items)

    monkeypatch.setattr(Ledger, "report", between)
    piece = {"start": 40, "stop": 50}
    lies = [
        {"type": "fail", "lease": lease, "range": piece, "failure": FAILURE, "report_id": secrets.token_hex(8)}
        for lease in guesses
    ]
    honest_renewal = {"type": "renew", "lease": scene.lies["lease"]}
    assert outcomes(liar.report(honest_renewal, *lies)) == ["accepted", *["fenced"] * len(lies)]
    assert got and got[0]["lease"] in guesses
    assert lab.campaigns["c"].count_incidents() == {}
    scene.goes_on()


def test_sessions_of_others(scene: Scene) -> None:
    """Another's session is not there for this token, whatever is asked of it; an ended one does nothing."""
    liar = scene.liar
    with scene.nothing_changes():
        for other in (scene.honest.path, scene.theirs.path, "/v1/sessions/0000000000000000"):
            for method, path, asked in (
                ("POST", "/acquire", {"nonce": "0123456789"}),
                ("POST", "/report", {"items": [release(scene.mine["lease"])]}),
                ("DELETE", "", None),
            ):
                assert liar.http.request(method, other + path, json=asked).status_code == 404
        for odd in ("..", "%2e%2e", "%00", "a" * 5000, "*", "' OR 1=1 --", "0" * 15 + "/", "０" * 16):
            answer = liar.http.post(f"/v1/sessions/{odd}/acquire", json={"nonce": "0123456789"})
            assert answer.status_code in (404, 405, 422), odd
    ended = RawPilot(scene.lab, scene.lab.token(Role.PILOT, "c"))
    scene.lab.offer("c")
    (claim,) = ended.acquire()
    assert ended.http.delete(ended.path).json() == {"released": 1}
    with scene.nothing_changes():
        assert ended.http.post(f"{ended.path}/acquire", json={"nonce": "0123456789"}).status_code == 409
        assert ended.put(claim["lease"], (40, 50), honest(claim, (40, 50))).status_code == 409
        assert outcomes(ended.report(release(claim["lease"]))) == ["fenced"]
    scene.goes_on()


@pytest.mark.parametrize("how", ["its token is revoked", "it is ended"])
def test_a_call_that_is_held_meanwhile(scene: Scene, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pilot that waits for work gets none any more when it was ended, or its token was revoked; nor later."""
    lab, liar, waits, wait = scene.lab, scene.liar, threading.Event(), Waiting.wait
    session = lab.ledger.session(liar.session)
    assert session is not None

    async def noted(self: Waiting, seconds: float, **which: Any) -> None:
        waits.set()
        await wait(self, seconds, **which)

    def ask() -> Any:
        asked = {"nonce": "0123456789", "wait_seconds": 20}
        return liar.http.post(f"{liar.path}/acquire", json=asked)

    monkeypatch.setattr(Waiting, "wait", noted)
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(ask)
        assert waits.wait(20)
        if how == "it is ended":
            lab.ledger.end_session(liar.session, reason="an operator ended it")
        else:
            revoke(lab.ledger, session.token_id)
        lab.offer("c")  # the oldest that is ready: those of the liar
        assert held.result().status_code in (401, 409)
    (got,) = scene.honest.acquire()
    assert got["block"] == scene.lies["block"]
    if how == "it is ended":
        assert outcomes(liar.report(release(scene.lies["lease"]))) == ["fenced"]
        return
    with scene.nothing_changes():
        assert liar.report(release(scene.lies["lease"])).status_code == 401
        assert liar.put(scene.lies["lease"], (20, 30), b"").status_code == 401


def test_failures_reported_again(scene: Scene) -> None:
    """A failure is charged once, however often it is told."""
    failed = {"type": "fail", "lease": scene.lies["lease"], "range": {"start": 20, "stop": 30}, "failure": FAILURE}
    failed["report_id"] = "0123456789"
    assert outcomes(scene.liar.report(failed)) == ["accepted"]
    with scene.nothing_changes():
        assert outcomes(scene.liar.report(failed, failed, failed)) == ["accepted"] * 3
    scene.goes_on()


WORDS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["NaN", 2**63, -1, 1e308, "../../etc/passwd", "\ud800", "\x00", {}, []]),
)
FIELDS = ["type", "lease", "range", "outputs", "payload", "begun", "failure", "report_id", "schema", "cpu_seconds"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    which=st.integers(0, 7),
    changes=st.dictionaries(st.sampled_from(FIELDS), WORDS, min_size=1, max_size=3),
    raw=st.booleans(),
)
def test_whatever_is_said_is_no_fault_of_the_service(
    tmp_path_factory: pytest.TempPathFactory, which: int, changes: dict[str, Any], raw: bool
) -> None:
    """Items with fields of any kind: an answer, never a defect, and of another's lease nothing changes."""
    scene = _shared(tmp_path_factory)
    with scene.nothing_changes():
        item = {**every_item(scene, scene.mine["lease"])[which], **changes}
        said = [item, "x"] if raw else [item]
        answer = scene.liar.http.post(
            f"{scene.liar.path}/report",
            content=json.dumps({"items": said}).encode("utf-8", "surrogatepass"),
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code < 500, answer.text
        assert answer.status_code != 200 or set(outcomes(answer)) <= {"fenced", "unproven"}


_scenes: dict[str, Any] = {}


def _shared(factory: pytest.TempPathFactory) -> Scene:
    """One scene for all examples, because none of them changes anything."""
    if "scene" not in _scenes:
        stack = served_lab(factory.mktemp("shared"))
        _scenes["stack"], _scenes["scene"] = stack, Scene(stack.__enter__())
    found: Scene = _scenes["scene"]
    return found


@pytest.fixture(scope="module", autouse=True)
def the_shared_scene_ends() -> Iterator[None]:
    yield
    if "scene" in _scenes:
        _scenes.pop("scene").goes_on()
        _scenes.pop("stack").__exit__(None, None, None)
