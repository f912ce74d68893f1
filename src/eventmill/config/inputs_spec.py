"""The inputs of a campaign: which files, in which format, or how many events to generate."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from eventmill.config.code_spec import Reader
from eventmill.config.parts import Part, Place, as_json, as_text
from eventmill.config.quantities import Events
from eventmill.core.meant import did_you_mean
from eventmill.core.ranges import Description


class InputFormat(StrEnum):
    """The built-in formats of input files; installed packages may add more."""

    ROOT = "root"
    PARQUET = "parquet"
    CSV = "csv"
    JSONL = "jsonl"
    FITS = "fits"


class Unreadable(StrEnum):
    """What to do with an input that cannot be read."""

    STOP = "stop"
    LEAVE_OUT = "leave_out"


class Duplicates(StrEnum):
    """What to do with a file that appears under two names."""

    REFUSE = "refuse"
    KEEP = "keep"


class Generated(Part):
    """Events without an input file: the payload generates them from their numbers."""

    PLAIN: ClassVar[str | None] = "events"
    PLAIN_TYPES: ClassVar[tuple[type, ...]] = (str, int)

    events: Events = Field(description="The number of events, such as 20k or 1M; they are numbered from 0.")
    files: int = Field(1, ge=1, description="The number of virtual inputs into which the events are divided.")

    @model_validator(mode="after")
    def _enough_events(self) -> Self:
        if self.files > self.events:
            raise ValueError(f"{self.events} events cannot be divided into {self.files} files")
        return self


class InputFile(Part):
    """Inputs with a label, or with parameters of their own."""

    url: Place = Field(description="A path, url, glob, folder or @FILE; all inputs that it names are meant.")
    label: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        None, description="The data set that these inputs belong to; events are also counted by label."
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="Values of these inputs, which the payload gets as where.parameters."
    )

    @field_validator("parameters", mode="after")
    @classmethod
    def _can_be_kept(cls, value: dict[str, Any]) -> dict[str, Any]:
        return {key: as_json(item, key) for key, item in value.items()}

    @field_validator("label")
    @classmethod
    def _can_be_shown(cls, value: str | None) -> str | None:
        if value is not None and not value.isprintable():
            raise ValueError(f"{value!r} has characters that cannot be shown; use letters, digits and signs")
        return value

    @property
    def described(self) -> Description:
        """What is said of these inputs."""
        return Description(self.label, self.parameters)


class CsvOptions(Part):
    """For CSV files."""

    delimiter: str | None = Field(
        None, min_length=1, max_length=1, description="What is between values; a comma, in .tsv files a tab."
    )
    names: list[str] | None = Field(
        None, min_length=1, description="The names of all columns, if the files have no header."
    )


class Inputs(Part):
    """Where the events come from: `files`, or `generated`."""

    PLAIN: ClassVar[str | None] = "files"
    PLAIN_TYPES: ClassVar[tuple[type, ...]] = (str, Path, list, tuple)

    files: list[str | InputFile] | None = Field(
        None,
        min_length=1,
        description=(
            "Paths, urls, globs, folders of Parquet files, in campaign order; or @FILE with one per line. Or "
            "{url: …, label: …, parameters: {…}}."
        ),
    )
    generated: Generated | None = Field(None, description="Generate events instead of reading files.")
    format: str | None = Field(
        None,
        description=(
            "root, parquet, csv, jsonl, fits, or a format of an installed package; by default inferred from the "
            "file names."
        ),
    )
    reader: Reader | None = Field(
        None,
        description=(
            "Code of your own that opens an input, in place of a format: path/to/file.py:Name, or its parts."
        ),
    )
    tree: str | None = Field(None, description="The TTree or RNTuple to read; optional if each file has only one.")
    columns: list[str] | None = Field(
        None, min_length=1, description="The columns (branches) that the payload gets; all by default."
    )
    types: dict[str, str] | None = Field(
        None,
        description=(
            "Types of columns in CSV files and JSON lines, such as {id: string}; by default inferred from all "
            "rows."
        ),
    )
    csv: CsvOptions | None = Field(None, description="Options of CSV files.")
    unreadable: Unreadable = Field(
        Unreadable.STOP, description="If an input cannot be read: stop, or leave it out and report it."
    )
    duplicates: Duplicates = Field(
        Duplicates.REFUSE,
        description="If a file appears under two names (links): refuse it, or keep both, with twice its events.",
    )
    credentials: str | None = Field(
        None,
        description="Credentials for inputs on S3, if not those of the campaign; 'anonymous' for public data.",
    )

    @field_validator("files", mode="before")
    @classmethod
    def _a_list(cls, value: Any) -> Any:
        listed = [value] if isinstance(value, str | Path | Mapping | InputFile) else value
        return [as_text(each) for each in listed] if isinstance(listed, list | tuple) else listed

    @field_validator("csv", mode="before")
    @classmethod
    def _if_anything_is_set(cls, value: Any) -> Any:
        empty = isinstance(value, dict) and all(each is None for each in value.values())
        return None if empty else value  # the form in the Prefect UI sends an empty one

    @field_validator("format")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and value not in tuple(InputFormat):
            from eventmill.sources import how_to_read_others, input_formats  # all that reads files comes with it

            if value not in input_formats():
                raise ValueError(
                    f"unknown input format{did_you_mean(value, input_formats())}; {how_to_read_others()}"
                )
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.files is None) == (self.generated is None):
            raise ValueError("give either 'files' or 'generated'")
        if self.generated is not None and (self.tree or self.columns or self.format or self.reader):
            raise ValueError("'tree', 'columns', 'format' and 'reader' belong to 'files', not to 'generated'")
        if self.reader is not None and (self.tree or self.format):
            raise ValueError("'tree' and 'format' are for Eventmill's own sources, not for a 'reader'")
        if (self.types or self.csv) and (self.generated is not None or self.reader is not None):
            raise ValueError("'types' and 'csv' are for text files that Eventmill reads")
        return self
