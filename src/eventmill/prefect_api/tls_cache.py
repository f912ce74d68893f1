"""Certificates are read once in each process, not twice for each task run.

Prefect 3.8 makes its clients anew for each task run, and each reads the certificates of all authorities, also
where the API is plain HTTP: twice 55 ms of a core before a block begins. Contexts are made to be shared.
"""

from __future__ import annotations

import functools
import ssl
from types import ModuleType
from typing import Any

import prefect.client.orchestration


class _Once(ModuleType):
    """The module `ssl`, but the context for a file of certificates is made once."""

    def __getattr__(self, name: str) -> Any:
        return getattr(ssl, name)

    def create_default_context(self, **wanted: Any) -> ssl.SSLContext:
        """One that checks nothing is Prefect's own to change."""
        if wanted.keys() == {"cafile"}:
            return _context_of(wanted["cafile"])
        return ssl.create_default_context(**wanted)


@functools.cache
def _context_of(cafile: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=cafile)


def read_certificates_once() -> None:
    """From now on, for Prefect's clients in this process. Does nothing where Prefect does it another way."""
    clients: Any = prefect.client.orchestration
    if getattr(clients, "ssl", None) is ssl:
        clients.ssl = _Once("ssl")
