"""Keeps Prefect's own log lines out of a terminal or a notebook while a run of ours goes on there."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.logging.handlers import PrefectConsoleHandler


@contextmanager
def console_level(level: str) -> Iterator[None]:
    """Prefect's console shows lines from `level` on, also if it was imported before; its server gets all.

    The environment tells the level only to a Prefect that is imported afterwards.
    """
    before = {handler: handler.level for handler in _consoles()}
    for handler in before:
        handler.setLevel(level)
    try:
        yield
    finally:
        for handler, number in before.items():
            handler.setLevel(number)


def _consoles() -> Iterator[logging.Handler]:
    named = [logging.getLogger(name) for name in list(logging.root.manager.loggerDict)]
    for logger in (logging.root, *named):
        yield from (handler for handler in logger.handlers if isinstance(handler, PrefectConsoleHandler))
