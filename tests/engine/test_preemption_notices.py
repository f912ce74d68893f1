"""Notices that a machine will be taken away, as the clouds give them."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from eventmill.errors import ClusterError
from eventmill.runtime.preemption import Notice, notice_names, open_notices, watch
from tests.engine.metadata_service import Cloud, serve_cloud

SOON = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=120)


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # of no concern to who asks this very machine
    monkeypatch.setattr("eventmill.runtime.preemption.notice.ANSWER_SECONDS", 60.0)  # a busy process serves
    with serve_cloud() as cloud:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://{cloud.address}")
        monkeypatch.setenv("GCE_METADATA_HOST", cloud.address)
        monkeypatch.setenv("EVENTMILL_AZURE_METADATA", f"http://{cloud.address}")
        yield cloud


@pytest.mark.parametrize("name", ["aws", "azure", "gcp"])
def test_each_cloud_gives_notice_when_it_takes_the_machine_and_not_before(name: str, cloud: Cloud) -> None:
    """None while nobody wants the machine; then the time, as exactly as the cloud says it."""
    look = open_notices(name)
    assert look() is None
    cloud.taken_at = SOON
    notice = look()
    assert notice is not None
    if name == "gcp":
        assert timedelta(0) < notice.at - datetime.now(UTC) <= timedelta(seconds=30)
    else:
        assert notice.at == SOON
    assert notice.seconds <= 120


def test_a_neighbour_of_a_scale_set_that_is_taken_is_no_concern_of_ours(cloud: Cloud) -> None:
    """Azure lists the events of all machines of a set to each of them."""
    cloud.taken_at = SOON
    cloud.machine = "vm_1"
    assert open_notices("azure")() is None


@pytest.mark.parametrize("name", ["aws", "azure", "gcp"])
def test_a_cloud_that_is_not_there_is_an_error_not_a_notice(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens: whoever watches asks again later."""
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:9")
    monkeypatch.setenv("EVENTMILL_AZURE_METADATA", "http://127.0.0.1:9")
    with pytest.raises(OSError):
        open_notices(name)()


def test_a_watcher_outlives_silence_and_tells_once(cloud: Cloud) -> None:
    """It asks again when the service does not answer, hears the notice, says it, and ends."""
    heard: queue.Queue[Notice] = queue.Queue()
    asked = 0

    def look() -> Notice | None:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise OSError("away for a moment")
        if asked == 3:
            cloud.taken_at = SOON
        return open_notices("aws")()

    watch(look, heard.put, seconds=0.01)
    assert heard.get(timeout=30).at == SOON
    assert asked == 3


def test_a_name_that_nobody_goes_by_is_refused() -> None:
    """The error lists those that are there."""
    assert notice_names()[:3] == ("aws", "azure", "gcp")
    with pytest.raises(ClusterError, match="notices 'hal'; known are aws, azure, gcp"):
        open_notices("hal")
