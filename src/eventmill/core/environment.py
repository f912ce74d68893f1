"""What a campaign asks of the place where its payload runs: software, and resources. Values only."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

LACKS = "lacks what payload.environment asks for: "
"""What is missing follows. By it the journal tells a place without the software from a payload that is broken."""

DIGEST_CHARACTERS = 16


@dataclass(frozen=True, slots=True)
class Environment:
    """Software that must be there before any work is taken.

    `packages` are pins such as `numpy==2.1.0`, with markers (PEP 508); `path` an absolute path; `image` the
    container image that the process must run in.
    """

    packages: tuple[str, ...] = ()
    path: str | None = None
    image: str | None = None

    @property
    def digest(self) -> str:
        """Identifies what is asked for: 16 hex digits."""
        text = json.dumps([list(self.packages), self.path, self.image])
        return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_CHARACTERS]


@dataclass(frozen=True, slots=True)
class Needs:
    """What each slot of a pilot must have. `gpus` may be a share of one; `sites` is empty for any site."""

    gpus: float = 0.0
    cores: int | None = None
    memory_bytes: int | None = None
    sites: tuple[str, ...] = ()
    excluded_sites: tuple[str, ...] = ()
