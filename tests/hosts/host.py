"""One host: what runs on it, its cable, and its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.hosts.first_process import is_inside
from tests.hosts.namespaces import born_in, processes_in
from tests.hosts.possible import NAMESPACES

SOURCES = Path(__file__).parents[2]
OWN_FOLDERS = ("/dev/shm", "/tmp", "/var/tmp", "/run")
"""Empty on each host, beside the home and the folder for temporary files of whoever runs the tests."""


@dataclass
class Host:
    """A host that runs.

    `port` is the other end of its cable, in the switch. `pid` is its first process, as the test sees it.
    """

    name: str
    address: str
    port: str
    pid: int
    _ip: Callable[..., None]
    _keeper: subprocess.Popen[str]
    _namespace: int
    _begun: list[subprocess.Popen[Any]] = field(default_factory=list)

    @property
    def root(self) -> Path:
        """Its file system, as it sees it."""
        return Path(f"/proc/{self.pid}/root")

    def popen(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "/tmp",
        **manners: Any,
    ) -> subprocess.Popen[Any]:
        """As `subprocess.Popen`, on this host. `cwd` is a folder there; without `env` it is that of the test."""
        enter = ["nsenter", f"--target={self.pid}", "--net", "--uts", "--ipc", "--mount"]
        with born_in(self._namespace):
            process = subprocess.Popen([*enter, "env", "-C", cwd, *map(str, command)], env=env, **manners)
        self._begun.append(process)
        return process

    def run(self, command: Sequence[str | Path], *, seconds: float = 60, **manners: Any) -> str:
        """What a command on this host prints; AssertionError with what it says if it fails."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with self.popen(command, **pipes | manners) as process:
            try:
                out, said = process.communicate(timeout=seconds)
            except BaseException:
                process.kill()
                raise
        assert process.returncode == 0, f"on {self.name}: exit code {process.returncode}: {said}"
        return str(out)

    def processes(self) -> list[psutil.Process]:
        """All that live on it, whoever started them, but the first, which is the host itself."""
        return [process for process in processes_in(self._namespace) if process.pid != self.pid]

    def pull_cable(self) -> None:
        """Pull its cable: packets are lost in both directions, and nobody is told.

        The switch's end goes down. So the host's own end has no carrier, and keeps its address and its route, as
        with a real cable. Connections on both sides stall, without a reset. New ones find no way (EHOSTUNREACH)
        after some three seconds, in which nobody said who has the address.
        """
        self._ip(f"link set {self.port} down")

    def plug_in(self) -> None:
        """Plug it in again. A sender sends again what was lost when its next try is due: TCP waits ever longer."""
        self._ip(f"link set {self.port} up")

    def vanish(self) -> None:
        """As in a power cut: all processes are killed at once, and none of their connections says goodbye.

        Returns when no process is left. Harmless when repeated.
        """
        if self._keeper.poll() is None:
            self.pull_cable()
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        for process in self._begun:  # a namespace ends when each of its dead has been waited for
            process.wait()
        self._keeper.wait()

    def close(self) -> None:
        """Let it vanish, and forget it."""
        self.vanish()
        os.close(self._namespace)
        for pipe in (self._keeper.stdin, self._keeper.stdout):
            if pipe is not None:
                pipe.close()


def start_host(
    name: str,
    address: str,
    *,
    port: str,
    hidden: Sequence[Path],
    known: Mapping[str, str],
    ip: Callable[..., None],
) -> Host:
    """A host without a cable. `hidden` are existing folders; `known` are the addresses of names."""
    wanted = {
        "name": name,
        "kept": _kept(),
        "emptied": _emptied(),
        "hidden": [_checked(folder) for folder in hidden],
        "addresses": dict(known),
    }
    first = [sys.executable, "-I", "-S", str(Path(__file__).with_name("first_process.py"))]
    with tempfile.TemporaryFile("w+") as said:
        keeper = subprocess.Popen(
            ["unshare", *NAMESPACES, "--fork", "--kill-child", "--mount-proc", *first],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            start_new_session=True,  # Ctrl-C is for the test, which then ends the host
        )
        assert keeper.stdin is not None and keeper.stdout is not None
        try:
            print(json.dumps(wanted), file=keeper.stdin, flush=True)
            if keeper.stdout.readline() != "ready\n":
                said.seek(0)
                raise RuntimeError(f"host {name} did not start: {said.read().strip()}")
            (child,) = psutil.Process(keeper.pid).children()
            namespace = os.open(f"/proc/{child.pid}/ns/pid", os.O_RDONLY)
        except BaseException:
            keeper.kill()  # and its child with it
            keeper.wait()
            raise
    return Host(name, address, port, child.pid, ip, keeper, namespace)


def _kept() -> list[str]:
    """What Python needs, this project's own sources among it."""
    return sorted({os.path.realpath(folder) for folder in (SOURCES, sys.prefix, sys.base_prefix)})


def _emptied() -> list[str]:
    """Nobody's settings count on another host."""
    found = {os.path.realpath(folder) for folder in (*OWN_FOLDERS, tempfile.gettempdir(), Path.home())}
    return sorted(folder for folder in found if folder != "/" and os.path.isdir(folder))


def _checked(folder: Path) -> str:
    found = os.path.realpath(folder)
    if not os.path.isdir(found):
        raise ValueError(
            f"{folder} cannot be hidden: it is no folder. Make it first, or hide the one it will be in."
        )
    if needed := [kept for kept in _kept() if is_inside(kept, [found])]:
        raise ValueError(f"{folder} cannot be hidden: Python needs {needed[0]}. Hide another than those above it.")
    return found
