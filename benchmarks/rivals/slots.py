"""Slots of the rivals that somebody kills and replaces: pilots of EWMS with a RabbitMQ, tasks of HyperQueue."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil

from benchmarks.work import Task

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PYTHON = HERE / ".venv" / "bin" / "python"
RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
START_SECONDS = 60.0


def environment() -> dict[str, str]:
    """For programs of the rivals: where Eventmill's benchmarks are, and who computes."""
    if not PYTHON.exists():
        raise SystemExit("there is no environment of the rivals: run 'make rivals' first.")
    return os.environ | {"PYTHONPATH": str(ROOT), "BENCH_PYTHON": sys.executable}


class EwmsSlots:
    """A RabbitMQ and pilots with one task at a time, each on a core of its own; use it in a `with` block."""

    def __init__(self, task: Task) -> None:
        self._folder, self._number, self._task = Path(task.folder), task.slots, task
        self._pilots: list[tuple[int, subprocess.Popen[bytes], Path]] = []
        cores = sorted(os.sched_getaffinity(0))
        self._free = [cores[slot % len(cores)] for slot in range(task.slots)]
        self._started = 0
        self.address = ""

    def __enter__(self) -> EwmsSlots:
        if not RABBITMQ.exists():
            raise SystemExit(f"there is no {RABBITMQ}: run 'make rivals' as root on Debian, or install RabbitMQ.")
        port, distribution = _free_port(), _free_port()
        places = {"MNESIA_BASE": "mnesia", "LOG_BASE": "log", "ENABLED_PLUGINS_FILE": "plugins", "PID_FILE": "pid"}
        settings = {f"RABBITMQ_{name}": str(self._folder / path) for name, path in places.items()}
        settings |= {"RABBITMQ_NODENAME": f"bench{port}@localhost", "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1"}
        settings |= {"RABBITMQ_NODE_PORT": str(port), "RABBITMQ_DIST_PORT": str(distribution)}
        (self._folder / "plugins").write_text("[].\n")
        self._broker = self._start(
            [str(RABBITMQ)], settings | {"HOME": str(self._folder)}, self._folder / "broker.log"
        )
        self.address = f"localhost:{port}"
        _wait_for(port)
        for _ in range(self._number):
            self.replace()
        deadline = time.monotonic() + START_SECONDS
        while self.alive() < self._number and time.monotonic() < deadline:
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        for process in [*(pilot for _, pilot, _ in self._pilots), self._broker]:
            _end(process)

    def alive(self) -> int:
        """Pilots that listen for messages."""
        return sum(pilot.poll() is None and b"Listening for" in log.read_bytes() for _, pilot, log in self._pilots)

    def kill_one(self) -> bool:
        """The oldest pilot with its task, as when its host vanishes."""
        if not self._pilots:
            return False
        core, oldest, _ = self._pilots.pop(0)
        self._free.append(core)
        _end(oldest)
        return True

    def replace(self) -> None:
        """Start another pilot, where the last one died."""
        self._started += 1
        place, core = self._folder / f"pilot{self._started}", self._free.pop(0)
        (place / "image").mkdir(parents=True)
        words = [
            sys.executable,
            "-m",
            "benchmarks.rivals.compute",
            str(self._folder),
            str(self._task.event_seconds),
        ]
        settings = {
            "_EWMS_PILOT_CONTAINER_PLATFORM": "apptainer",
            "EWMS_PILOT_TASK_IMAGE": str(place / "image"),
            "EWMS_PILOT_TASK_ARGS": f"{shlex.join(words)} {{{{INFILE}}}} {{{{OUTFILE}}}}",
            "EWMS_PILOT_DATA_DIR_PARENT_PATH_ON_HOST": str(place),
            "EWMS_PILOT_INFILE_EXT": ".json",
            "EWMS_PILOT_OUTFILE_EXT": ".json",
            "EWMS_PILOT_TIMEOUT_QUEUE_INCOMING": "600",
            "PATH": f"{HERE}{os.pathsep}{os.environ['PATH']}",
        }
        for side, queue in (("INCOMING", "ranges"), ("OUTGOING", "done")):
            settings[f"EWMS_PILOT_QUEUE_{side}"] = queue
            settings[f"EWMS_PILOT_QUEUE_{side}_BROKER_TYPE"] = "rabbitmq"
            settings[f"EWMS_PILOT_QUEUE_{side}_BROKER_ADDRESS"] = self.address
        pilot = self._start([str(PYTHON), "-m", "ewms_pilot"], settings, place / "log")
        os.sched_setaffinity(pilot.pid, {core})
        self._pilots.append((core, pilot, place / "log"))

    def _start(self, command: list[str], settings: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as lines:
            return subprocess.Popen(
                command,
                cwd=self._folder,
                env=environment() | settings,
                stdout=lines,
                stderr=lines,
                start_new_session=True,
            )


class HyperQueueSlots:
    """The processes of tasks below a contestant that runs HyperQueue, which starts the next task by itself."""

    def __init__(self, contestant: int, number: int) -> None:
        self._contestant, self._number = contestant, number

    def alive(self) -> int:
        """Its workers are threads, and live."""
        return self._number

    def kill_one(self) -> bool:
        """The oldest task."""
        try:
            below = psutil.Process(self._contestant).children(recursive=True)
            busy = [process for process in below if "benchmarks.rivals.compute" in process.cmdline()]
            min(busy, key=lambda process: process.create_time()).send_signal(signal.SIGKILL)
        except (psutil.Error, ValueError):  # nobody is at it
            return False
        return True

    def replace(self) -> None:
        """HyperQueue does."""


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise SystemExit(f"RabbitMQ did not listen within {START_SECONDS:.0f} s.") from None
            time.sleep(0.2)
        else:
            return


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to it and to all that it has started."""
    below = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    for victim in [*below, process]:
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()
