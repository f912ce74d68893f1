"""The campaign: one small YAML file, and the same model as the parameter form in the Prefect UI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from math import isfinite
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, Self, Union, cast, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from eventmill.access import holds_secret
from eventmill.config.cell_code import written_out
from eventmill.config.yaml_file import YamlError, read_yaml
from eventmill.core.ledger_url import DEFAULT_LEDGER, PASSWORD_INSIDE, holds_password
from eventmill.core.ranges import Description
from eventmill.core.records import Rules
from eventmill.core.units import Duration, Events, EventsOrAuto, Fraction, Size, parse_bytes
from eventmill.core.work_order import FormatSpec
from eventmill.errors import CampaignError
from eventmill.formats import FORMATS, format_names, open_format
from eventmill.runtime.preemption import notice_names


def _no_zero_byte(place: str) -> str:
    if "\0" in place:
        raise ValueError("it contains a zero byte, which is not allowed in file names")
    return place


Place = Annotated[str, AfterValidator(_no_zero_byte)]
"""A path or an address."""


NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
IDENTIFIER = r"^[A-Za-z_][A-Za-z0-9_]*$"
SUFFIX = r"^[A-Za-z0-9]+(\.[A-Za-z0-9]+)*$"
CREDENTIALS = r"^(anonymous|[a-z0-9-]+/[a-z0-9-]+)$"
PATTERNS = {
    NAME: "use 1 to 64 letters (A-Z, a-z), digits, '.', '_' and '-'; the first must be a letter or a digit",
    IDENTIFIER: "use letters (A-Z, a-z), digits and '_'; the first must not be a digit",
    SUFFIX: "use letters (A-Z, a-z) and digits, with single dots between them, such as jsonl.gz",
    CREDENTIALS: "write 'anonymous', or the type and name of a Prefect block in lower case, such as secret/my-s3",
}
"""What a text must match, and how a message says that."""


class Part(BaseModel):
    """A part of a campaign. Unknown keys are refused; values are immutable."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        title=None,
        hide_input_in_errors=True,
        # Pydantic gives none to a field that is a model: Prefect's form then calls it by its class, or "Field".
        field_title_generator=lambda name, _: name.replace("_", " ").capitalize(),
    )


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

    events: Events = Field(description="The number of events, such as 20k or 1M; they are numbered from 0.")
    files: int = Field(1, ge=1, description="The number of virtual inputs into which the events are divided.")

    @model_validator(mode="after")
    def _enough_events(self) -> Self:
        if self.files > self.events:
            raise ValueError(f"{self.events} events cannot be divided into {self.files} files")
        return self


class InputFile(Part):
    """Inputs with a label, or with parameters of their own."""

    url: str = Field(description="A path, url, glob, folder or @FILE; all inputs that it names are meant.")
    label: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        None, description="The data set that these inputs belong to; events are also counted by label."
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="Values of these inputs, which the payload gets as where.parameters."
    )

    @field_validator("parameters", mode="after")
    @classmethod
    def _can_be_kept(cls, value: dict[str, Any]) -> dict[str, Any]:
        return {key: _as_json(item, key) for key, item in value.items()}

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


SOURCE = Field(
    None,
    description="The code itself, in place of a file; 'callable' is then a name in it. A notebook gives it.",
)


class Code(Part):
    """What the user's payload and reader have in common."""

    ROLE: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _of_a_function(cls, data: Any) -> Any:
        return _with_code(data, role=cls.ROLE)

    @field_validator("files", mode="before", check_fields=False)
    @classmethod
    def _a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("parameters", mode="after", check_fields=False)
    @classmethod
    def _can_be_kept(cls, value: dict[str, Any]) -> dict[str, Any]:
        # The ledger stores them as JSON: any other value would be different when the campaign is resumed.
        return {key: _as_json(item, key) for key, item in value.items()}


class Reader(Code):
    """Code of one's own that reads inputs."""

    ROLE = "reader"

    callable: str = Field(
        description="path/to/file.py:Name or package.module:Name; called as Name(url, **parameters)."
    )
    parameters: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments for the reader.")
    files: list[str] | None = Field(
        None, min_length=1, description="Data files that are shipped with the reader, as payload.files."
    )
    source: str | None = SOURCE


class Inputs(Part):
    """Where the events come from: `files`, or `generated`."""

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
        return [value] if isinstance(value, str | Mapping | InputFile) else value

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
                raise ValueError(f"unknown input format; {how_to_read_others()}")
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


class Payload(Code):
    """The user's code, which turns a range of events into an output."""

    ROLE = "payload"

    callable: str = Field(
        description="path/to/file.py:Name (relative to the working directory) or package.module:Name."
    )
    parameters: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments for the payload.")
    files: list[str] | None = Field(
        None,
        min_length=1,
        description=(
            "Data files beside the payload's file that are shipped with it, such as [model.json, 'tables/*.csv']; "
            "at most 50 MB."
        ),
    )
    source: str | None = SOURCE


class Ranges(Part):
    """How events are cut into ranges, the unit of processing, commit and loss."""

    events: EventsOrAuto = Field(
        "auto", description="Events per range, such as 500 or 2k; with auto, chosen from the measured speed."
    )
    seconds: Duration = Field(
        "5s",
        validate_default=True,
        description="With auto: how long one range should take; shorter if workers vanish often.",
    )
    block: Duration = Field(
        "30s",
        validate_default=True,
        description="How long one block should take. A block has one or more ranges; it is one Prefect task run.",
    )


class MergeSize(Part):
    """How large merged files are: a number of events (byte-identical files) or of bytes."""

    events: Events | None = Field(
        None, description="Merged files end at multiples of this number of events, such as 20k."
    )
    bytes: Size | None = Field(
        None,
        description="A merged file is made when its range outputs reach this size; 256MB if neither is given.",
    )

    @model_validator(mode="before")
    @classmethod
    def _one_size(cls, data: Any) -> Any:
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
        return None if value is None else {key: _as_json(item, key) for key, item in value.items()}

    @field_validator("format")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in format_names():
            raise ValueError(f"unknown format; known formats are {', '.join(format_names())}")
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


class Limits(Part):
    """When to give up, and how long to wait for a silent worker."""

    failures: int = Field(
        2, ge=1, description="Failures of a range before it is halved, or its single event abandoned."
    )
    losses: int = Field(
        5,
        ge=1,
        description="Losses (vanished workers) of a range before it is halved, or its single event abandoned.",
    )
    lease: Duration = Field(
        "60s",
        validate_default=True,
        description="How long a worker may be silent; then it counts as lost, and its ranges are given to others.",
    )
    event_seconds: float | None = Field(
        None,
        gt=0,
        description="Seconds that an event may take. A range fails if it takes longer than this times its events.",
    )
    memory: Size | None = Field(
        None,
        description=(
            "Memory that the process of the payload, or of a reader, may request (Linux). A range that needs more "
            "fails."
        ),
    )
    abandoned: Fraction = Field(
        "1%",
        validate_default=True,
        description=(
            "The run stops (exit code 1) when more than this fraction of all events is abandoned; 10 events, and "
            "what the target leaves out, are always allowed. What is done is kept."
        ),
    )
    no_worker_timeout: Duration = Field(
        "5m",
        validate_default=True,
        description="How long to wait while there is no worker; then the run ends (exit code 1).",
    )
    input_timeout: Duration = Field(
        "10m", validate_default=True, description="How long reading a range may take before the range fails."
    )
    setup_timeout: Duration = Field(
        "1h",
        validate_default=True,
        description="How long setting up the payload may take before the set-up fails.",
    )
    store_timeout: Duration = Field(
        "10m",
        validate_default=True,
        description="How long to wait for a store that does not answer; then the run ends (exit code 1).",
    )


class Cluster(Part):
    """The Dask cluster on which the campaign runs."""

    type: str = Field(
        "local",
        description="The name of a file in deployments/clusters (local, address, …), or a path to a .yaml file.",
    )
    workers: int | None = Field(
        None, ge=1, description="The number of workers to start; overrides the cluster file."
    )
    address: str | None = Field(None, description="The scheduler of a running Dask cluster, for type 'address'.")
    walltime: Duration | None = Field(
        None,
        description=(
            "The time from the start of a worker until something else ends it, such as 2h; the worker then begins "
            "only ranges that end before. Not needed on Slurm, which tells the end."
        ),
    )
    grace: Duration = Field(
        "20s",
        validate_default=True,
        description="How long a worker may take to finish its current range after SIGTERM; then it drops it.",
    )
    preemption_notices: list[str] = Field(
        default_factory=list, description="Clouds that announce when they take a machine away: aws, azure, gcp."
    )

    @field_validator("preemption_notices")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        for name in value:
            if name not in notice_names():
                raise ValueError(
                    f"unknown source of preemption notices '{name}'; known are {', '.join(notice_names())}"
                )
        return value


class CampaignSpec(Part):
    """A campaign: process every event of these inputs with this payload, and merge the results."""

    name: str = Field(
        pattern=NAME, description="1 to 64 letters, digits, '.', '_' and '-'; the first is a letter or a digit."
    )
    inputs: Inputs
    payload: Payload
    output: Output
    ranges: Ranges = Field(default_factory=Ranges)
    target: float = Field(
        1.0,
        gt=0,
        le=1,
        description="The campaign ends when this fraction of its events is done; the rest is abandoned.",
    )
    limits: Limits = Field(default_factory=Limits)
    cluster: Cluster = Field(default_factory=Cluster)
    ledger: Place = Field(DEFAULT_LEDGER, description="The file that records the campaign, on a local disk.")
    credentials: str | None = Field(
        None,
        pattern=CREDENTIALS,
        description="A Prefect block for S3, such as secret/my-s3; by default the AWS environment or ~/.aws.",
    )

    @model_validator(mode="before")
    @classmethod
    def _no_secrets(cls, data: Any) -> Any:
        # Before all other checks: their messages would show the given values.
        if isinstance(data, Mapping):
            parts = [data.get("inputs"), data.get("output")]
            values = [part.get(key) for part in parts if isinstance(part, Mapping) for key in ("files", "store")]
            named = [url for value in values for url in (value if isinstance(value, list) else [value])]
            for url in [each.get("url") if isinstance(each, Mapping) else each for each in named]:
                if isinstance(url, str) and holds_secret(url):
                    raise ValueError(
                        "a url contains a password or secret key; remove it, and set 'credentials' instead"
                    )
            if isinstance(ledger := data.get("ledger"), str) and holds_password(ledger):
                raise ValueError(PASSWORD_INSIDE)
        return data

    @classmethod
    def from_file(cls, path: Path | str) -> CampaignSpec:
        """The campaign that a YAML file describes; `CampaignError` says what is wrong, and what is allowed."""
        return read_campaign(Path(path))

    @property
    def rules(self) -> Rules:
        """What the ledger needs to know."""
        return Rules(
            failures=self.limits.failures,
            losses=self.limits.losses,
            lease=self.limits.lease,
            target=self.target,
            merge_events=self.output.merge.events,
            merge_bytes=self.output.merge.bytes,
        )

    @property
    def ledger_url(self) -> str:
        """The address of the ledger, valid from any folder of this machine."""
        return ledger_address(self.ledger)

    @property
    def store_url(self) -> str:
        """The address of the store, valid from any folder of this machine."""
        return self.output.store if "://" in self.output.store else str(Path(self.output.store).absolute())


def read_campaign(path: Path) -> CampaignSpec:
    """Read and validate a campaign file; `CampaignError` names the key, the value and what is allowed."""
    try:
        data = read_yaml(path)
    except OSError as error:
        raise CampaignError(f"the campaign file {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise CampaignError(
            f"the campaign file {path} is not a text file: byte {error.start} is not UTF-8."
        ) from None
    except YamlError as error:
        where = f" {error.where}" if error.where else ""
        raise CampaignError(f"{path}{where} is not valid YAML: {error.problem}.") from None
    if not isinstance(data, dict):
        raise CampaignError(
            f"{path} does not contain a campaign: expected keys such as name, inputs, payload, output."
        )
    return parse_campaign(data, source=str(path))


def ledger_address(ledger: str) -> str:
    """The address of a ledger, valid from any folder of this machine, from an address or a relative path."""
    return ledger if "://" in ledger else f"sqlite:///{Path(ledger).absolute()}"


def _with_code(data: Any, *, role: str) -> Any:
    """A payload or reader that is given as a text, a function or a class, with the keys that it stands for."""
    if isinstance(data, str) or (callable(data) and not isinstance(data, BaseModel)):
        data = {"callable": data}
    if isinstance(data, dict) and callable(data.get("callable")):
        if data.get("source") is not None:
            raise ValueError("give either a function or its 'source'")
        data = data | written_out(data["callable"], role=role)
    return data


def _as_json(value: Any, place: str) -> Any:
    """`value` if JSON can represent it, tuples as lists; else ValueError says where, and what to write."""
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"{place} has the key {key!r}, which is not a string; write it in quotes")
        return {key: _as_json(item, f"{place}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(item, f"{place}[{number}]") for number, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and isfinite(value)):
        return value
    raise ValueError(
        f"{place} is {value!r}, a {type(value).__name__}; only strings, numbers, true, false, null, lists and "
        "mappings can be stored, so write it in quotes"
    )


def as_campaign_spec(given: CampaignSpec | Path | str | dict[str, Any]) -> CampaignSpec:
    """A campaign given as a `CampaignSpec`, as plain data, or as the path of its file."""
    if isinstance(given, CampaignSpec):
        return given
    if isinstance(given, dict):
        return parse_campaign(given, source="the campaign")
    return read_campaign(Path(given))


def parse_campaign(data: dict[str, Any], *, source: str) -> CampaignSpec:
    """Validate plain data; `CampaignError` has one clause for each error."""
    try:
        return CampaignSpec.model_validate(data)
    except ValidationError as error:
        raise CampaignError(f"{source}: {what_is_wrong(error, CampaignSpec)}.") from None


def what_is_wrong(error: ValidationError, model: type[BaseModel]) -> str:
    """One clause for each error in a file that `model` describes: the key, what is allowed, and what was given."""
    return "; ".join(dict.fromkeys(_clause(item, model) for item in _meant(error.errors())))


def _meant(errors: Sequence[Any]) -> Iterator[Any]:
    """Of a value that may be a text or a part with keys, only the errors of what it was meant to be."""
    for item in errors:
        before = item["loc"][:-1]
        others = [other for other in errors if other is not item and other["loc"][: len(before)] == before]
        other_kind = "string_type" if isinstance(item.get("input"), Mapping) else "model_type"
        if not (others and item["type"] == other_kind):
            yield item


def _clause(item: Any, model: type[BaseModel]) -> str:
    keys, within = _place(item["loc"], model)
    place = ".".join(map(str, keys))
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        return f"unknown key '{place}'; allowed are: {', '.join(within.model_fields)}"
    if item["type"] == "missing":
        return f"'{place}' is missing"
    given = item.get("input")
    if (wanted := _wanted(item)) is not None:
        is_plain = given is None or isinstance(given, str | int | float | bool)
        return f"'{place}' must be {wanted}, not {given!r}" if is_plain else f"'{place}' must be {wanted}"
    if item["type"] == "string_pattern_mismatch":
        message = PATTERNS[item["ctx"]["pattern"]]
    is_shown = isinstance(given, str | int | float | bool) and f"'{given}'" not in message
    shown = f" (given: {given!r})" if is_shown else ""
    return f"'{place or 'campaign'}': {message[0].lower()}{message[1:]}{shown}"


_LIMITS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}
_KINDS = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
}


def _wanted(item: Any) -> str | None:
    """What a value has to be, in our words; None if the message says it in its own."""
    if item["type"] in _LIMITS:
        key, words = _LIMITS[item["type"]]
        limit = item["ctx"][key]
        return f"{words} {limit:g}" if isinstance(limit, float) else f"{words} {limit}"
    return _KINDS.get(item["type"])


def _place(location: tuple[Any, ...], model: type[BaseModel]) -> tuple[list[Any], type[BaseModel]]:
    """The user's keys in an error's place, and the part of the campaign in which the last one is.

    Pydantic adds words of its own: of several types the one that it tried (`int`, `literal[...]`), and `[key]`.
    """
    keys, within, types = [], model, [cast(Any, model)]
    for part in location:
        if len(types) > 1:  # it tells which one was tried, which matters only for those with keys
            types = [each for each in types if _is_part(each) or get_origin(each) in (dict, list)][:1]
            continue
        kind: Any = types[0] if types else object
        if _is_part(kind):
            within, field = kind, kind.model_fields.get(part)
            types = _types(field.annotation) if field else []
        elif get_origin(kind) in (dict, list):
            types = _types(get_args(kind)[-1])
        else:
            break
        keys.append(part)
    return keys, within


def _types(annotation: Any) -> list[Any]:
    """The types that a value may have, besides None."""
    if get_origin(annotation) is Annotated:
        return _types(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [kind for one in get_args(annotation) for kind in _types(one)]
    return [] if annotation is type(None) else [annotation]


def _is_part(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
