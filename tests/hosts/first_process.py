"""Process 1 of a host: run by path, in namespaces that are new and still see what the test sees. No tests.

It gets a line of JSON on stdin, makes the host, says "ready" on stdout, and waits. The host ends with it, and it
ends with the test, whatever becomes of that: then stdin ends. Processes that lost their parents are reaped here.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import signal
import socket
import sys
from collections.abc import Iterable
from pathlib import Path

RDONLY, REMOUNT, BIND = 1, 32, 4096  # mount(2)
KERNEL = ("/proc", "/sys", "/dev")
"""No files lie there but in /dev/shm, which is emptied."""

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """As mount(2); raises OSError."""
    if _libc.mount(*(text.encode() for text in (source, target, kind)), ctypes.c_ulong(flags), data.encode()):
        number = ctypes.get_errno()
        raise OSError(number, f"mount: {os.strerror(number)}", target)


def make_read_only() -> None:
    """Whatever is mounted, at its place in this host; nothing changes elsewhere."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place = re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), line.split()[4])
        if not is_inside(place, KERNEL):
            try:
                mount("none", place, "none", REMOUNT | BIND | RDONLY)
            except OSError as error:
                if error.errno != errno.ENOENT:  # that one lies under another mount: nobody sees it
                    raise


def is_inside(path: str, folders: Iterable[str]) -> bool:
    """Whether `path` is one of the folders, or lies in one."""
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)


def empty(folders: list[str]) -> None:
    """Nothing is in these folders any more, and all that is written there stays in this host's memory."""
    for folder in sorted(folders):
        if os.path.isdir(folder):
            mount("none", folder, "tmpfs", data=f"mode={os.stat(folder).st_mode & 0o7777:o}")
        else:  # it was in one that is empty now
            os.makedirs(folder)


def show_again(kept: dict[str, int]) -> None:
    """Put these folders, opened before, back to where they were, to be read only."""
    for folder, opened in sorted(kept.items()):
        if not os.path.exists(folder) or not os.path.samestat(os.stat(folder), os.fstat(opened)):
            os.makedirs(folder, exist_ok=True)
            mount(f"/proc/self/fd/{opened}", folder, "none", BIND)
            mount("none", folder, "none", REMOUNT | BIND | RDONLY)
        os.close(opened)


def name_hosts(addresses: dict[str, str]) -> None:
    """Let names be looked up, the host's own too: there is no name server."""
    lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in addresses.items())]
    Path("/run/hosts").write_text("\n".join(lines) + "\n")
    mount("/run/hosts", "/etc/hosts", "none", BIND)


def main() -> None:
    """Make the host, then wait for the end of the test."""
    wanted = json.loads(sys.stdin.readline())
    socket.sethostname(wanted["name"])
    make_read_only()
    kept = {folder: os.open(folder, os.O_PATH | os.O_DIRECTORY) for folder in wanted["kept"]}
    empty(wanted["emptied"])
    show_again(kept)
    empty(wanted["hidden"])
    name_hosts(wanted["addresses"])
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps then
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
