"""Reads certificates once in each process, instead of twice for each task run.

Prefect 3.8 creates its clients anew for each task run, and each reads the certificates of all authorities, even
if the API uses plain HTTP: twice 55 ms of CPU time before a block begins. SSL contexts may be shared.
"""

from __future__ import annotations

import functools
import ssl
from types import ModuleType
from typing import Any

import prefect.client.orchestration


class _Once(ModuleType):
    """The module `ssl`, except that the context for a file of certificates is created once."""

    def __getattr__(self, name: str) -> Any:
        return getattr(ssl, name)

    def create_default_context(self, **wanted: Any) -> ssl.SSLContext:
        """A cached context; other contexts are not cached, because Prefect changes them."""
        if wanted.keys() == {"cafile"}:
            return _context_of(wanted["cafile"])
        return ssl.create_default_context(**wanted)


@functools.cache
def _context_of(cafile: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=cafile)


def read_certificates_once() -> None:
    """Use the cache for Prefect's clients in this process. Does nothing if Prefect works in another way."""
    clients: Any = prefect.client.orchestration
    if getattr(clients, "ssl", None) is ssl:
        clients.ssl = _Once("ssl")
