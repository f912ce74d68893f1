"""The process of a run's own Prefect API server: `python -m eventmill.prefect_api.server_process PORT DATABASE`.

It ends when its standard input closes, which happens whenever the parent process ends.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from eventmill.prefect_api.empty_database import has_block_types, provide_database
from eventmill.prefect_api.server import OPEN
from eventmill.runtime.imports import uncollected

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HAND_OVER = """<!doctype html><title>Prefect</title><script>
const password = location.hash.slice(1);
if (password) localStorage.setItem("prefect-password", password);
location.replace("/");
</script><noscript>The page needs JavaScript.</noscript>"""
"""Both designs of Prefect's UI (3.8.8) keep the password there, in this encoding."""


class AsksNobodyElse:
    """Forbids the pages of an app to ask any other server. The app is an ASGI application, as is this.

    Prefect's second design (3.8.8) asks a service for usage data for its configuration, also where usage data are
    off. Where that service cannot be reached, the page would wait for it.
    """

    def __init__(self, app: ASGIApp, *, api: str) -> None:
        self._app = app
        sources = f"'self' data: blob: {api} {api.replace('http', 'ws', 1)}"
        self._policy = (b"content-security-policy", f"connect-src {sources}".encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on, with one more header on each page."""

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), self._policy]
            await send(message)

        await self._app(scope, receive, answer)


def main() -> None:
    """Serve until the parent closes standard input."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    database = Path(sys.argv[2])
    provide_database(database, migrate=migrate)
    if has_block_types(database):
        os.environ |= {"PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false"}
        os.environ |= {"PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false"}  # it would import Dask
        _forget_settings()
    with uncollected(for_good=True):
        import uvicorn
        from prefect.server.api.server import create_app
        from starlette.responses import HTMLResponse
        from starlette.routing import Route

        app = create_app(final=True)
    app.router.routes.insert(
        0, Route(OPEN, lambda request: HTMLResponse(HAND_OVER))
    )  # before the UI, which handles all paths
    port = int(sys.argv[1])
    pages = AsksNobodyElse(app, api=f"http://127.0.0.1:{port}")
    uvicorn.run(pages, host="127.0.0.1", port=port, log_level="warning")


def migrate() -> None:
    """Have Prefect make the database that its settings name, with its types of blocks."""
    from prefect.plugins import load_prefect_collections
    from prefect.server.database.dependencies import provide_database_interface
    from prefect.server.models.block_registration import run_block_auto_registration

    async def create() -> None:
        database = provide_database_interface()
        await database.create_db()
        load_prefect_collections()
        async with await database.session() as session:
            await run_block_auto_registration(session=session)

    asyncio.run(create())


def _forget_settings() -> None:
    """Have Prefect read its settings again, if it was imported for a migration."""
    if "prefect" in sys.modules:
        from prefect.context import refresh_global_settings_context

        refresh_global_settings_context()


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 4096):  # not through sys.stdin, whose lock the end of Python would wait for
        pass
    os._exit(0)  # nothing to save: all states are in the database, and a clean stop may hang on open requests


if __name__ == "__main__":
    main()
