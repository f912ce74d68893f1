"""The output of a campaign: where results go, in which format, and how large merged files are."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from eventmill.config.parts import IDENTIFIER, SUFFIX, Part, Place, as_json
from eventmill.config.quantities import Events, Size, at_least_bytes
from eventmill.core.meant import did_you_mean
from eventmill.core.units import parse_bytes
from eventmill.core.work_order import FormatSpec
from eventmill.errors import CampaignError
from eventmill.formats import FORMATS, format_names, open_format


class MergeSize(Part):
    """How large merged files are: a number of events (byte-identical files) or of bytes."""

    PLAIN: ClassVar[str | None] = "events or bytes"
    PLAIN_TYPES: ClassVar[tuple[type, ...]] = ()  # the unit tells which

    events: Events | None = Field(
        None, description="Merged files end at multiples of this number of events, such as 20k."
    )
    bytes: Annotated[Size, at_least_bytes(1000, unit="MB")] | None = Field(
        None,
        description="A merged file is made when its range outputs reach this size; 256MB if neither is given.",
    )

    @model_validator(mode="before")
    @classmethod
    def _one_size(cls, data: Any) -> Any:
        if isinstance(data, str | int) and not isinstance(data, bool):  # the unit tells which is meant
            data = {"bytes" if str(data).rstrip()[-1:] in ("B", "b") else "events": data}
        if not isinstance(data, dict):
            return data
        given = [key for key in ("events", "bytes") if data.get(key) is not None]
        if len(given) > 1:
            raise ValueError("give either 'events' or 'bytes'")
        return data if given else data | {"bytes": "256MB"}  # the form in the Prefect UI sends two empty ones


class RootKind(StrEnum):
    """How a ROOT file stores the columns."""

    TTREE = "ttree"
    RNTUPLE = "rntuple"


class RootOptions(Part):
    """For `format: root`."""

    tree: str = Field(
        "Events",
        pattern=IDENTIFIER,
        description="The name of the TTree or RNTuple in merged files.",
    )
    kind: RootKind = Field(RootKind.TTREE, description="TTree, which all ROOT tools read, or RNTuple.")


class Joining(StrEnum):
    """How the files that payloads wrote are combined into one."""

    CONCAT = "concat"
    ZIP = "zip"


class BytesOptions(Part):
    """For `format: bytes`."""

    merge: Joining = Field(
        Joining.CONCAT,
        description="Concatenate the files in event order, or zip them with an index of their events.",
    )
    suffix: str = Field(
        "bin",
        pattern=SUFFIX,
        description="The suffix of the files that the payload makes, such as hepmc or jsonl.gz.",
    )


class Output(Part):
    """Where results go, and in which format."""

    PLAIN: ClassVar[str | None] = "store"

    store: Place = Field(description="A folder or s3://bucket/prefix; merged files appear in it.")
    format: str = Field(
        "parquet",
        validate_default=True,
        description="parquet, root, hist or bytes; or one that an installed package adds.",
        json_schema_extra={"enum": list(format_names())},
    )
    merge: MergeSize = Field(default_factory=lambda: MergeSize(bytes=parse_bytes("256MB")))
    columns: dict[str, str] | None = Field(
        None, description="Column types, such as {event: int64}; by default those of the first output."
    )
    root: RootOptions | None = Field(None, description="Options of format root.")
    bytes: BytesOptions | None = Field(None, description="Options of format bytes.")
    options: dict[str, Any] | None = Field(
        None,
        description="Options of a format from an installed package; the built-in formats have their own keys.",
    )

    @field_validator("options", mode="after")
    @classmethod
    def _can_be_kept(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if value is None else {key: as_json(item, key) for key, item in value.items()}

    @field_validator("format")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in format_names():
            meant = did_you_mean(value, format_names())
            raise ValueError(f"unknown format{meant}; known formats are {', '.join(format_names())}")
        return value

    @model_validator(mode="after")
    def _of_this_format(self) -> Self:
        for key in ("root", "bytes"):
            if getattr(self, key) is not None and key != self.format:
                raise ValueError(f"'{key}' contains options of format '{key}', but the format is '{self.format}'")
        if self.options is not None and self.format in FORMATS.built_in:
            raise ValueError(f"'options' are for formats of installed packages; '{self.format}' has its own keys")
        if self.columns is not None and self.format in ("hist", "bytes"):
            raise ValueError(f"'columns' are for tables; format '{self.format}' has no columns")
        return self

    @property
    def spec(self) -> FormatSpec:
        """The format with its options."""
        own: Part | None = getattr(self, self.format) if self.format in ("root", "bytes") else None
        return FormatSpec(self.format, own.model_dump(mode="json") if own else dict(self.options or {}))


def format_of(spec: Mapping[str, Any]) -> FormatSpec:
    """The output format of a campaign as the ledger holds it; `CampaignError` if no package here has it."""
    if "output" not in spec:
        return FormatSpec()
    name = spec["output"].get("format", "parquet")
    if name not in format_names():
        raise CampaignError(
            f"the campaign has the output format '{name}', which no package here adds; known are "
            f"{', '.join(format_names())}. Install the package that adds it, in this environment, too."
        )
    return Output.model_validate(spec["output"]).spec


def merged_suffix(spec: Mapping[str, Any]) -> str:
    """The suffix of a campaign's merged files, such as `parquet`; `spec` as the ledger holds it."""
    return open_format(format_of(spec)).suffix
