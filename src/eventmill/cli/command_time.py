"""When the current command was given. It must not undo what the user requested later, such as a pause."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime

_at: list[datetime] = []


def note_asked(*, by_process: bool) -> None:
    """Note the current time; `by_process`: the time at which this process started, since imports take seconds."""
    _at[:] = [] if by_process else [datetime.now(UTC)]


def asked_at() -> datetime:
    """When the command was given."""
    if not _at:
        _at.append(datetime.fromtimestamp(_started(), UTC))
    return _at[0]


def _started() -> float:
    """When this process was started, in seconds since 1970."""
    import psutil  # 20 ms, which most commands need not wait

    started = psutil.Process().create_time()
    if sys.platform == "linux":
        # psutil rounds the boot time to whole seconds: a 'run' right after a 'pause' would look older than it.
        started += time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) - psutil.boot_time()
    return started
