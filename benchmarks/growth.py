"""From a million to a thousand million events in 1,000 inputs: the split, the first dispatch, rows and memory."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.open import open_campaign
from eventmill.campaign.split_inputs import register, split
from eventmill.config.campaign_spec import parse_campaign
from tests.story.billion import peak_bytes

INPUTS = 1000
SIZES = (10**6, 10**7, 10**8, 10**9)


def measure() -> dict[str, float]:
    """Seconds, ledger rows and peak memory for each number of events, each in a process of its own."""
    found: dict[str, float] = {}
    for events in SIZES:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.growth", str(events)],
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        found |= {f"{events:.0e} {what}": value for what, value in json.loads(done.stdout).items()}
    return found


def begin(events: int, folder: Path) -> dict[str, float]:
    """Open a campaign of so many events and reserve its first block, as the process flow does."""
    (folder / "payload.py").write_text("def nothing(events, where):\n    return None\n")
    campaign = parse_campaign(
        {
            "name": "growth",
            "inputs": {"generated": {"events": events, "files": INPUTS}},
            "payload": {"callable": str(folder / "payload.py") + ":nothing"},
            "output": {"store": str(folder / "out")},
            "ledger": str(folder / "ledger.sqlite"),
        },
        source="growth",
    )
    begun = time.monotonic()
    opened = open_campaign(campaign, folder=folder)
    with Coordinator(opened, campaign) as coordinator:
        learned, unreadable = split(coordinator.unsplit(), opened.order.source, folder=str(folder))
        register(opened, campaign, learned, unreadable)
        known = time.monotonic()
        block = coordinator.next_block(slots=2)
        dispatched = time.monotonic()
        assert block is not None
        rows = opened.ledger.rows(opened.record.id)
    return {
        "split s": known - begun,
        "first dispatch s": dispatched - known,
        "ledger rows": rows,
        "peak MB": (peak_bytes() or 0) / 1e6,
    }


if __name__ == "__main__":
    if len(sys.argv) > 1:
        with tempfile.TemporaryDirectory() as name:
            print(json.dumps(begin(int(sys.argv[1]), Path(name))))
    else:
        print(measure())
