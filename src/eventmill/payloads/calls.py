"""What travels between a worker and its payload's process, and the `Where` that a payload is given.

Light on purpose: the child imports it before anything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from eventmill.core.leases import FailureKind
from eventmill.core.ranges import EventRange
from eventmill.core.work_order import FormatSpec

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Where:
    """Which events a payload is looking at: positions `[start, stop)` of `file`, zero-based."""

    file: str
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def positions(self) -> npt.NDArray[np.int64]:
        """The position of each event in its file, int64, as long as the events are."""
        import numpy as np  # not at the top: the child starts quickly, and most payloads never ask

        return np.arange(self.start, self.stop, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class PayloadEntry:
    """Code as a worker has it: `entry` is `module:Name`, importable once `bundle_folder` is on `sys.path`.

    `digest` identifies the code; `bundle_folder` is None for an installed package.
    """

    entry: str
    digest: str
    bundle_folder: Path | None


@dataclass(frozen=True, slots=True)
class RangeCall:
    """One range to be worked: where its staged events lie, where its output is to go, and in which format.

    `schema` is the campaign's, in the format's own bytes, once it is known; None while it may still be inferred.
    """

    range: EventRange
    url: str
    events_path: Path
    output_path: Path
    schema: bytes | None
    format: FormatSpec = field(default_factory=FormatSpec)


@dataclass(frozen=True, slots=True)
class RangeResult:
    """A range that was worked. `schema` is that of the range output, `bytes` its size.

    `infers` tells whether that schema may become the campaign's. `cpu_seconds` is what the payload's process
    and the children that it waited for used in this call; `printed` is the tail of what it printed.
    """

    rows: int
    schema: bytes
    infers: bool
    cpu_seconds: float
    bytes: int
    printed: str = ""


@dataclass(frozen=True, slots=True)
class Imports:
    """Sent to a child that is started before anybody knows its payload: import these, as far as they are here."""

    modules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetUp:
    """First message to a child, but for `Imports`. `parameters` is a pickle: an unreadable one is a report.

    `path` is the parent's `sys.path`: what the worker can import, its payload can import. `memory_bytes` is how
    much memory it may ask for.
    """

    entry: str
    bundle_folder: Path | None
    parameters: bytes
    columns: Mapping[str, str] | None
    path: tuple[str, ...]
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a child says to a message: it has imported, or was set up (None), a range was worked, or why not.

    `cpu_total_seconds` is all that the process has used so far, so that a crash can be charged for its call.
    """

    value: RangeResult | Refusal | None
    cpu_total_seconds: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """A failure as the child sees it; the parent adds what was printed."""

    kind: FailureKind
    summary: str
    traceback: str
    cpu_seconds: float
