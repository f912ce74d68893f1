"""Keeps Prefect's own log lines out of a terminal or a notebook while a run of ours goes on there."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.logging.handlers import PrefectConsoleHandler

SERVICES = ("EventsWorker", "APILogWorker")
"""The loggers of Prefect's threads that send events and logs (prefect 3.8.8)."""


@contextmanager
def console_level(level: str) -> Iterator[None]:
    """Prefect's console shows lines from `level` on, also if it was imported before; its server gets all.

    The environment tells the level only to a Prefect that is imported afterwards.
    """
    # Prefect makes new handlers for each flow; these loggers stay, and are heard while the last events are sent.
    services = [logging.getLogger(name) for name in SERVICES]
    heard: list[logging.Handler | logging.Logger] = [*_consoles(), *services]
    before = [(found, found.level) for found in heard]
    for found in heard:
        found.setLevel(level)
    try:
        yield
    finally:
        for found, number in before:
            found.setLevel(number)


def _consoles() -> Iterator[logging.Handler]:
    named = [logging.getLogger(name) for name in list(logging.root.manager.loggerDict)]
    for logger in (logging.root, *named):
        yield from (handler for handler in logger.handlers if isinstance(handler, PrefectConsoleHandler))
