"""The live page: files of this package at `/`, under a policy that lets nothing in from elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parent / "page"

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",  # asked for again with its ETag: after an upgrade nobody has half of an old page
}


def add_page(app: FastAPI) -> None:
    """Serve the page at `/` and its files below `/page/`.

    They are the same for everybody and contain no data, so they need no token.
    """
    files = _PageFiles(directory=FOLDER)
    app.mount("/page", files, name="page")

    @app.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        return await files.get_response("index.html", request.scope)


class _PageFiles(StaticFiles):
    """Static files under the policy."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file, or "not changed"; a name that is none is refused as any other."""
        return _under_policy(await super().get_response(path, scope))

    def file_response(self, full_path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Response:
        """With the types that browsers insist on, whatever this machine's table of types says."""
        response = super().file_response(full_path, *args, **kwargs)
        kind = TYPES.get(Path(full_path).suffix)
        if kind is not None and "content-type" in response.headers:
            response.headers["content-type"] = kind
        return response


def _under_policy(response: Response) -> Response:
    response.headers.update(HEADERS)
    return response
