"""Addresses of events, or the events themselves: what an event service costs if all data go through it.

`python -m benchmarks.addresses` prints a table. The same Parquet data are read by 1, 4 and 8 pilots (processes
that acquire blocks of a real campaign, read all their events, and compute nothing), in a folder of the service,
on an S3 server and on a web server; once by their addresses, once from the service, which reads and sends them
(`benchmarks.full_events`). Whatever is measured of the service is of its process alone.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from eventmill.campaign.open import open_campaign
from eventmill.campaign.split_inputs import register, split
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.access_tokens import Role
from eventmill.service.tokens import make_token
from eventmill.service_client.connection import Connection
from eventmill.service_client.session import Session, Work
from eventmill.sources import open_source
from tests.servers import environment, free_port, serve_rclone, wait_for_port

READERS = (1, 4, 8)
FILES, FILE_EVENTS, COLUMNS = 4, 100_000, 12
RANGE_EVENTS, BLOCK_RANGES = 10_000, 2
LOOK_SECONDS = 0.1

WAYS = ("addresses", "full events")

PAYLOAD = "def same(events, where):\n    return events\n"


@dataclass
class Measured:
    """What so many readers got in one way, and what it cost the service."""

    seconds: float
    events: int
    bytes: int
    cpu_seconds: float
    memory_mb: float


def write(folder: Path) -> None:
    """Events of 12 columns of 8 bytes, that no compression makes smaller."""
    random = np.random.default_rng(1)
    for number in range(FILES):
        first = number * FILE_EVENTS
        columns = {"event": np.arange(first, first + FILE_EVENTS)}
        columns |= {f"x{n}": random.normal(size=FILE_EVENTS) for n in range(COLUMNS - 1)}
        pq.write_table(pa.table(columns), folder / f"{number}.parquet", row_group_size=RANGE_EVENTS)


@contextmanager
def serve_http(folder: Path) -> Iterator[str]:
    """A web server for a folder, as a stand-in for storage elsewhere."""
    port = free_port()
    rclone = Path(sys.executable).with_name("rclone")
    command = [rclone, "serve", "http", "--addr", f"127.0.0.1:{port}", "--config", "/dev/null", folder]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def measure(where: str, way: str, readers: int) -> Measured:
    """Read everything once, with inputs at this place (an address that ends in /).

    One block is read before, and not counted: what the service has to import is no cost of an event.
    """
    with tempfile.TemporaryDirectory(prefix="eventmill-addresses-") as made, ExitStack() as stack:
        folder = Path(made)
        token = _offer_everything(folder, where)
        service, url = stack.enter_context(_service(folder))
        first = _Pilot(url, token, way, most_blocks=1).go().told()
        pilots = [_Pilot(url, token, way) for _ in range(readers)]
        memory = stack.enter_context(_peak_memory(service))
        cpu, begun = _cpu_seconds(service), time.monotonic()
        for pilot in pilots:
            pilot.go()
        told = [pilot.told() for pilot in pilots]
        seconds, cpu = time.monotonic() - begun, _cpu_seconds(service) - cpu
    total = FILES * FILE_EVENTS
    assert sum(each["sum"] for each in (first, *told)) == total * (total - 1) // 2, "not every event was read once"
    return Measured(
        seconds, sum(each["events"] for each in told), sum(each["bytes"] for each in told), cpu, max(memory)
    )


class _Pilot:
    """A process that has imported everything, and begun its session, and waits for the word."""

    def __init__(self, url: str, token: str, way: str, *, most_blocks: int = 10**9) -> None:
        command = [sys.executable, "-m", "benchmarks.addresses", json.dumps([url, token, way, most_blocks])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def go(self) -> _Pilot:
        """The word."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return self

    def told(self) -> dict[str, int]:
        """What it says at its end: how many events it read, the sum of their numbers, bytes from the service."""
        return dict(json.loads(self._process.communicate()[0]))


def _offer_everything(folder: Path, where: str) -> str:
    """A campaign whose blocks are all offered; returns a token for it."""
    (folder / "payload.py").write_text(PAYLOAD)
    spec = CampaignSpec(
        name="read",
        inputs={"files": [f"{where}{number}.parquet" for number in range(FILES)]},
        payload=f"{folder}/payload.py:same",
        output={"store": str(folder / "out")},
        limits={"lease": "1h"},
        ledger=str(folder / "ledger.sqlite"),
    )
    opened = open_campaign(spec, folder=folder)
    found, refused = split(opened.urls, opened.order.source, folder=str(folder))
    register(opened, spec, found, refused)
    lead = opened.ledger.acquire_leadership(opened.id, "benchmark", is_gone=lambda holder: True)
    size = BLOCK_RANGES * RANGE_EVENTS
    while block := opened.ledger.reserve(lead, events=size, range_events=RANGE_EVENTS):
        opened.ledger.offer(block.id)
    return make_token(opened.ledger, Role.PILOT, campaigns=["read"], label="", lasts=None)


@contextmanager
def _service(folder: Path) -> Iterator[tuple[psutil.Process, str]]:
    address = folder / "address"
    command = [
        sys.executable,
        "-m",
        "benchmarks.full_events",
        str(folder / "ledger.sqlite"),
        str(folder),
        str(address),
    ]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": os.getcwd()})
    try:
        until = time.monotonic() + 60
        while not (address.exists() and address.read_text()):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit("the service did not start")
            time.sleep(0.05)
        yield psutil.Process(process.pid), address.read_text()
    finally:
        process.kill()
        process.wait()


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


@contextmanager
def _peak_memory(process: psutil.Process) -> Iterator[list[float]]:
    """PSS in MB, looked at ten times a second."""
    seen, ends = list[float](), threading.Event()

    def look() -> None:
        while True:
            text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
            seen.append(int(re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)[1]) / 1000)  # type: ignore[index]
            if ends.wait(LOOK_SECONDS):
                return

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        ends.set()
        thread.join()


def _read(url: str, token: str, way: str, most_blocks: int) -> None:
    """A pilot that reads whatever it gets, as long as it gets something."""
    came = 0

    def count(answer: httpx.Response) -> None:
        nonlocal came
        if str(answer.url).startswith(url):
            came += int(answer.headers.get("content-length", 0))

    client = httpx.Client(timeout=60, event_hooks={"response": [count]})
    connection = Connection(url, token=token, patience_seconds=60, client=client)
    session = Session(connection, name="reader", slots=1)
    print("ready", flush=True)
    sys.stdin.readline()
    total, events, came = 0, 0, 0
    while most_blocks and (works := session.acquire(1, wait_seconds=0)):
        most_blocks -= 1
        for work in works:
            block = work.claim.block
            events += len(block)
            for start in range(block.start, block.stop, RANGE_EVENTS):
                total += _sum_of(connection, work, start, min(start + RANGE_EVENTS, block.stop), way)
    print(json.dumps({"sum": total, "events": events, "bytes": came}), flush=True)


def _sum_of(connection: Connection, work: Work, start: int, stop: int, way: str) -> int:
    """The sum of the numbers of the events of a range, of which all columns were read."""
    item = work.claim.input
    if way == "addresses":
        source = open_source(item.url, work.order.source, expected=item.identity, index=item.index)
        table = source.read(start, stop)
    else:
        campaign = work.claim.lease.campaign_id
        path = f"/bench/events/{campaign}/{item.id}/{start}/{stop}"
        answer = connection.send("GET", path, headers={"Accept-Encoding": "identity"})
        table = pa.ipc.open_stream(answer.content).read_all()
    assert table.num_rows == stop - start and table.num_columns == COLUMNS
    return int(np.sum(table["event"].to_numpy()))


def main() -> None:
    """Print the table."""
    print(
        "| where | what travels | pilots | events/s | against addresses | MB/s through the service "
        "| its CPU, s for 10^6 events | its PSS, MB |\n|---|---|---|---|---|---|---|---|",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="eventmill-addresses-") as made, ExitStack() as stack:
        data = Path(made) / "data"
        data.mkdir()
        write(data)
        server = stack.enter_context(serve_rclone(Path(made)))
        stack.enter_context(environment(server.environment))
        places = {
            "folder": f"{data}/",
            "S3": "s3://data/",
            "web server": f"{stack.enter_context(serve_http(data))}/",
        }
        for place, address in places.items():
            for readers in READERS:
                found = {way: measure(address, way, readers) for way in WAYS}
                for way, one in found.items():
                    million = one.events / 1e6
                    print(
                        f"| {place} | {way} | {readers} | {one.events / one.seconds:,.0f} | "
                        f"{found[WAYS[0]].seconds / one.seconds:.2f} | {one.bytes / one.seconds / 1e6:.1f} | "
                        f"{one.cpu_seconds / million:.2f} | {one.memory_mb:.0f} |",
                        flush=True,
                    )
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _read(*json.loads(sys.argv[1]))
    else:
        main()
