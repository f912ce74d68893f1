"""How many pilots one event service bears: sessions of one load generator against `eventmill serve`.

`python -m benchmarks.service_load` prints tables: 10, 100 and 1,000 sessions with ranges of 5 s; the same without
waiting (saturation); and reports while hundreds of idle sessions wait for work. Ratios are to a FastAPI route that
makes one SQLite query, asked by the same generator in the same run. `… 10 100` measures these sessions alone.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

from benchmarks.load_pilots import Told, ask_again_and_again, load
from eventmill import open_campaign
from eventmill.core.access_tokens import Role
from eventmill.ledger import open_ledger
from eventmill.service.tokens import make_token

SESSIONS = (10, 100, 1000)
RANGE_SECONDS = 5.0
SECONDS = 25.0
RANGE_EVENTS = 10
IDLE = 900
KINDS = ("acquire", "upload", "put", "report")

PAYLOAD = "def same(events, where):\n    return events\n"


@dataclass
class Measured:
    """One line of the table."""

    sessions: int
    idle: int
    range_seconds: float
    told: Told
    seconds: float
    accepted: int
    committed: int
    memory_mb: float
    cores: float
    busy: float


def measure(sessions: int, *, range_seconds: float, idle: int = 0, seconds: float = SECONDS) -> Measured:
    """So many sessions for so long, against a fresh service of a fresh campaign that never ends."""
    with tempfile.TemporaryDirectory(prefix="eventmill-load-") as made, serving(Path(made), idle) as service:
        ledger = Path(made) / "ledger.sqlite"
        opened = open_ledger(str(ledger))
        tokens = [
            make_token(opened, Role.PILOT, campaigns=[name], label="load", lasts=None)
            for name in ("load", "nothing")
        ]
        cpu = cpu_seconds(service.pid)
        begun = time.monotonic()
        told, took = asyncio.run(
            load(
                service.url,
                tokens,
                working=sessions,
                waiting=idle,
                seconds=seconds,
                range_seconds=range_seconds,
            )
        )
        cores = (cpu_seconds(service.pid) - cpu) / (time.monotonic() - begun)
        accepted = told.outcomes["accepted"]
        committed = open_campaign("load", ledger=ledger).counts().done // RANGE_EVENTS
        assert accepted == committed, f"{accepted} reports were accepted, the ledger has {committed} ranges"
        memory = memory_mb(service.pid)
    return Measured(
        sessions, idle, range_seconds, told, took, accepted, committed, memory, cores, os.getloadavg()[0]
    )


def measure_empty(callers: int, *, seconds: float = 10.0) -> float:
    """Requests a second of the empty service."""
    with tempfile.TemporaryDirectory(prefix="eventmill-load-") as made:
        folder = Path(made)
        with serving(folder):
            pass  # makes the ledger
        port = folder / "port"
        command = [sys.executable, "-m", "benchmarks.empty_service", str(folder / "ledger.sqlite"), str(port)]
        process = subprocess.Popen(command)
        try:
            _wait(lambda: port.exists() and port.read_text(), process)
            told, took = asyncio.run(
                ask_again_and_again(port.read_text(), "/ask", callers=callers, seconds=seconds)
            )
        finally:
            process.terminate()
            process.wait(30)
        return told.calls / took


@dataclass
class Service:
    """A service that runs, as a process."""

    url: str
    pid: int


@contextmanager
def serving(folder: Path, idle: int = 0, *, payload: str = PAYLOAD) -> Iterator[Service]:
    """`eventmill serve --lead` of a campaign that never ends, and, if somebody is idle, of one that is paused."""
    (folder / "payload.py").write_text(payload)
    lead = []
    for name in ("load", *(["nothing"] if idle else ())):
        campaign = {
            "name": name,
            "ledger": str(folder / "ledger.sqlite"),
            "inputs": {"generated": {"events": 1_000_000_000, "files": 10}},
            "payload": "payload.py:same",
            "ranges": {"events": RANGE_EVENTS},
            "output": {
                "store": str(folder / f"out-{name}"),
                "columns": {"event": "int64"},
                "merge": {"bytes": "100GB"},
            },
        }
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(campaign))
        lead += ["--lead", f"{name}.yaml"] if name == "load" else []
    environment = os.environ | {"COLUMNS": "200"}
    command = [sys.executable, "-m", "eventmill", "serve", "--port", "0", *lead]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment)
    try:
        found = _wait(lambda: re.search(r"http://\S+", (folder / "log").read_text()), process)
        yield Service(found[0], process.pid)
    finally:
        process.terminate()
        process.wait(60)


def _wait(found, process: subprocess.Popen[bytes]):  # type: ignore[no-untyped-def]
    until = time.monotonic() + 60
    while not (answer := found()):
        if process.poll() is not None or time.monotonic() > until:
            raise SystemExit(f"the service did not start: {process.args}")
        time.sleep(0.05)
    return answer


def cpu_seconds(pid: int) -> float:
    """What a process used so far."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def memory_mb(pid: int) -> float:
    """PSS of a process, in MB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1000


def _percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def line(found: Measured, empty: float) -> str:
    """A line of the table."""
    per_second = found.told.calls / found.seconds
    mode = f"{found.range_seconds:g} s" if found.range_seconds else "none"
    who = f"{found.sessions:,}" + (f" + {found.idle:,} idle" if found.idle else "")
    calls = " | ".join(
        " / ".join(f"{1e3 * _percentile(found.told.seconds[kind], share):.0f}" for share in (0.5, 0.99))
        for kind in KINDS
    )
    errors = ", ".join(f"{n} {what}" for what, n in found.told.errors.items()) or "none"
    return (
        f"| {who} | {mode} | {found.accepted / found.seconds:.0f} | {per_second:.0f} | {per_second / empty:.2f} | "
        f"{calls} | {errors} | {found.cores:.2f} | {found.memory_mb:.0f} |"
    )


HEAD = (
    "| sessions | a range takes | ranges/s | requests/s | against empty | acquire p50 / p99, ms | upload | put "
    "| report | errors | cores | PSS, MB |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
)


def main(words: list[str]) -> None:
    """Print the table."""
    sessions = tuple(map(int, words)) or SESSIONS
    empty = measure_empty(32)
    print(f"empty route: {empty:.0f} requests/s; load of the machine {os.getloadavg()[0]:.1f}")
    print(HEAD, flush=True)
    for number in sessions:
        print(line(measure(number, range_seconds=RANGE_SECONDS), empty), flush=True)
    for number in sessions:
        print(line(measure(number, range_seconds=0.0, seconds=SECONDS / 2), empty), flush=True)
    if not words:
        print(line(measure(SESSIONS[1], range_seconds=RANGE_SECONDS, idle=IDLE), empty), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
