"""The messages between a worker and the process of a reader: code of the user's own that reads inputs.

Imports little, because the child imports it first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eventmill.core.ranges import EventRange, NewInput


@dataclass(frozen=True, slots=True)
class ReaderSetUp:
    """What a reader gets besides its parameters.

    `columns` are those that the campaign selects, `credentials` the name of those for inputs, and `look_up` how
    the worker looks them up.
    """

    columns: tuple[str, ...] | None
    credentials: str | None = None
    look_up: Callable[[str], Any] | None = None


@dataclass(frozen=True, slots=True)
class InspectCall:
    """Open this input anew, and tell what it is."""

    url: str


@dataclass(frozen=True, slots=True)
class ReadCall:
    """Write the events of this range of an input to `output_path`, if it is still what was split."""

    url: str
    range: EventRange
    output_path: Path
    identity: str
    events: int


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a reader says of an input."""

    found: NewInput
    printed: str = ""


@dataclass(frozen=True, slots=True)
class EventsRead:
    """The events of a range are in their file, which has so many bytes."""

    bytes: int
    printed: str = ""
