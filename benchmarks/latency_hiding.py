"""What 100 ms of latency to an input costs one slot: the same campaign over HTTP and from the local disk."""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.open import open_campaign
from eventmill.campaign.split_inputs import register, split
from eventmill.config.campaign_spec import parse_campaign
from eventmill.payloads.pool import stop_all
from eventmill.runtime.process_id import this_process
from eventmill.work.block import run_block
from tests.web_server import serve_web

LATENCY_SECONDS = 0.1
"""Before each answer of the server."""

EVENTS = 1200
EVENT_SECONDS = 0.02
RANGE_EVENTS = 75
BLOCK_EVENTS = 600
"""Ranges of 1.5 s in blocks of 12 s."""

EVENT_NUMBERS = 2000
"""In each event: 8 kB, so that the file is too large to be fetched whole when it is opened."""

PAYLOAD = """\
import time


def wait(events, where, *, seconds):
    time.sleep(seconds * len(events))
    return events.select(["event"])
"""


def measure() -> dict[str, float]:
    """Slot efficiency (seconds in the payload / seconds in all) with the input local and behind latency."""
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        folder = Path(name)
        (folder / "payload.py").write_text(PAYLOAD)
        _write(folder / "events.parquet", EVENTS)
        _write(folder / "few.parquet", RANGE_EVENTS)
        with serve_web(folder, delay_seconds=LATENCY_SECONDS, etags=False) as web:
            _efficiency(folder, "few.parquet", RANGE_EVENTS)  # the payload's process and the imports are paid for
            found = {
                "local": _efficiency(folder, "events.parquet", EVENTS),
                "remote": _efficiency(folder, f"{web.url}/events.parquet", EVENTS),
            }
            found["requests"] = float(web.count())
        stop_all()
    return found


def _write(path: Path, events: int) -> None:
    noise = np.random.default_rng(1).normal(size=events * EVENT_NUMBERS).astype(np.float32)
    table = pa.table(
        {"event": np.arange(events), "numbers": pa.FixedSizeListArray.from_arrays(pa.array(noise), EVENT_NUMBERS)}
    )
    pq.write_table(table, path, row_group_size=RANGE_EVENTS)


def _efficiency(folder: Path, file: str, events: int) -> float:
    where = Path(tempfile.mkdtemp(dir=folder))
    data: dict[str, Any] = {
        "name": "latency",
        "inputs": {"files": [file]},
        "payload": {"callable": "payload.py:wait", "parameters": {"seconds": EVENT_SECONDS}},
        "output": {"store": str(where / "out"), "columns": {"event": "int64"}},
        "ranges": {"events": RANGE_EVENTS},
        "ledger": str(where / "ledger.sqlite"),
    }
    campaign = parse_campaign(data, source="the benchmark")
    opened = open_campaign(campaign, folder=folder)
    with Coordinator(opened, campaign) as coordinator:
        found, unreadable = split(coordinator.unsplit(), opened.order.source, folder=opened.order.folder)
        register(opened, campaign, found, unreadable)
        begun = time.perf_counter()
        # Blocks as in the middle of a campaign, and not as at the ends of this short one.
        while block := opened.ledger.reserve(
            coordinator.leadership, events=BLOCK_EVENTS, range_events=RANGE_EVENTS
        ):
            run_block(opened.order, block.id, holder=str(this_process()))
        seconds = time.perf_counter() - begun
    return events * EVENT_SECONDS / seconds


def main() -> None:
    """Print what was measured."""
    found = measure()
    print(f"local {found['local']:.3f}, remote {found['remote']:.3f} with {found['requests']:.0f} requests")


if __name__ == "__main__":
    main()
