"""Stores for outputs: objects under keys, each visible completely or not at all. Knows no ledger and no format.

The ledger ensures that an event counts once; a store only promises that visible objects are complete. A package
adds a store with an entry point in the group `eventmill.stores`: its name is the protocol of the urls, its object
takes a url and `credentials` and returns a `Store`. It must be installed wherever Eventmill runs.
"""

from __future__ import annotations

from pathlib import Path

from eventmill.access import scheme
from eventmill.errors import AccessError, StoreError
from eventmill.plugins import Registry
from eventmill.store.folder import FolderStore
from eventmill.store.protocol import Store, Stored

__all__ = ["FolderStore", "Store", "Stored", "open_store"]

STORES = Registry("eventmill.stores", {name: "eventmill.store.s3:open_s3" for name in ("s3", "s3a")})
"""By protocol, for urls; a path is a folder."""


def open_store(url: str, *, credentials: str | None = None) -> Store:
    """The store at `url`: a path, `file://` and a path, or `s3://bucket/prefix`. Accesses nothing yet.

    `credentials` is a name that `eventmill.access` knows; without one, the usual AWS chain is used.
    """
    try:
        protocol = scheme(url)
    except AccessError as error:
        raise StoreError(f"the store: {error}") from None
    if protocol is None:
        return FolderStore(Path(url.partition("://")[2] if "://" in url else url))
    if protocol in STORES.names():
        opened: Store = STORES.load(protocol)(url, credentials=credentials)
        return opened
    raise StoreError(f"{url}: there is no store for '{protocol}://'; use file://, s3://, or a path.")
