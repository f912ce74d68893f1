"""A pilot that lies changes nothing: whatever it says, the next honest one goes on, and merged files are exact.

Everything travels over HTTP to a real server. After each lie the ledger and the store are as they were.
"""

from __future__ import annotations

import base64
import itertools
import json
import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventmill.core.access_tokens import Role
from eventmill.formats.schemas import schema_to_bytes
from eventmill.ledger import Ledger
from eventmill.service.offers import Waiting
from eventmill.service.tokens import revoke
from tests.engine.service_lab import EVENTS, MERGE, RANGE, Lab, RawPilot, commit, honest, served_lab, table_bytes

FAILURE = {"kind": "payload", "summary": "no"}


@pytest.fixture(autouse=True)
def a_change_counts_at_once(monkeypatch: pytest.MonkeyPatch, long_lead: None) -> None:
    monkeypatch.setattr("eventmill.service.campaigns.KEPT_SECONDS", 0.0)
    monkeypatch.setattr("eventmill.service.tokens.KEPT_SECONDS", 0.0)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with served_lab(tmp_path) as made:
        yield made


class Scene:
    """An honest pilot and a liar, each with a block of campaign `c`; the honest one has stored one range."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.theirs = RawPilot(lab, lab.token(Role.PILOT, "other"))
        self.honest = RawPilot(lab, lab.token(Role.PILOT, "c"))
        self.liar = RawPilot(lab, lab.token(Role.PILOT, "c"))
        for name in ("c", "c", "other"):
            lab.offer(name)
        (self.mine,) = self.honest.acquire()
        (self.lies,) = self.liar.acquire()
        (self.elsewhere,) = self.theirs.acquire()
        self.done = self.honest.stored(self.mine, (0, RANGE))
        assert self.honest.report(self.done).json()["replies"][0]["outcomes"] == ["accepted"]

    @contextmanager
    def nothing_changes(self) -> Iterator[None]:
        """The ledger and the stores are as before."""
        before = self.lab.everything()
        yield
        after = self.lab.everything()
        for name, told in before.items():
            assert after[name] == told, name

    def goes_on(self) -> None:
        """The liar leaves, an honest pilot does the rest, and each event is in one merged file."""
        for pilot in (self.liar, self.honest):
            assert pilot.http.delete(pilot.path).status_code == 200
        self.lab.is_finished_by(RawPilot(self.lab, self.lab.token(Role.PILOT, "c")), "c")


@pytest.fixture
def scene(lab: Lab) -> Scene:
    return Scene(lab)


def outcomes(answer: Any) -> list[str]:
    """What became of each output or item; the status if the report was refused."""
    if answer.status_code != 200:
        assert 400 <= answer.status_code < 500, answer.text
        return [str(answer.status_code)]
    return [outcome for reply in answer.json()["replies"] for outcome in reply["outcomes"]]


def test_outputs_that_are_not_as_told(scene: Scene) -> None:
    """Wrong sizes, sums and keys: bytes that are not those told are not even stored, and no commit is believed."""
    piece, claim, liar = (20, 30), scene.lies, scene.liar
    data = honest(claim, piece)
    with scene.nothing_changes():
        wrong = liar.put(claim["lease"], piece, data, sha256="0" * 64)
        assert wrong.status_code == 422 and "nothing was stored" in wrong.json()["detail"]
    stored = liar.stored(claim, piece, data)
    key = stored["outputs"][0]["key"]
    campaign, attempt = key.split("/")[1:3]
    with scene.nothing_changes():
        for lie in (
            {"bytes": len(data) + 1},
            {"bytes": 0},
            {"bytes": 2**63 - 1},
            {"sha256": "0" * 64},
            {"range": {"start": 20, "stop": 29}},
            {"range": {"start": 30, "stop": 40}},
            {"range": {"start": 0, "stop": RANGE}},
            {"key": scene.done["outputs"][0]["key"]},
            {"key": key.replace(f"/{attempt}/", f"/{int(attempt) - 1}/")},
            {"key": key.replace(campaign, "other")},
            {"key": f"_ranges/c/../{campaign}/{attempt}/{key.rpartition('/')[2]}"},
            {"key": f"/{key}"},
            {"key": f"{key}\x00"},
            {"key": f"./{key}"},
            {"key": f"{scene.lab.folder}/ledger.sqlite"},
            {"key": "../../ledger.sqlite", "bytes": (scene.lab.folder / "ledger.sqlite").stat().st_size},
            {"key": ""},
            {"key": "k" * 1025},
        ):
            item = {**stored, "outputs": [{**stored["outputs"][0], **lie}]}
            assert outcomes(liar.report(item)) in (["unproven"], ["422"]), lie
    scene.goes_on()


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


def every_item(scene: Scene, lease: str) -> list[dict[str, Any]]:
    """All that can be said of a lease and changes something."""
    piece = {"start": 10, "stop": 20}
    return [
        {**scene.done, "lease": lease},
        {"type": "fail", "lease": lease, "range": piece, "failure": FAILURE, "report_id": secrets.token_hex(8)},
        {"type": "renew", "lease": lease, "begun": 2**63 - 1},
        {"type": "ask", "lease": lease},
        {"type": "setup_failed", "lease": lease, "failure": FAILURE},
        {"type": "setup", "lease": lease, "cpu_seconds": 1e12},
        {"type": "schema", "lease": lease, "schema": ""},
        release(lease),
    ]


def release(lease: str) -> dict[str, Any]:
    """Gives a block back."""
    return {"type": "release", "lease": lease}


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

    async def noted(self: Waiting, seconds: float) -> None:
        waits.set()
        await wait(self, seconds)

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


def test_said_twice_with_other_words(scene: Scene) -> None:
    """What counts is what was said first: other content for the same range, replays, and failures of it."""
    liar, claim, piece = scene.liar, scene.lies, (20, 30)
    first = liar.stored(claim, piece)
    assert outcomes(liar.report(first)) == ["accepted"]
    other = table_bytes(np.arange(1000, 1010, dtype=np.int64))
    second = liar.stored(claim, piece, other)  # it may still store something under its lease: nobody reads it
    with scene.nothing_changes():
        assert outcomes(liar.report(first)) == ["duplicate"]
        assert liar.put(claim["lease"], piece, honest(claim, piece)).status_code == 201  # the same object again
    before = scene.lab.everything()["c"][:4]
    assert outcomes(liar.report(second, first, second)) == ["fenced", "duplicate", "fenced"]
    failed = {"type": "fail", "lease": claim["lease"], "range": {"start": 20, "stop": 30}, "failure": FAILURE}
    assert outcomes(liar.report({**failed, "report_id": "0123456789"})) == ["fenced"]
    assert scene.lab.everything()["c"][:4] == before
    twice = {**first, "outputs": first["outputs"] * 2}
    with scene.nothing_changes():
        assert outcomes(liar.report(twice)) == ["422"]
    overlapping = [liar.stored(claim, each) for each in ((30, 36), (34, 40))]
    both = {**overlapping[0], "outputs": [each["outputs"][0] for each in overlapping]}
    assert outcomes(liar.report(both)) == ["accepted", "fenced"]
    scene.goes_on()
    assert not [key for key in scene.lab.objects("c") if key.startswith("_staged")]


def test_a_replay_after_the_merge(scene: Scene) -> None:
    """The block was done, merged and published; who stores or says it again is too late."""
    liar = scene.liar
    scene.honest.do({**scene.mine, "ranges": [{"start": 10, "stop": 20}]})
    items = [liar.stored(scene.lies, piece) for piece in ((20, 30), (30, 40))]
    assert outcomes(liar.report(*items)) == ["accepted"] * 2
    assert len(scene.lab.merge("c")) == 1
    with scene.nothing_changes():
        for piece, item in zip(((20, 30), (30, 40)), items, strict=True):
            for data in (honest(scene.lies, piece), b"other"):
                assert liar.put(scene.lies["lease"], piece, data).status_code == 409
            assert set(outcomes(liar.report(item))) <= {"duplicate", "fenced", "unproven"}
    scene.goes_on()


def test_failures_reported_again(scene: Scene) -> None:
    """A failure is charged once, however often it is told."""
    failed = {"type": "fail", "lease": scene.lies["lease"], "range": {"start": 20, "stop": 30}, "failure": FAILURE}
    failed["report_id"] = "0123456789"
    assert outcomes(scene.liar.report(failed)) == ["accepted"]
    with scene.nothing_changes():
        assert outcomes(scene.liar.report(failed, failed, failed)) == ["accepted"] * 3
    scene.goes_on()


def test_the_code_is_another_one(scene: Scene) -> None:
    """What other code made is no result of this campaign."""
    item = scene.liar.stored(scene.lies, (20, 30))
    with scene.nothing_changes():
        for digest in ("0" * 16, "", "x" * 64, "../" * 10):
            assert outcomes(scene.liar.report({**item, "payload": digest})) == ["422"]
    scene.goes_on()


def test_columns_of_a_liars_own(scene: Scene) -> None:
    """The columns of the campaign are fixed; what is no schema is refused."""
    lie = base64.b64encode(schema_to_bytes(pa.schema([("lie", pa.string())]))).decode()
    with scene.nothing_changes():
        for text in ("", "no base64!", base64.b64encode(b"no schema").decode(), "A" * 1000, lie[:-8]):
            item = {"type": "schema", "lease": scene.lies["lease"], "schema": text}
            assert outcomes(scene.liar.report(item)) == ["422"], text
    item = {"type": "schema", "lease": scene.lies["lease"], "schema": lie}
    with scene.nothing_changes():
        assert outcomes(scene.liar.report(item)) == ["accepted"]
    scene.goes_on()


@pytest.mark.parametrize(
    "lie",
    [b"no table", b"", table_bytes(np.arange(3)), table_bytes(np.arange(10), "lie"), table_bytes(np.zeros(10))],
    ids=["no table", "empty", "too few rows", "other columns", "other types"],
)
def test_an_output_that_no_merge_can_use(scene: Scene, lie: bytes) -> None:
    """Found at the merge and computed again; who made three of them gets no more work while others live."""
    lab, liar, campaign = scene.lab, scene.liar, scene.lab.campaigns["c"]
    worker = f"pilot/host/{liar.session}"
    scene.honest.do({**scene.mine, "ranges": [{"start": 10, "stop": 20}]})
    spoiled, claims = 0, [scene.lies]
    for _ in range(20):
        for claim in claims:
            items = [liar.stored(claim, (each["start"], each["stop"]), lie) for each in claim["ranges"]]
            spoiled += len(items)
            assert set(outcomes(liar.report(*items))) == {"accepted"}
        for claim in scene.honest.acquire(blocks=1):
            scene.honest.do(claim)
        lab.merge("c")
        if campaign.counts().merged == EVENTS:
            break
        lab.offer_all("c")
        claims = liar.acquire(blocks=1)
    assert campaign.ledger.quarantined(campaign.id) == {worker}
    assert liar.acquire() == []
    assert spoiled <= 2 * 4, "it got more than a block after three bad outputs"
    lab.is_finished_by(scene.honest, "c")
    lines = campaign.ledger.journal(campaign.id, "corrupt")
    assert {line.holder for line in lines} == {worker} and len(lines) == spoiled


def test_a_stored_object_that_is_changed_after_its_commit(scene: Scene) -> None:
    """As with a presigned address that is used again: the merge finds another sum, and it is computed again."""
    items = [scene.liar.stored(scene.lies, piece) for piece in ((20, 30), (30, 40))]
    scene.honest.do({**scene.mine, "ranges": [{"start": 10, "stop": 20}]})
    assert outcomes(scene.liar.report(*items)) == ["accepted"] * 2
    path = scene.lab.folder / "out-c" / items[0]["outputs"][0]["key"]
    other = table_bytes(np.arange(1000, 1010, dtype=np.int64))
    path.write_bytes(other + b"\0" * (path.stat().st_size - len(other)))
    (told,) = scene.lab.merge("c")
    assert "1 of 4 range outputs were damaged" in told
    assert scene.lab.campaigns["c"].counts().ready == EVENTS - 3 * RANGE - 0
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
