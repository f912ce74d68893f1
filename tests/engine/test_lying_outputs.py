"""A pilot that lies about its outputs: not stored, not believed, or found at the merge and computed again."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from eventmill.formats.schemas import schema_to_bytes
from tests.engine.lying_scene import FAILURE, Scene, outcomes
from tests.engine.service_lab import EVENTS, RANGE, Lab, honest, served_lab, table_bytes


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


def test_the_code_is_another_one(scene: Scene) -> None:
    """What other code made is no result of this campaign."""
    item = scene.liar.stored(scene.lies, (20, 30))
    with scene.nothing_changes():
        for digest in ("0" * 16, "", "x" * 64, "../" * 10):
            assert outcomes(scene.liar.report({**item, "payload": digest})) == ["422"]
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
