"""Where the command begins, and what `python -m eventmill` runs: small, so that an early Ctrl-C finds it ready."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """`eventmill.cli.main`, whose imports take a second or two; interrupted meanwhile, it ends in one line."""
    try:
        from eventmill.cli import main as run
    except KeyboardInterrupt:
        print("eventmill: interrupted before anything was begun.", file=sys.stderr, flush=True)
        os._exit(128 + signal.SIGINT)  # half of the imports, and of their exit handlers, is not there
    run()


if __name__ == "__main__":
    main()
