"""How many may read from one storage at a time: 1 to 200 readers, with and without a limit.

`python -m benchmarks.readers` prints a table. Readers are threads of few processes, each of which reads blocks of
its own, every event of Parquet files once; before each pass the kernel is asked to forget the files
(`posix_fadvise`), where they lie on a disk. The slow disk is emulated: a web server that reads ahead for few
readers, as disks and file servers do; for more of them it forgets what it read before they come for it. The limit
is one of blocks at a time, as `limits.readers` is; here it is a semaphore that all processes share.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.synchronize import Semaphore
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eventmill.core.work_order import SourceSpec
from eventmill.sources import identity_of, open_source

READERS = (1, 10, 50, 100, 200)
LIMIT = 8
PROCESSES = 4
FILES, FILE_EVENTS, COLUMNS = 8, 200_000, 12
RANGE_EVENTS = 5_000
"""Also the events of a block, which are half a megabyte in one row group."""


DISK_BYTES_PER_SECOND = 100e6
SEEK_SECONDS = 0.008
"""Of a hard disk with 7,200 rounds a minute."""

AHEAD_BYTES = 512 * 1024
"""What it reads at a time, for one reader."""

AHEAD_READERS = 8
"""For so many it keeps what it read ahead."""

PIECE_BYTES = 128 * 1024
"""What it sends to one before it looks whether others wait."""


def write(folder: Path) -> None:
    """Events of 12 columns of 8 bytes, that no compression makes smaller."""
    random = np.random.default_rng(1)
    for number in range(FILES):
        columns = {f"x{n}": random.normal(size=FILE_EVENTS) for n in range(COLUMNS)}
        pq.write_table(pa.table(columns), folder / f"{number}.parquet", row_group_size=RANGE_EVENTS)


def forget(folder: Path) -> float:
    """Ask the kernel to drop what it has of the files; the share that it still has."""
    for file in folder.glob("*.parquet"):
        number = os.open(file, os.O_RDONLY)
        try:
            os.fsync(number)
            os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(number)
    return _cached(folder)


def _cached(folder: Path) -> float:
    """The share of the files that is in memory, as `fincore` says; NaN where there is none."""
    files = sorted(map(str, folder.glob("*.parquet")))
    try:
        told = subprocess.run(["fincore", "--bytes", "--json", *files], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return float("nan")
    rows = json.loads(told)["fincore"]
    return sum(int(row["res"]) for row in rows) / sum(int(row["size"]) for row in rows)


class SlowDisk:
    """A web server for a folder that is as fast as one hard disk, whoever reads: one head, which has to move."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._head = folder, threading.Lock()
        self._ahead: dict[tuple[str, int], int] = {}  # (file, first byte) -> stop; the oldest is first
        disk = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self._answer(send=False)

            def do_GET(self) -> None:
                self._answer(send=True)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

            def _answer(self, *, send: bool) -> None:
                path = disk.folder / self.path.lstrip("/")
                size = path.stat().st_size
                found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
                first, stop = (int(found[1]), min(size, int(found[2]) + 1)) if found else (0, size)
                self.send_response(206 if found else 200)
                self.send_header("ETag", f'"{size}"')
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("Content-Length", str(stop - first))
                if found:
                    self.send_header("Content-Range", f"bytes {first}-{stop - 1}/{size}")
                self.end_headers()
                with path.open("rb") as file:
                    while send and first < stop:
                        number = min(PIECE_BYTES, stop - first)
                        disk.bring(self.path, first, first + number)
                        file.seek(first)
                        self.wfile.write(file.read(number))
                        first += number

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 1024

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def bring(self, path: str, first: int, stop: int) -> None:
        """Wait for the head, if these bytes were not read ahead: it moves there, and reads more than is asked."""
        with self._head:
            for (file, begin), end in self._ahead.items():
                if file == path and begin <= first and stop <= end:
                    return
            time.sleep(SEEK_SECONDS + AHEAD_BYTES / DISK_BYTES_PER_SECOND)
            self._ahead[path, first] = first + AHEAD_BYTES
            while len(self._ahead) > AHEAD_READERS:
                del self._ahead[next(iter(self._ahead))]

    def serve(self) -> None:
        """For ever."""
        self._server.serve_forever()


@contextmanager
def slow_disk(folder: Path) -> Iterator[str]:
    """The address of one, in a process of its own."""
    ours, theirs = multiprocessing.Pipe()

    def serve() -> None:
        disk = SlowDisk(folder)
        theirs.send(disk.url)
        disk.serve()

    process = multiprocessing.get_context("fork").Process(target=serve, daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.kill()
        process.join()


def measure(where: str, readers: int, limit: int | None) -> tuple[float, list[float]]:
    """So many readers until all is read; MB (in memory) a second, and the seconds for each block."""
    blocks = [
        (f"{where}{file}.parquet", start) for start in range(0, FILE_EVENTS, RANGE_EVENTS) for file in range(FILES)
    ]
    context = multiprocessing.get_context("spawn")
    processes = min(PROCESSES, readers)
    with context.Manager() as manager:
        work, told, ready = manager.Queue(), manager.Queue(), context.Barrier(processes + 1)
        for block in blocks:
            work.put(block)
        gate = context.Semaphore(limit) if limit is not None else None
        shares = [readers // processes + (n < readers % processes) for n in range(processes)]
        running = [context.Process(target=_serve, args=(work, told, ready, gate, share)) for share in shares]
        for process in running:
            process.start()
        ready.wait()
        begun = time.monotonic()
        for process in running:
            process.join()
        seconds = time.monotonic() - begun
        times = [told.get() for _ in range(len(blocks))]
    return FILES * FILE_EVENTS * COLUMNS * 8 / 1e6 / seconds, times


def _serve(work: Any, told: Any, ready: Any, gate: Semaphore | None, threads: int) -> None:
    """A process with so many readers."""
    spec = SourceSpec(format="parquet")

    def read() -> None:
        import queue

        while True:
            with gate or nullcontext():
                try:
                    url, start = work.get_nowait()
                except queue.Empty:
                    return
                begun = time.monotonic()
                source = open_source(url, spec, expected=identity_of(url, spec))
                assert source.read(start, start + RANGE_EVENTS).num_rows == RANGE_EVENTS
                told.put(time.monotonic() - begun)

    ready.wait()
    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(read) for _ in range(threads)]:
            future.result()


def _line(place: str, readers: int, limit: int | None, found: tuple[float, list[float]], cached: float) -> str:
    speed, times = found
    ordered = sorted(times)
    p50, p99 = ordered[len(ordered) // 2], ordered[int(0.99 * (len(ordered) - 1))]
    told = "none" if limit is None else str(limit)
    return f"| {place} | {readers} | {told} | {speed:.0f} | {p50:.2f} / {p99:.2f} | {cached:.0%} |"


def main() -> None:
    """Print the table."""
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")
    print(
        "| storage | readers | limit | MB/s in all | a block: p50 / p99, s | still in memory before |\n"
        "|---|---|---|---|---|---|",
        flush=True,
    )
    for place, base in (("memory (tmpfs)", "/dev/shm"), ("disk", None), ("slow disk, emulated", None)):
        with tempfile.TemporaryDirectory(prefix="eventmill-readers-", dir=base) as made:
            folder = Path(made)
            write(folder)
            with slow_disk(folder) if "slow" in place else nullcontext(folder) as where:
                for readers in READERS:
                    for limit in (None, LIMIT) if readers > LIMIT else (None,):
                        cached = forget(folder) if place == "disk" else 1.0
                        print(
                            _line(place, readers, limit, measure(f"{where}/", readers, limit), cached), flush=True
                        )
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    sys.exit(main())
