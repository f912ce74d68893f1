"""Where a pilot reads an input: at its own address, presigned, or through the service."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from eventmill.access import scheme
from eventmill.core.ranges import Input
from eventmill.core.work_order import SourceSpec
from eventmill.service.presigned import presigned_get

_SIZE = re.compile(r"size=(\d+) ")

SIGNED_SECONDS = 12 * 3600
"""How long a presigned address of an input may be read. It is for one object, and for reading only."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to read an input; `size` only where the service serves or signs it."""

    url: str
    size: int | None


def address_of(item: Input, campaign_id: int, source: SourceSpec) -> Address:
    """The address of an input for pilots.

    Code of the user's own opens inputs by their own addresses: it knows nothing of the service.
    """
    if item.url.startswith("generated:") or source.reader is not None:
        return Address(item.url, None)
    protocol, size = scheme(item.url), _size_of(item)
    if protocol is None:
        return Address(f"/v1/inputs/{campaign_id}/{item.id}", size)
    if protocol in ("s3", "s3a") and size is not None:
        return Address(presigned_get(item.url, source.credentials, seconds=SIGNED_SECONDS), size)
    return Address(item.url, None)


def local_file(item: Input, folder: Path) -> Path | None:
    """The file of an input that the service serves; None if it is no file of its own."""
    if item.url.startswith("generated:") or scheme(item.url) is not None:
        return None
    from eventmill.sources.addresses import written_path

    return folder / written_path(item.url)


def _size_of(item: Input) -> int | None:
    found = _SIZE.match(item.identity)
    return None if found is None else int(found[1])
