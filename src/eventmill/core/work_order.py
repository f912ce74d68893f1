"""What workers get besides the number of a block: how to read, what to run, what to make of results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eventmill.core.environment import Environment, Needs


@dataclass(frozen=True, slots=True)
class Place:
    """Where the user wrote a part of the code that is shipped: its lines from `first` on are `file`, `line` on."""

    first: int
    lines: int
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """How to open every input of a campaign. `format` is `root`, `parquet`, `generated` and so on.

    `partitions` are the columns in folder names such as `year=2016`, with their types; `credentials` is a name. A
    `reader` of the user's own takes the place of the format. `types`, `delimiter` and `names` (of the columns, if
    there is no header) are for text files. `index` is that of one input.
    """

    format: str
    tree: str | None = None
    columns: tuple[str, ...] | None = None
    partitions: tuple[tuple[str, str], ...] = ()
    credentials: str | None = None
    reader: ReaderSpec | None = field(default=None, hash=False)
    types: tuple[tuple[str, str], ...] = ()
    delimiter: str | None = None
    names: tuple[str, ...] | None = None
    index: Mapping[str, Any] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class ReaderSpec:
    """The user's code that reads inputs: its digest in the ledger at `ledger_url`, and its limits."""

    callable: str
    parameters: Mapping[str, Any]
    digest: str
    ledger_url: str
    places: tuple[Place, ...] = field(default=(), compare=False)
    memory_bytes: int | None = None
    input_seconds: float | None = None
    setup_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class PayloadSpec:
    """Which code turns a range into an output: `callable` as in the campaign file, and its digest."""

    callable: str
    parameters: Mapping[str, Any]
    digest: str
    places: tuple[Place, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class FormatSpec:
    """The name of an output format, and its options."""

    name: str = "parquet"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkOrder:
    """Everything that a worker needs besides the number of a block. Small, picklable, without secrets.

    Relative input urls start from `folder`, the coordinator's working directory; `credentials` is the name of the
    credentials for the store.
    """

    campaign_id: int
    campaign: str
    folder: str
    ledger_url: str
    store_url: str
    source: SourceSpec
    payload: PayloadSpec
    merge_events: int | None
    columns: Mapping[str, str] | None = None
    format: FormatSpec = field(default_factory=FormatSpec)
    credentials: str | None = None
    event_seconds: float | None = None
    memory_bytes: int | None = None
    input_seconds: float | None = None
    setup_seconds: float | None = None
    environment: Environment | None = None
    needs: Needs = field(default_factory=Needs)


@dataclass(frozen=True, slots=True)
class PayloadCode:
    """The shipped code of a payload: `entry` can be imported when `bundle` (a zip) is on the path."""

    callable: str
    entry: str
    digest: str
    bundle: bytes | None


@dataclass(frozen=True, slots=True)
class BlockOrder:
    """What travels to the worker of one block, as one value: a graph repeats edges for each further parameter."""

    order: WorkOrder
    block_id: int


@dataclass(frozen=True, slots=True)
class SplitOrder:
    """What travels to the worker that inspects some inputs. Their urls start from `folder`."""

    urls: tuple[str, ...]
    spec: SourceSpec
    folder: str
