"""Where the command begins, and what `python -m eventmill` runs: small, so that an early Ctrl-C finds it ready."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn

_ended: list[int] = []


def main() -> NoReturn:
    """`eventmill.cli.main`, whose imports take a second or two; interrupted meanwhile, it ends in one line."""
    atexit.register(_exit_quickly)  # before all others, so that it is called after them
    try:
        from eventmill.cli import main as run
    except KeyboardInterrupt:
        print("eventmill: interrupted before anything was begun.", file=sys.stderr, flush=True)
        os._exit(128 + signal.SIGINT)  # half of the imports, and of their exit handlers, is not there
    try:
        run()
    except SystemExit as end:
        if isinstance(end.code, int):
            _ended.append(end.code)
        raise


def _exit_quickly() -> None:
    """Exit without taking thousands of modules apart, for which Python takes a second or two."""
    for code in _ended:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
