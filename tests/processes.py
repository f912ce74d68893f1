"""Finding every process that a test has started, whoever its parent is by now."""

from __future__ import annotations

import psutil

MARK = "EVENTMILL_TEST"
"""The environment variable that processes of a test inherit."""


def marked(mark: str) -> list[psutil.Process]:
    """The living processes with this mark in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def command_of(process: psutil.Process) -> list[str]:
    """Its command line; empty when it has gone meanwhile."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []
