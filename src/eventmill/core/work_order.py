"""What travels to workers besides a block's number: how to read, what to run, what results become."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """How to open every input of a campaign. `format` is `root`, `parquet` or `generated`.

    `partitions` are columns that folders such as `year=2016` hold, with their types; `credentials` is a name.
    """

    format: str
    tree: str | None = None
    columns: tuple[str, ...] | None = None
    partitions: tuple[tuple[str, str], ...] = ()
    credentials: str | None = None


@dataclass(frozen=True, slots=True)
class PayloadSpec:
    """Which code turns a range into an output: `callable` as in the campaign file, and its digest."""

    callable: str
    parameters: Mapping[str, Any]
    digest: str


@dataclass(frozen=True, slots=True)
class FormatSpec:
    """What results become: the name of an output format, and its options."""

    name: str = "parquet"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkOrder:
    """All that a worker needs besides a block's number. Small, picklable, holds no secret.

    Relative input urls start from `folder`, the coordinator's working directory; `credentials` is the name of
    those for the store.
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


@dataclass(frozen=True, slots=True)
class PayloadCode:
    """The payload's code as it travels: `entry` is importable once `bundle` (a zip) is on the path."""

    callable: str
    entry: str
    digest: str
    bundle: bytes | None
