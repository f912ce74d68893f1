"""Where the command begins and ends, and what `python -m eventmill` runs.

It is small, so that an early Ctrl-C finds it ready; and what it registers first is called last.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn

from eventmill.runtime.imports import uncollected


class _End:
    """Ends the process once all exit handlers have been called: to dismantle what was imported takes a second."""

    def __init__(self) -> None:
        self.code: int | None = None
        atexit.register(self)

    def __call__(self) -> None:
        if self.code is None:
            return
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):  # closed, or nobody reads it any more
                stream.flush()
        os._exit(self.code)


def main() -> NoReturn:
    """`eventmill.cli.main`, whose imports take a second or two; interrupted meanwhile, it ends in one line."""
    _open_what_is_closed()
    end = _End()
    try:
        with uncollected():
            from eventmill.cli import main as run
    except KeyboardInterrupt:
        print("eventmill: interrupted before anything was begun.", file=sys.stderr, flush=True)
        os._exit(128 + signal.SIGINT)  # half of the imports, and of their exit handlers, is not there
    try:
        run()
    except SystemExit as left:
        if isinstance(left.code, int | None):
            end.code = left.code or 0
        raise


def _open_what_is_closed() -> None:
    """Connect standard streams that are closed (`>&-`) to nothing: the ledger's file would take their number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


if __name__ == "__main__":
    main()
