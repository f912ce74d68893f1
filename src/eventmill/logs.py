"""Log lines of the engine: standard `logging` under `eventmill`, with fields, as text or as JSON.

A line at INFO is about a block, a merge or a campaign, one about a single range is DEBUG. No line holds a secret:
none is made from a ledger's url, from payload parameters, or from what a payload's exception says. Tests hold
both.

The command line shows WARNING and above, Prefect's run logs show INFO and above
(`eventmill.prefect_api.run_logs`).
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from eventmill.text import told

ROOT = "eventmill"

ENVIRONMENT = "EVENTMILL_LOG"
"""The environment variable that passes level and form to workers on this machine, such as `INFO json`."""

FIELDS = (
    *("campaign", "block", "input", "start", "stop", "attempt", "worker", "merge", "key"),
    *("events", "rows", "ranges", "failed", "fenced", "cpu_seconds", "range_events", "reason"),
)
"""The fields of a line, as attributes of its record; in JSON, `worker` is called `worker_id`."""


class Level(StrEnum):
    """Lines of this level and above are shown."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class OnePerLine(logging.Formatter):
    """A line for people: time in UTC, level, message."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, with a traceback behind it where there is one."""
        return told(f"{_time(record)} {record.levelname} {super().format(record)}")


class AsJson(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, and the fields that the line is about."""

    def format(self, record: logging.LogRecord) -> str:
        """One line for programs."""
        values: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": told(record.getMessage()),
        }
        for name in FIELDS:
            if (value := getattr(record, name, None)) is not None:
                values["worker_id" if name == "worker" else name] = value
        if record.exc_info:
            values["traceback"] = told(self.formatException(record.exc_info))
        return json.dumps(values, ensure_ascii=False, default=str)


class _ToStderr(logging.StreamHandler[Any]):
    """Writes to the current `sys.stderr`, which a progress bar replaces."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        self.stream = sys.stderr  # not by setStream, which flushes the old one: it may be closed
        super().emit(record)


class _Upward(logging.Handler):
    """Passes on to the root logger's handlers what they would get if `eventmill` had no level of its own."""

    def __init__(self, wanted: int) -> None:
        super().__init__()
        self._wanted = wanted

    def emit(self, record: logging.LogRecord) -> None:
        """Pass it on, if it is wanted there."""
        root = logging.getLogger()
        if record.levelno >= (self._wanted or root.level):
            root.callHandlers(record)


def show(level: Level = Level.WARNING, *, as_json: bool) -> None:
    """Write log lines to stderr, from this process and from workers that it starts here. The last call wins.

    Nothing goes to the root logger's handlers then, because one of them may write to stderr, too.
    """
    hide()
    os.environ[ENVIRONMENT] = f"{level} json" if as_json else str(level)
    handler = _ToStderr()
    handler.setLevel(level)
    handler.setFormatter(AsJson() if as_json else OnePerLine())
    listen(getattr(logging, level))
    for upward in _handlers(_Upward):
        upward.setLevel(logging.CRITICAL + 1)
    logging.getLogger(ROOT).addHandler(handler)


def hide() -> None:
    """Undo `show`. Harmless twice."""
    os.environ.pop(ENVIRONMENT, None)
    for handler in _handlers(_ToStderr):
        logging.getLogger(ROOT).removeHandler(handler)
    for upward in _handlers(_Upward):
        upward.setLevel(logging.NOTSET)


def show_as_told() -> None:
    """`show` with the level and form of the process that started this one, if it has any."""
    level, _, form = os.environ.get(ENVIRONMENT, "").partition(" ")
    if level in tuple(Level):
        show(Level(level), as_json=form == "json")


def listen(level: int) -> None:
    """Create records from this level on, for a new handler. The root logger's handlers get no more than before."""
    logger = logging.getLogger(ROOT)
    if not _handlers(_Upward):
        logger.addHandler(_Upward(logger.level))
        logger.propagate = False
    logger.setLevel(min(level, logger.level or level))


def _handlers(kind: type[logging.Handler]) -> list[logging.Handler]:
    return [handler for handler in logging.getLogger(ROOT).handlers if isinstance(handler, kind)]


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
