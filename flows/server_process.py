"""The process of a run's own Prefect API server: `python -m eventmill.flows.server_process PORT`.

It ends when its standard input closes, which the kernel does for a parent that dies in whatever way.
"""

from __future__ import annotations

import os
import sys
import threading


def main() -> None:
    """Serve until the parent lets go."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import uvicorn
    from prefect.server.api.server import create_app

    uvicorn.run(create_app(final=True), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)  # nothing to save: every state is in the database, and a clean stop may hang on open requests


if __name__ == "__main__":
    main()
