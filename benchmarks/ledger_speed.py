"""How many ranges a second the ledger hands out and takes back: SQLite, every transaction synced to disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from eventmill.core.leases import Claim
from eventmill.core.outputs import RangeOutput
from eventmill.core.ranges import EventRange, NewInput
from eventmill.core.records import Rules
from eventmill.core.work_order import PayloadCode
from eventmill.ledger import create_ledger, open_ledger

RANGES = 4000
BLOCK_RANGES = 100
PROCESSES = 8


def measure() -> dict[str, float]:
    """Ranges a second: by one process with 10 outputs to a commit, and with one; by eight; and syncs."""
    return {
        "batched": _race(1, commit_ranges=10),
        "one by one": _race(1, commit_ranges=1),
        f"{PROCESSES} processes, batched": _race(PROCESSES, commit_ranges=10),
        "fsync": _syncs(),
    }


def _race(processes: int, *, commit_ranges: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/ledger.sqlite"
        ledger = create_ledger(url)
        code = PayloadCode("m:f", "m:f", "digest", None)
        rules = Rules(failures=3, losses=5, lease=timedelta(seconds=600), target=1.0, merge_events=10**6)
        campaign = ledger.open_campaign("bench", spec={}, rules=rules, code=code, store_url="out")
        ledger.add_inputs(campaign.id, [NewInput("file", RANGES * 10, "identity")])
        leadership = ledger.acquire_leadership(campaign.id, "bench", is_gone=lambda holder: True)
        begun = time.monotonic()
        claims = []
        while block := ledger.reserve(leadership, events=BLOCK_RANGES * 10, range_events=10):
            claims.append(block.id)
        reserved = time.monotonic() - begun
        shares = [claims[n::processes] for n in range(processes)]
        workers = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.ledger_speed", json.dumps([url, share, commit_ranges])],
                cwd=Path(__file__).parents[1],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for share in shares
        ]
        for worker in workers:
            assert worker.stdout is not None
            worker.stdout.readline()  # it has imported everything
        begun = time.monotonic()
        for worker in workers:
            worker.communicate("go\n")
        wall = reserved + time.monotonic() - begun
        assert ledger.counts(campaign.id).committed == RANGES * 10
        return RANGES / wall


def _work(url: str, blocks: list[int], commit_ranges: int) -> None:
    """Claim each block and commit its ranges, `commit_ranges` to a transaction."""
    ledger = open_ledger(url)
    print("ready", flush=True)
    sys.stdin.readline()
    for number in blocks:
        claim = ledger.claim(number, holder=f"w{os.getpid()}")
        assert claim is not None
        starts = range(claim.block.start, claim.block.stop, 10)
        for first in range(0, len(starts), commit_ranges):
            batch = [_output(claim, start) for start in starts[first : first + commit_ranges]]
            ledger.commit(claim.lease, batch, payload="digest")


def _output(claim: Claim, start: int) -> RangeOutput:
    key = f"{claim.lease.attempt}-{start}"
    return RangeOutput(EventRange(start, start + 10), key, 10, "0" * 64, 10, cpu_seconds=0.1)


def _syncs() -> float:
    """Small synced writes a second of this disk: no transaction can be quicker."""
    with tempfile.NamedTemporaryFile() as file:
        begun = time.monotonic()
        for _ in range(300):
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
        return 300 / (time.monotonic() - begun)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _work(*json.loads(sys.argv[1]))
    else:
        print(measure())
