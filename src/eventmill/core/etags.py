"""The ETag under which a service serves an input: it changes when the input's identity does."""

from __future__ import annotations

import hashlib
import re

_OF_SERVER = re.compile(r"size=\d+ etag=(.*)", re.DOTALL)


def etag_of(identity: str) -> str:
    """The ETag for an identity: that of the server which has the object, else one made of the identity."""
    found = _OF_SERVER.fullmatch(identity)
    if found is not None:
        return found[1]
    return f'"{hashlib.sha256(identity.encode()).hexdigest()[:32]}"'
