"""On which storage an input lies: a disk of this machine, a host, or a bucket. Reads nothing of it."""

from __future__ import annotations

import os
from pathlib import Path

from eventmill.access import scheme
from eventmill.sources.addresses import ALIASES, is_local, written_path


def storage_of(url: str, *, folder: Path) -> str | None:
    """A name that is equal for inputs on the same storage; None for generated events.

    Files lie on the same storage if they are in the same file system, as this machine sees them; relative paths
    start from `folder`. What is somewhere else lies on the host that its address names, on S3 in its bucket.
    """
    if url.startswith("generated:"):
        return None
    if is_local(url):
        return _disk_of(folder / written_path(url))
    protocol, host = str(scheme(url)), url.partition("://")[2].partition("/")[0]
    return f"{ALIASES.get(protocol, protocol)}://{host.lower()}"


def _disk_of(path: Path) -> str:
    for place in (path, *path.parents):  # the name may have a part that is no path, such as file.root:tree
        try:
            return f"disk {os.stat(place).st_dev}"
        except OSError:
            continue
    return "disk"
