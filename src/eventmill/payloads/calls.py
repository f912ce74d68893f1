"""The messages between a worker and the process of its payload, and the `Where` that a payload gets.

Imports little, because the child imports it first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventmill.core.leases import FailureKind
from eventmill.core.ranges import Description, EventRange
from eventmill.core.work_order import FormatSpec
from eventmill.payloads.reader_calls import EventsRead, Inspected, ReaderSetUp

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Where:
    """The events that a payload processes: positions `[start, stop)` of `file`, zero-based.

    `label` and `parameters` are what the campaign file says of that input (`inputs.files`).
    """

    file: str
    start: int
    stop: int
    label: str | None = field(default=None, repr=False)
    parameters: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def positions(self) -> npt.NDArray[np.int64]:
        """The position of each event in its file: an int64 array with one element per event."""
        import numpy as np  # not at the top, so that the child starts quickly: most payloads do not use it

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
    """One range to process: where its staged events are, where to write its output, and in which format.

    `schema` is that of the campaign, as bytes of the format; None while it may still be inferred. `described` is
    what the campaign file says of the input.
    """

    range: EventRange
    url: str
    events_path: Path
    output_path: Path
    schema: bytes | None
    format: FormatSpec = field(default_factory=FormatSpec)
    described: Description = field(default_factory=Description)


@dataclass(frozen=True, slots=True)
class RangeResult:
    """The result of a range. `schema` is that of the range output, `bytes` its size.

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
    """Sent to a child that is started before its payload is known: import these modules, if they are installed."""

    modules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetUp:
    """The first message to a child after `Imports`. An unreadable pickle in `parameters` is a failure.

    `path` is the parent's `sys.path`: what the worker can import, its payload can import. `memory_bytes` is how
    much memory it may ask for. With `reader` the code is no payload, but reads inputs. `shared`: the
    process is to be forked for each slot, if the payload allows it, and answers with `Ready`. `imports`:
    as `Imports`, after the user's code, which may depend on the import order.
    """

    entry: str
    bundle_folder: Path | None
    parameters: bytes
    columns: Mapping[str, str] | None
    path: tuple[str, ...]
    memory_bytes: int | None = None
    reader: ReaderSetUp | None = None
    shared: bool = False
    imports: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ready:
    """The answer to a shared set-up. `why_alone`: why the process cannot be forked; then it takes calls itself."""

    why_alone: str | None


@dataclass(frozen=True, slots=True)
class Fork:
    """Sent to a process that was set up to be forked, with the descriptors of the new process. Not answered."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The reply of a child: None after imports or set-up, the result of a call, or a failure.

    `cpu_total_seconds` is all that the process has used so far, so that a crash can be charged for its call.
    """

    value: RangeResult | Inspected | EventsRead | Refusal | Ready | None
    cpu_total_seconds: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """A failure as the child reports it; the parent adds what was printed."""

    kind: FailureKind
    summary: str
    traceback: str
    cpu_seconds: float
