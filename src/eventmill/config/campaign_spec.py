"""The campaign: one small YAML file, and the same model as the parameter form in the Prefect UI."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from eventmill.access import holds_secret
from eventmill.config.code_spec import Payload
from eventmill.config.inputs_spec import Inputs
from eventmill.config.output_spec import Output
from eventmill.config.parts import CREDENTIALS, NAME, Part, Place
from eventmill.config.quantities import (
    Duration,
    EventsOrAuto,
    Fraction,
    Size,
    at_least,
    at_least_bytes,
    number_of_percent,
)
from eventmill.config.wording import what_is_wrong
from eventmill.config.yaml_file import YamlError, read_yaml
from eventmill.core.ledger_url import DEFAULT_LEDGER, PASSWORD_INSIDE, holds_password
from eventmill.core.meant import did_you_mean
from eventmill.core.records import Rules
from eventmill.errors import CampaignError
from eventmill.runtime.preemption import notice_names

SHORTEST = at_least("100ms")
"""A lease or timeout that is shorter would end what works."""


class Ranges(Part):
    """How events are cut into ranges, the unit of processing, commit and loss."""

    PLAIN: ClassVar[str | None] = "events"
    PLAIN_TYPES: ClassVar[tuple[type, ...]] = (str, int)

    events: EventsOrAuto = Field(
        "auto", description="Events per range, such as 500 or 2k; with auto, chosen from the measured speed."
    )
    seconds: Annotated[Duration, at_least("1ms")] = Field(
        "5s",
        validate_default=True,
        description="With auto: how long one range should take; shorter if workers vanish often.",
    )
    block: Annotated[Duration, at_least("1ms")] = Field(
        "30s",
        validate_default=True,
        description="How long one block should take. A block has one or more ranges; it is one Prefect task run.",
    )


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
    lease: Annotated[Duration, SHORTEST] = Field(
        "60s",
        validate_default=True,
        description="How long a worker may be silent; then it counts as lost, and its ranges are given to others.",
    )
    event_seconds: float | None = Field(
        None,
        ge=1e-6,
        description="Seconds that an event may take. A range fails if it takes longer than this times its events.",
    )
    memory: Annotated[Size, at_least_bytes(10**7, unit="GB")] | None = Field(
        None,
        description=(
            "Memory that the process of the payload, or of a reader, may request (Linux). A range that needs more "
            "fails."
        ),
    )
    readers: int | None = Field(
        None,
        ge=1,
        description=(
            "Blocks that may read from one storage at a time: a disk of this machine, a host, or a bucket; by "
            "default as many as there are slots."
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
    no_worker_timeout: Annotated[Duration, SHORTEST] = Field(
        "5m",
        validate_default=True,
        description="How long to wait while there is no worker; then the run ends (exit code 1).",
    )
    input_timeout: Annotated[Duration, SHORTEST] = Field(
        "10m", validate_default=True, description="How long reading a range may take before the range fails."
    )
    setup_timeout: Annotated[Duration, SHORTEST] = Field(
        "1h",
        validate_default=True,
        description="How long setting up the payload may take before the set-up fails.",
    )
    store_timeout: Annotated[Duration, SHORTEST] = Field(
        "10m",
        validate_default=True,
        description="How long to wait for a store that does not answer; then the run ends (exit code 1).",
    )


class Pilots(Part):
    """Workers outside the cluster, which reach the campaign through an event service (`eventmill pilot`)."""

    PLAIN: ClassVar[str | None] = "start"
    PLAIN_TYPES: ClassVar[tuple[type, ...]] = (int,)

    start: int = Field(
        0,
        ge=0,
        le=100_000,
        description="The most pilots that the run starts while there is work; with 0, others start them.",
    )
    slots: int = Field(1, ge=1, le=4096, description="Blocks that each of them works on at a time.")
    command: str | None = Field(
        None,
        description=(
            "How to start one elsewhere, such as 'ssh node{number} eventmill pilot --server {server} --slots "
            "{slots}'; its environment has EVENTMILL_TOKEN. Without it, they are processes on this machine."
        ),
    )
    idle: Annotated[Duration, SHORTEST] = Field(
        "60s", validate_default=True, description="How long one that was started here stays without work."
    )
    server: str | None = Field(
        None,
        pattern=r"^https?://",
        description="The address of 'eventmill serve' for pilots; without it, the run serves its ledger itself.",
    )
    host: str = Field(
        "127.0.0.1", description="Where the run's own service listens; 0.0.0.0 for pilots on other hosts."
    )
    port: int = Field(0, ge=0, le=65535, description="The port of the run's own service; 0 for any that is free.")


class Cluster(Part):
    """The workers on which the campaign runs: a Dask cluster, and pilots."""

    PLAIN: ClassVar[str | None] = "type"

    type: str = Field(
        "local",
        description="The name of a file in deployments/clusters (local, address, …), or a path to a .yaml file.",
    )
    workers: int | None = Field(
        None, ge=1, description="The number of workers to start; overrides the cluster file."
    )
    address: str | None = Field(None, description="The scheduler of a running Dask cluster, for type 'address'.")
    walltime: Annotated[Duration, at_least("10s", unit="h")] | None = Field(
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
    pilots: Pilots | None = Field(
        None, description="Let pilots work on the campaign, besides or instead of the cluster's workers."
    )
    preemption_notices: list[str] = Field(
        default_factory=list, description="Clouds that announce when they take a machine away: aws, azure, gcp."
    )

    @field_validator("preemption_notices")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        for name in value:
            if name not in notice_names():
                meant = did_you_mean(name, notice_names())
                raise ValueError(
                    f"unknown source of preemption notices '{name}'{meant}; known are {', '.join(notice_names())}"
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
    target: Annotated[float, BeforeValidator(number_of_percent)] = Field(
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

    if not TYPE_CHECKING:  # editors know the keys from the fields

        def __init__(self, /, **data: Any) -> None:
            """`CampaignError` says what is wrong in our words; others who validate get pydantic's error."""
            try:
                super().__init__(**data)
            except ValidationError as error:
                raise CampaignError(f"the campaign: {what_is_wrong(error, CampaignSpec)}.") from None

        # Without it, pydantic would call this instead of validating by itself.
        __init__.__pydantic_base_init__ = True

    @model_validator(mode="before")
    @classmethod
    def _no_secrets(cls, data: Any) -> Any:
        # Before all other checks: their messages would show the given values.
        if isinstance(data, Mapping):
            parts = [data.get("inputs"), data.get("output")]
            values = [
                value
                for part in parts
                for value in ([part.get("files"), part.get("store")] if isinstance(part, Mapping) else [part])
            ]
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
