"""When the command at hand was given: what somebody says of a campaign after that, the command is not to undo."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime

import psutil

_at: list[datetime] = []


def note_asked(*, by_process: bool) -> None:
    """Now; or, for the command that this process was started for, when it was: imports take seconds."""
    _at[:] = [datetime.fromtimestamp(_started(), UTC) if by_process else datetime.now(UTC)]


def asked_at() -> datetime:
    """When the command was given."""
    return _at[0] if _at else datetime.now(UTC)


def _started() -> float:
    """When this process was started, in seconds since 1970."""
    started = psutil.Process().create_time()
    if sys.platform == "linux":
        # psutil counts from a boot in whole seconds: a 'run' right behind a 'pause' would be the older one.
        started += time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) - psutil.boot_time()
    return started
