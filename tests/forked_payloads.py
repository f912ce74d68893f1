"""Payload processes that a crew's worker forks before it begins, instead of starting Python and importing pandas.

They are children of the worker and run `payloads.child` all the same, keeper and wire included; what they save
is half a second of processor time each. A worker has four; if its payloads die more often than that, the next
ones are started in the usual way. Tests of the start itself do not use them.
"""

from __future__ import annotations

import faulthandler
import os
import socket
import subprocess
import sys
from functools import cache
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any, NoReturn

from eventmill.payloads import child, manners, process

READY = 4
_OF_TESTS = ("tests", "pytest", "_pytest", "hypothesis", "eventmill.payloads.process", "multiprocessing")
_ready: list[tuple[int, socket.socket]] = []


@cache
def path_of_a_payload() -> list[str]:
    """The import path of a Python that was started as a payload's is."""
    ask = [sys.executable, "-P", "-c", "import sys; print(*sys.path, sep='\\n')"]
    return subprocess.run(ask, check=True, capture_output=True, text=True).stdout.splitlines()


def fork_ahead(path: list[str], *, line: Connection[Any, Any]) -> None:
    """Fork payload processes that wait to be used, and use them from now on; before any thread is started.

    `line` belongs to the worker alone: it must end when the worker ends, whoever lives on.
    """
    for _ in range(READY):
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            for other in (ours, line, *(earlier for _, earlier in _ready)):
                other.close()
            _wait_for_use(theirs, path)
        theirs.close()
        _ready.append((pid, ours))
    process.subprocess = SimpleNamespace(Popen=_use, DEVNULL=subprocess.DEVNULL)  # type: ignore[attr-defined]


def _use(command: list[str], *, stdout: int, pass_fds: list[int], **others: Any) -> Any:
    if not _ready:
        return subprocess.Popen(command, stdout=stdout, pass_fds=pass_fds, **others)
    pid, line = _ready.pop()
    with line:
        socket.send_fds(line, [b"."], [*pass_fds, stdout])
    return SimpleNamespace(pid=pid, returncode=None)


def _wait_for_use(line: socket.socket, path: list[str]) -> NoReturn:
    """As `python -P -X faulthandler -m eventmill.payloads.child`, once the worker has sent the descriptors."""
    parent = os.getppid()
    _, descriptors, _, _ = socket.recv_fds(line, 1, 3)
    if len(descriptors) < 3:  # the worker has ended
        os._exit(0)
    line.close()
    os.setsid()
    descriptor, leash, printed = descriptors
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, place in ((nothing, 0), (printed, 1), (printed, 2)):
        os.dup2(number, place)
    os.close(nothing)
    os.close(printed)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    faulthandler.enable()
    sys.path[:] = path
    for name in list(sys.modules):
        if name.partition(".")[0] in _OF_TESTS or name in _OF_TESTS:
            del sys.modules[name]
    code = 1
    try:
        child.main(descriptor, leash, parent)
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        manners.flush()
        os._exit(code)
