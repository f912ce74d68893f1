"""Presigned addresses are for one key and for exactly these bytes; what is stored all the same, a merge finds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest

from eventmill.access import filesystem
from eventmill.core.access_tokens import Role
from tests.engine.service_lab import EVENTS, Lab, RawPilot, commit, honest, served_lab, table_bytes
from tests.servers import S3Server, environment


@pytest.fixture
def lab(tmp_path: Path, rclone_server: S3Server, long_lead: None) -> Iterator[Lab]:
    """A campaign `c` whose store is a bucket."""
    with environment(rclone_server.environment), served_lab(tmp_path) as made:
        made.begin("bucket", store=f"s3://out/{tmp_path.name}")
        yield made


class S3Pilot(RawPilot):
    """A pilot that stores outputs where it is told to."""

    def address(
        self, claim: Mapping[str, Any], piece: tuple[int, int], told: bytes, *, md5_of: bytes | None = None
    ) -> Any:
        """Where to put an output that has these bytes, as it says."""
        sent = told if md5_of is None else md5_of
        asked = {
            "lease": claim["lease"],
            "range": {"start": piece[0], "stop": piece[1]},
            "bytes": len(sent),
            "sha256": hashlib.sha256(told).hexdigest(),
            "md5": hashlib.md5(sent).hexdigest(),
        }
        answer = self.http.post(f"{self.path}/uploads", json=asked)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def stored(
        self, claim: Mapping[str, Any], piece: tuple[int, int], data: bytes | None = None
    ) -> dict[str, Any]:
        """Store an output; the commit that tells of it."""
        data = honest(claim, piece) if data is None else data
        where = self.address(claim, piece, data)
        answer = httpx.put(where["url"], content=data, headers=where["headers"])
        assert answer.status_code == 200, answer.text
        return dict(commit(claim, piece, data, key=where["key"]))


def finish(lab: Lab, pilot: S3Pilot) -> list[int]:
    """The honest pilot does the rest; the events in the merged files."""
    handle = lab.campaigns["bucket"]
    for _ in range(10):
        lab.offer_all("bucket")
        while claims := pilot.acquire(blocks=8):
            for claim in claims:
                pilot.do(claim)
        lab.merge("bucket")
        if handle.counts().merged == EVENTS:
            break
    assert lab.ledger.audit(handle.id) == ()
    place, files = handle.record.store_url, filesystem("s3://", None)
    found = []
    for merged in lab.ledger.merged_outputs(handle.id):
        with files.open(f"{place}/{merged.key}") as file:
            found += pq.read_table(file)["event"].to_pylist()
    return found


def test_other_bytes_than_were_told_are_refused(lab: Lab) -> None:
    """More, fewer or others, also when the address is used again after the commit; or for another key."""
    pilot = S3Pilot(lab, lab.token(Role.PILOT, "bucket"))
    lab.offer("bucket")
    (claim,) = pilot.acquire()
    data = honest(claim, (0, 10))
    where, foreign = (pilot.address(claim, piece, data) for piece in ((0, 10), (10, 20)))
    other = table_bytes(np.arange(1000, 1010, dtype=np.int64)).ljust(len(data), b"\0")[: len(data)]
    md5 = {"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="}

    def lies() -> None:
        for content, headers in (
            (other, where["headers"]),
            (data + b"\0", where["headers"]),
            (data[:-1], where["headers"]),
            (other, md5),
            (other, {}),
        ):
            assert 400 <= httpx.put(where["url"], content=content, headers=headers).status_code < 500
        elsewhere = where["url"].replace(where["key"], foreign["key"])
        assert elsewhere != where["url"]
        for url in (elsewhere, where["url"].partition("?")[0]):
            assert 400 <= httpx.put(url, content=data, headers=where["headers"]).status_code < 500
        for method in ("DELETE", "GET"):
            assert httpx.request(method, where["url"]).status_code == 403

    lies()
    item = commit(claim, (0, 10), data, key=where["key"])
    assert pilot.report(item).json()["replies"][0]["outcomes"] == ["unproven"]
    assert httpx.put(where["url"], content=data, headers=where["headers"]).status_code == 200
    assert pilot.report(item).json()["replies"][0]["outcomes"] == ["accepted"]
    lies()
    rest = pilot.stored(claim, (10, 20))
    assert pilot.report(rest).json()["replies"][0]["outcomes"] == ["accepted"]
    assert finish(lab, pilot) == list(range(EVENTS))
    assert lab.campaigns["bucket"].count_incidents() == {}, "something had to be computed again"


def test_a_sum_of_other_bytes_is_found_at_the_merge(lab: Lab) -> None:
    """A liar tells the MD5 of what it sends and the SHA-256 of something else: believed until it is read."""
    honest_one, liar = (S3Pilot(lab, lab.token(Role.PILOT, "bucket")) for _ in range(2))
    lab.offer("bucket")
    lab.offer("bucket")
    (mine,), (lies,) = honest_one.acquire(), liar.acquire()
    honest_one.do(mine)
    for each in lies["ranges"]:
        piece = each["start"], each["stop"]
        told, sent = honest(lies, piece), table_bytes(np.arange(1000, 1010, dtype=np.int64))
        where = liar.address(lies, piece, told, md5_of=sent)
        assert httpx.put(where["url"], content=sent, headers=where["headers"]).status_code == 200
        item = commit(lies, piece, told, key=where["key"], bytes=len(sent))
        assert liar.report(item).json()["replies"][0]["outcomes"] == ["accepted"]
    (told_of_merge,) = lab.merge("bucket")
    assert "2 of 4 range outputs were damaged" in told_of_merge
    lines = lab.ledger.journal(lab.campaigns["bucket"].id, "corrupt")
    assert {line.holder for line in lines} == {f"pilot/host/{liar.session}"}
    assert finish(lab, honest_one) == list(range(EVENTS))
