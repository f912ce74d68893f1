"""Pilots that share nothing with the service but HTTP: inputs by address, outputs through it or presigned."""

from __future__ import annotations

import os
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.access_tokens import Role
from eventmill.core.records import JournalKind
from eventmill.core.states import State
from eventmill.service.presigned import presigned_put
from tests.pilots import led_by_pilots
from tests.servers import S3Server, environment
from tests.waiting import until

PLAIN = {"PATH": "/usr/bin:/bin", "HOME": "/"}
"""What a pilot's host has: no credentials of anything but its token."""

KEEP = """
import pyarrow as pa
import time


def keep(events, where, *, pause=0.0):
    time.sleep(pause * len(events))
    return events.select(["event"]) if isinstance(events, pa.Table) else pa.table({"event": events})
"""


@pytest.fixture
def payload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keep.py").write_text(KEEP)
    return f"{tmp_path}/keep.py:keep"


@pytest.fixture
def s3(rclone_server: S3Server) -> Iterator[S3Server]:
    with environment(rclone_server.environment):
        yield rclone_server


def write(path: str, first: int, events: int) -> None:
    """A Parquet file with the numbers of its events, in row groups of a hundred."""
    table = pa.table(
        {"event": list(range(first, first + events)), "ballast": [os.urandom(2_000) for _ in range(events)]}
    )
    with fsspec.open(path, "wb") as file:
        pq.write_table(table, file, row_group_size=100, compression="none")


def spec(campaign: Callable[..., CampaignSpec], payload: str, **keys: object) -> CampaignSpec:
    """A campaign in ranges of fifty, with short blocks."""
    return campaign(payload, **{"ranges": {"events": 50, "block": "1s"}, "limits": {"lease": "20s"}, **keys})


def test_files_in_a_folder_of_the_service(
    campaign: Callable[..., CampaignSpec], payload: str, tmp_path: Path
) -> None:
    """A pilot reads byte ranges of them through the service, with its token: they need not lie on its host."""
    (tmp_path / "data").mkdir()
    for number in range(2):
        write(f"{tmp_path}/data/{number}.parquet", 1000 * number, 1000)
    given = spec(campaign, payload, inputs={"files": "data/*.parquet"})
    with led_by_pilots(given, folder=tmp_path) as led:
        with led.pilot(slots=2, environment=PLAIN, inherit=False):
            led.wait()
        assert led.events() == list(range(2000))


def test_a_file_that_changes_is_no_longer_read(
    campaign: Callable[..., CampaignSpec], payload: str, tmp_path: Path
) -> None:
    """The service serves only what was split: the pilot's blocks end, and no event is at fault."""
    (tmp_path / "data").mkdir()
    write(f"{tmp_path}/data/0.parquet", 0, 3000)
    slow = campaign(
        payload,
        inputs={"files": "data/*.parquet"},
        parameters={"pause": 0.01},
        ranges={"events": 50, "block": "1s"},
        limits={"lease": "20s", "failures": 5},
    )
    with led_by_pilots(slow, folder=tmp_path) as led, led.pilot(environment=PLAIN, inherit=False):
        led.until_done(200)
        write(f"{tmp_path}/data/0.parquet", 5000, 3000)
        until(lambda: "is not the file that was split" in led.said() or "has changed" in led.said(), seconds=60)
        assert led.opened.ledger.spans(led.opened.id, State.ABANDONED) == ()
        done = led.done()
        assert 200 <= done < 3000


def test_objects_in_s3_by_presigned_addresses(
    campaign: Callable[..., CampaignSpec], payload: str, s3: S3Server, tmp_path: Path
) -> None:
    """The pilot has no key of the bucket: it reads by signed addresses, and stores at others."""
    for number in range(2):
        write(f"s3://data/pilots/{number}.parquet", 1000 * number, 1000)
    given = spec(
        campaign,
        payload,
        inputs={"files": "s3://data/pilots/*.parquet"},
        output={"store": "s3://out/pilots", "merge": {"events": 500}},
    )
    with led_by_pilots(given, folder=tmp_path) as led:
        with led.pilot(slots=2, environment=PLAIN, inherit=False):
            led.wait()
        found = led.opened.ledger.merged_outputs(led.opened.id)
        files = [fsspec.open(f"s3://out/pilots/{file.key}") for file in found]
        numbers = []
        for each in files:
            with each as file:
                numbers += pq.read_table(file)["event"].to_pylist()
        assert sorted(numbers) == list(range(2000)) and led.opened.audit().problems == ()


def test_a_signed_address_takes_just_these_bytes(s3: S3Server) -> None:
    """Other bytes, or more of them, are refused by the store: a replay after the commit can change nothing."""
    url, headers = presigned_put(
        "s3://out/signed/a", None, seconds=60, size=5, md5="5d41402abc4b2a76b9719d911017c592"
    )

    def put(data: bytes, more: dict[str, str] | None = None) -> int:
        request = urllib.request.Request(url, data, {**headers, **(more or {})}, method="PUT")
        try:
            with urllib.request.urlopen(request) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    assert put(b"hello") == 200
    assert put(b"jello") >= 400 and put(b"hello!") >= 400
    assert put(b"jello", {"Content-MD5": "ZmFrZWZha2VmYWtlZmFrZQ=="}) >= 400
    with fsspec.open("s3://out/signed/a", "rb") as file:
        assert file.read() == b"hello"


def test_a_pilot_that_is_told_to_end_hands_in_and_gives_back(
    campaign: Callable[..., CampaignSpec], payload: str, tmp_path: Path
) -> None:
    """SIGTERM: what is computed counts, the rest goes to others at once, and nothing is charged."""
    slow = campaign(
        payload, events=1500, parameters={"pause": 0.01}, ranges={"events": 20}, limits={"lease": "60s"}
    )
    with led_by_pilots(slow, folder=tmp_path) as led:
        with led.pilot(slots=2, environment=PLAIN, inherit=False) as first:
            led.until_done(500)
            first.send_signal(signal.SIGTERM)
            assert first.wait(60) == 0, led.said()
            assert led.opened.counts().leased == 0 or led.opened.ledger.leases(led.opened.block_ids()) == {}
        with led.pilot(slots=2, environment=PLAIN, inherit=False):
            led.wait()
        assert led.events() == list(range(1500))
        kinds = led.opened.count_incidents()
        assert JournalKind.LOSS not in kinds and kinds[JournalKind.DRAINED] >= 1
        assert [session.end_reason for session in led.opened.ledger.sessions()] == ["the pilot ended"] * 2


def test_a_pilot_ends_when_there_is_no_work(
    campaign: Callable[..., CampaignSpec], payload: str, tmp_path: Path
) -> None:
    """After its patience without work it leaves, and says what it did."""
    with led_by_pilots(campaign(payload, events=40, ranges={"events": 20}), folder=tmp_path) as led:
        with led.pilot("--idle", "3s", environment=PLAIN, inherit=False) as pilot:
            led.wait()
            assert pilot.wait(60) == 0
        assert "no work for" in led.said() and "40 events committed" in led.said()


def test_bad_input_is_one_line(campaign: Callable[..., CampaignSpec], payload: str, tmp_path: Path) -> None:
    """A wrong token, a reader's token, no token, no service, something else than a service."""
    with led_by_pilots(campaign(payload, events=40, ranges={"events": 20}), folder=tmp_path) as led:
        from tests.pilots import pilot_says

        for token, told in (
            ("evm_000000000000_" + "x" * 43, "the token is not known"),
            ("nonsense", "this is not a token"),
            (led.token(Role.READER), "has the role 'reader', and this call needs 'pilot'"),
            ("", "a token is needed: put it into $EVENTMILL_TOKEN"),
        ):
            code, said = pilot_says("--server", led.url, token=token)
            assert code == 1 and told in said and len(said.splitlines()) == 1, said
        for address, told in (
            ("http://127.0.0.1:9", "did not answer for"),
            ("ftp://host", "is not the address of an event service"),
            (led.url + "/elsewhere", "refuses"),
        ):
            code, said = pilot_says("--server", address, "--patience", "1s", token=led.token())
            assert code == 1 and told in said, said
