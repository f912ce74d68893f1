"""When the command at hand was given: what somebody says of a campaign after that, the command is not to undo."""

from __future__ import annotations

from datetime import UTC, datetime

import psutil

_at: list[datetime] = []


def note_asked(*, by_process: bool) -> None:
    """Now; or, for the command that this process was started for, when it was: imports take seconds."""
    now = datetime.now(UTC)
    _at[:] = [datetime.fromtimestamp(psutil.Process().create_time(), UTC) if by_process else now]


def asked_at() -> datetime:
    """When the command was given."""
    return _at[0] if _at else datetime.now(UTC)
