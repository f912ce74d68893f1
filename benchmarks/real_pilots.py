"""Real pilots of one service: what their slots do in the time that they have.

`python -m benchmarks.real_pilots` prints a table for 1, 5 and 20 pilots of one slot. An event sleeps, so that
pilots do not take each other's cores: what is missing to a share of 1 is what the pilots waited for.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.service_load import RANGE_EVENTS, cpu_seconds, memory_mb, serving
from eventmill import open_campaign
from eventmill.core.access_tokens import Role
from eventmill.ledger import open_ledger
from eventmill.service.tokens import make_token

PILOTS = (1, 5, 20)
EVENT_SECONDS = 0.2
SECONDS = 30.0
START_SECONDS = 180.0

PAYLOAD = f"""
import time

import pyarrow as pa


def same(events, where):
    time.sleep({EVENT_SECONDS} * len(events))
    return pa.table({{"event": events}})
"""

HEAD = (
    "| pilots | ranges/s | share of the slots' time | cores of the service | its PSS, MB | PSS of a pilot, MB |\n"
    "|---|---|---|---|---|---|"
)


def measure(pilots: int) -> str:
    """One line of the table; memory of a pilot is without its payload's process."""
    with tempfile.TemporaryDirectory(prefix="eventmill-pilots-") as made, ExitStack() as stack:
        folder = Path(made)
        service = stack.enter_context(serving(folder, payload=PAYLOAD))
        ledger = open_ledger(str(folder / "ledger.sqlite"))
        token = make_token(ledger, Role.PILOT, campaigns=["load"], label="", lasts=None)
        command = [sys.executable, "-m", "eventmill", "pilot", "--server", service.url, "--slots", "1"]
        log = stack.enter_context((folder / "pilots.log").open("w"))
        started = [
            subprocess.Popen(command, env=os.environ | {"EVENTMILL_TOKEN": token}, stdout=log, stderr=log)
            for _ in range(pilots)
        ]
        try:
            until = time.monotonic() + START_SECONDS
            while "load" not in [row.name for row in ledger.campaigns()] and time.monotonic() < until:
                time.sleep(0.1)
            campaign = open_campaign("load", ledger=folder / "ledger.sqlite")
            while campaign.counts().done < 2 * pilots * RANGE_EVENTS:  # each has its payload set up
                if time.monotonic() > until:
                    raise SystemExit(f"{pilots} pilots did not begin within {START_SECONDS:.0f} s.")
                time.sleep(0.5)
            cpu, begun, done = cpu_seconds(service.pid), time.monotonic(), campaign.counts().done
            time.sleep(SECONDS)
            took, events = time.monotonic() - begun, campaign.counts().done - done
            cores, memory = (cpu_seconds(service.pid) - cpu) / took, memory_mb(service.pid)
            per_pilot = sum(memory_mb(each.pid) for each in started) / pilots
        finally:
            for each in started:
                each.terminate()
            for each in started:
                each.wait(60)
    return (
        f"| {pilots} | {events / RANGE_EVENTS / took:.1f} | {events * EVENT_SECONDS / took / pilots:.2f} | "
        f"{cores:.2f} | {memory:.0f} | {per_pilot:.0f} |"
    )


def main() -> None:
    """Print the table."""
    print(f"load of the machine {os.getloadavg()[0]:.1f}\n{HEAD}", flush=True)
    for number in PILOTS:
        print(measure(number), flush=True)


if __name__ == "__main__":
    main()
