"""Pilots that go from one campaign to the next, and pilots whose machine is taken away with notice."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq

from eventmill.campaign.open import open_campaign
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.access_tokens import Role
from eventmill.core.records import JournalKind
from eventmill.service.leader import lead
from eventmill.service.server import served_beside
from eventmill.service.tokens import make_token
from tests.engine.metadata_service import serve_cloud
from tests.pilots import Led, led_by_pilots

KEEP = """
import os
import time
import pyarrow as pa


def tell(log, line):
    with open(log, "a") as file:
        file.write(f"{line}\\n")


class Keep:
    def __init__(self, *, log, gate=None):
        self.log, self.gate = log, gate
        tell(log, f"set up by {os.getpid()}")

    def __call__(self, events, where):
        tell(self.log, f"{int(events[0])} {int(events[-1]) + 1}")
        if self.gate is not None and not os.path.exists(self.gate):
            time.sleep(0.05 * len(events))
        return pa.table({"event": events})
"""


def computed(log: Path) -> Counter[int]:
    """How often each event was given to the payload."""
    lines = [line.split() for line in log.read_text().splitlines() if not line.startswith("set up")]
    return Counter(event for start, stop in lines for event in range(int(start), int(stop)))


def test_the_next_campaign_finds_the_pilot_set_up(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """Two campaigns of the same configuration, one after the other: one session, one process of the payload."""
    (tmp_path / "keep.py").write_text(KEEP)
    log = tmp_path / "calls.log"

    def story(name: str) -> CampaignSpec:
        return campaign(
            f"{tmp_path}/keep.py:Keep",
            name=name,
            events=200,
            parameters={"log": str(log)},
            ranges={"events": 50},
            output={"store": str(tmp_path / name)},
        )

    first, second = (open_campaign(story(name), folder=tmp_path) for name in ("first", "second"))
    with served_beside(first.ledger, first.order.ledger_url, folder=tmp_path) as url:
        led = Led(first, url, tmp_path, threading.current_thread())
        token = make_token(first.ledger, Role.PILOT, campaigns=None, label="test", lasts=None)
        with led.pilot("--idle", "never", token=token):
            for opened in (first, second):
                assert lead(opened, story(opened.name), ends=threading.Event()), led.said()
    for name in ("first", "second"):
        files = (tmp_path / name).glob("*.parquet")
        assert sorted(n for file in files for n in pq.read_table(file)["event"].to_pylist()) == list(range(200))
    assert len([line for line in log.read_text().splitlines() if line.startswith("set up")]) == 1
    assert computed(log) == Counter([*range(200)] * 2)
    assert len(first.ledger.sessions()) == 1


def test_a_notice_that_the_machine_goes_empties_the_pilot(
    campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """It leaves in time: what it computed is handed in, others get the rest at once, and nothing is charged."""
    (tmp_path / "keep.py").write_text(KEEP)
    log, gate = tmp_path / "calls.log", tmp_path / "gate"
    story = campaign(
        f"{tmp_path}/keep.py:Keep",
        events=400,
        parameters={"log": str(log), "gate": str(gate)},
        ranges={"events": 20, "block": "10s"},
        limits={"lease": "60s"},
    )
    with led_by_pilots(story, folder=tmp_path) as led, serve_cloud() as cloud:
        machine = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://{cloud.address}"}
        with led.pilot("--preemption-notices", "aws", environment=machine) as first:
            led.until_done(40)
            cloud.taken_at = datetime.now(UTC) + timedelta(seconds=10)
            assert first.wait(60) == 0, led.said()
            left_at, done = datetime.now(UTC), led.done()
        assert left_at < cloud.taken_at + timedelta(seconds=10), led.said()
        assert computed(log).total() == done < 400
        assert not led.opened.holders()
        assert "ending: EC2 spot notice" in led.said()
        gate.touch()  # quickly from here on
        with led.pilot():
            led.wait()
    assert led.events() == list(range(400))
    kinds = led.opened.count_incidents()
    assert not {JournalKind.LOSS, JournalKind.FAILURE} & set(kinds)
    assert all("EC2 spot notice" in line.reason for line in led.opened.journal(JournalKind.DRAINED))
