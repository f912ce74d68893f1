"""Version 1 of the messages of the event service: what a pilot sends, and what it gets.

These models are the contract: the service checks what comes in against them, answers in them, and publishes them
as OpenAPI. Within version 1 fields may be added, never removed or changed; whoever reads ignores what it does not
know. Sizes are bytes, times seconds, ranges half-open and counted from 0 in their input.
"""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

PROTOCOL = 1

LONGEST_WAIT_SECONDS = 25.0
"""The longest that `acquire` is held while there is no work: many proxies end a request after 30 s."""

MOST_ITEMS = 1000
"""Items in one report."""

MOST_OUTPUTS = 2000
"""Outputs in one report, in all its items: each is looked for in the store."""

MOST_BLOCKS = 256
"""Blocks that one `acquire` may ask for."""

MOST_SLOTS = 4096

MOST_ENVIRONMENTS = 100
"""Environments that one pilot looks for."""

MOST_EVENTS = 2**63 - 1

LEASE = r"^[0-9]{1,18}\.[0-9]{1,18}\.[0-9]{1,18}\.[0-9]{1,18}$"
"""How a lease is named. Not \\d, which is a digit of any script."""

Position = Annotated[int, Field(ge=0, le=MOST_EVENTS)]
Seconds = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the content, in hex.")]
Md5 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", description="MD5 of the content, in hex.")]
Nonce = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9_-]{8,64}$",
        description="Random, and the same when a call is repeated: then the answer is that of the first call.",
    ),
]
LeaseName = Annotated[
    str,
    Field(
        pattern=LEASE,
        description="Names a lease: a pilot gives back what it was given, and need not understand it.",
        examples=["1.42.7.1033"],
    ),
]
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Text = Annotated[str, Field(max_length=100_000)]
EnvironmentDigest = Annotated[
    str,
    Field(pattern=r"^[0-9a-f]{16}$", description="Identifies what is asked for.", examples=["5f2a0b94e7c1d386"]),
]
Lacking = dict[EnvironmentDigest, Annotated[list[Annotated[str, Field(max_length=1000)]], Field(max_length=20)]]


class Message(BaseModel):
    """What all messages have in common: what is not known is ignored, so that versions can differ."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Outcome(StrEnum):
    """What became of one item."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    FENCED = "fenced"
    UNPROVEN = "unproven"


class Directive(StrEnum):
    """What to do with the block."""

    CONTINUE = "continue"
    DRAIN = "drain"
    STOP = "stop"


class Range(Message):
    """Events `[start, stop)` of one input."""

    start: Position = Field(description="The first event, counted from 0 in its input.", examples=[2000])
    stop: Position = Field(description="One more than the last event.", examples=[3000])

    @model_validator(mode="after")
    def _not_empty(self) -> Range:
        if self.start >= self.stop:
            raise ValueError(f"[{self.start}, {self.stop}) holds no event: 'stop' must be larger than 'start'")
        return self


# Sessions


class Environment(Message):
    """Software that a campaign asks for, and that a pilot must look for before it gets work of it."""

    digest: EnvironmentDigest
    packages: list[str] = Field(
        default_factory=list,
        description="Packages of Python that must be installed in these versions, with markers (PEP 508).",
        examples=[["numpy==2.1.0"]],
    )
    path: str | None = Field(None, description="A path that must exist.", examples=["/cvmfs/sft.cern.ch"])
    image: str | None = Field(None, description="The container image that the pilot must run in.")


class Refusal(Message):
    """Why a pilot gets nothing of a campaign that runs."""

    campaign: str = Field(description="The campaign's name.", examples=["dimuon-2026"])
    kind: str = Field(
        description="What does not fit: memory, cores, gpus, site, environment, time, or what comes later.",
        examples=["gpus"],
    )
    reason: str = Field(description="One line: what is wanted, and what this pilot has.")


class Offers(Message):
    """What a pilot has, so that it gets work that fits. All of it is optional."""

    host: str = Field("", max_length=255, description="The host's name.")
    site: str = Field("", max_length=64, description="The site's name, such as CERN or aws-eu-1.")
    cores: int | None = Field(None, ge=1, le=1_000_000)
    memory_bytes: int | None = Field(
        None, ge=1, le=MOST_EVENTS, description="Memory of the whole pilot, for all its slots."
    )
    gpus: int = Field(0, ge=0, le=10_000)
    seconds_left: Seconds | None = Field(None, description="Until something ends it, such as its batch job.")
    software: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=256)]] = Field(
        default_factory=dict, max_length=100, description="What is installed, such as python: 3.12.3."
    )
    environments: Lacking = Field(
        default_factory=dict,
        max_length=MOST_ENVIRONMENTS,
        description="What it lacks of the environments that it looked for, by their digests; none: an empty list.",
    )


class SessionRequest(Message):
    """A pilot begins."""

    name: Name = Field(description="For people, such as the host's name.", examples=["node017"])
    slots: int = Field(ge=1, le=MOST_SLOTS, description="How many blocks it works on at a time.")
    campaigns: list[Name] | None = Field(
        None, max_length=1000, description="The campaigns that it works for; without it, all of its token."
    )
    offers: Offers = Field(default_factory=Offers)
    nonce: Nonce


class SessionReply(Message):
    """The session of a pilot."""

    session: str = Field(description="Its id, in the addresses of all further calls.")
    worker: str = Field(description="The name under which the ledger and people know it.")
    protocol: int = Field(PROTOCOL, description="The version of the messages.")
    version: str = Field(description="The version of Eventmill that the service runs.")
    wait_seconds: float = Field(description="The longest wait that `acquire` holds.")


# Work


class InputAddress(Message):
    """Where a pilot reads an input, and how it knows that it is still the one that was split."""

    url: str = Field(
        description=(
            "An address: the input's own, a presigned one, or a path of this service that begins with '/', to be "
            "read with the token and byte ranges. Never the events themselves."
        )
    )
    name: str = Field(description="The input's name in the campaign.")
    ordinal: int = Field(description="Its number in the campaign, from 0.")
    first: Position = Field(description="The campaign-wide number of its first event.")
    events: Position = Field(description="The number of events in all of it.")
    identity: str = Field(description="Changes when its content does.")
    size: int | None = Field(None, description="Its bytes, where the service serves or signs it.")
    boundaries: list[int] = Field(default_factory=list, description="Where its format begins a new piece.")
    label: str | None = Field(None, description="The label of its data set, if the campaign gives one.")


class UploadKind(StrEnum):
    """How outputs reach the store."""

    PROXIED = "proxied"
    PRESIGNED = "presigned"


class Claim(Message):
    """A block of events, leased to this pilot."""

    lease: LeaseName
    campaign: str = Field(description="The campaign's name.")
    lease_seconds: float = Field(description="How long the lease lasts, from the moment of the request on.")
    renew_in_seconds: float = Field(description="After this time at the latest, report something about it.")
    input: InputAddress
    block: Range
    range_events: int = Field(description="The number of events in a range, as the ranges below are cut.")
    aligned: bool = Field(description="Whether ranges end at the input's boundaries.")
    missing: list[Range] = Field(description="The pieces of the block that are still to be done.")
    ranges: list[Range] = Field(description="The same, cut into ranges: one output each.")
    schema_: str | None = Field(None, alias="schema", description="The columns of outputs, base64 of Arrow IPC.")
    suffix: str = Field(description="The suffix of output files, without a dot.", examples=["parquet"])
    upload: UploadKind
    payload: str = Field(description="The digest of the code: GET /v1/payloads/{digest}.")
    order: str = Field(description="What Eventmill's own pilot needs besides, as JSON text; others ignore it.")

    model_config = ConfigDict(populate_by_name=True)


class AcquireRequest(Message):
    """Ask for blocks."""

    blocks: int = Field(1, ge=1, le=MOST_BLOCKS, description="At most so many.")
    wait_seconds: Annotated[float, Field(ge=0, le=LONGEST_WAIT_SECONDS, allow_inf_nan=False)] = Field(
        0.0, description="How long the call may be held while there is none."
    )
    nonce: Nonce
    seconds_left: Seconds | None = Field(
        None,
        description="Until something ends this pilot, as it knows now; it gets what can be done in that time.",
    )
    environments: Lacking | None = Field(
        None,
        max_length=MOST_ENVIRONMENTS,
        description=(
            "What it lacks of the environments that it looked for, by their digests, an empty list for nothing. "
            "Without it, it gets no work of campaigns that ask for one, unless it has told before."
        ),
    )


class AcquireReply(Message):
    """The blocks that this pilot has now; empty if there is no work for it."""

    claims: list[Claim] = Field(description="One for each block; they are worked on in any order.")
    retry_in_seconds: float = Field(description="When to ask again, if there is no claim.")
    leave: str | None = Field(None, description="Why this pilot may end: nothing will come, as far as is known.")
    environments: list[Environment] = Field(
        default_factory=list,
        description="Look for these, and ask again with what is missing: campaigns that have work ask for them.",
    )
    refusals: list[Refusal] = Field(
        default_factory=list, description="Campaigns that run and of which this pilot gets nothing, and why."
    )


# Results


class Failure(Message):
    """Why something failed."""

    kind: Literal["payload", "crash", "timeout", "memory", "result", "setup", "input"] = Field(
        description="What is at fault: the code, its process, a limit, its result, its set-up, or the input."
    )
    summary: Text = Field(description="One line.")
    traceback: Text = Field("", description="Where in the code, in as many lines as it takes.")
    printed: Text = Field("", description="The end of what was printed.")
    cpu_seconds: Seconds = 0.0
    signal: int | None = Field(None, ge=0, le=255)


class Output(Message):
    """One stored output of one range."""

    range: Range
    key: str = Field(max_length=1024, description="As `PUT …/outputs` or `POST …/uploads` answered.")
    bytes: int = Field(ge=0, le=MOST_EVENTS, description="Its size.")
    sha256: Sha256
    rows: int = Field(ge=0, le=MOST_EVENTS, description="The number of rows in it.")
    cpu_seconds: Seconds = Field(0.0, description="CPU time of the payload for this range.")
    wall_seconds: Seconds = Field(0.0, description="How long the payload took.")
    overhead_seconds: Seconds = Field(0.0, description="How long the slot was kept by all else: reading, storing.")


class CommitItem(Message):
    """These outputs are stored."""

    type: Literal["commit"]
    lease: LeaseName
    outputs: list[Output] = Field(
        min_length=1, max_length=MOST_ITEMS, description="They count from now on, each if it is accepted."
    )
    payload: str = Field(max_length=64, description="The digest of the code that made them.")
    begun: Position | None = Field(None, description="Everything before this position is begun.")


class FailItem(Message):
    """This range failed."""

    type: Literal["fail"]
    lease: LeaseName
    range: Range
    failure: Failure
    report_id: Nonce


class RenewItem(Message):
    """The pilot lives, and works on the block."""

    type: Literal["renew"]
    lease: LeaseName
    begun: Position | None = Field(None, description="Everything before this position is begun.")


class AskItem(Message):
    """What `renew` would be answered; changes nothing."""

    type: Literal["ask"]
    lease: LeaseName


class ReleaseItem(Message):
    """The pilot ends its work on the block; what is not committed goes to others, and nothing is charged."""

    type: Literal["release"]
    lease: LeaseName
    drained: Text | None = Field(None, description="Why the pilot must end, if it must.")


class SetupFailedItem(Message):
    """The code could not be set up: the block goes to others, and no event is charged."""

    type: Literal["setup_failed"]
    lease: LeaseName
    failure: Failure


class SetupItem(Message):
    """The code was set up, and took so long."""

    type: Literal["setup"]
    lease: LeaseName
    cpu_seconds: Seconds = Field(description="CPU time of the set-up.")


class TroubleItem(Message):
    """The pilot cannot work on the block for a reason outside of its events: an input that changed, a full disk.

    The coordinator ends the run when that happens again and again. Repeated, it is told twice.
    """

    type: Literal["trouble"] = Field(description="Which item this is.")
    lease: LeaseName
    kind: Literal["input", "store", "other"] = Field(description="What is at fault.", examples=["input"])
    summary: Text = Field(description="One line.", examples=["data/0.parquet changed while it was being read."])


class SchemaItem(Message):
    """The first output has these columns; the answer tells those that hold for the campaign."""

    type: Literal["schema"]
    lease: LeaseName
    schema_: str = Field(alias="schema", max_length=10_000_000, description="Base64 of an Arrow IPC schema.")

    model_config = ConfigDict(populate_by_name=True)


Item = Annotated[
    CommitItem
    | FailItem
    | RenewItem
    | AskItem
    | ReleaseItem
    | SetupFailedItem
    | SetupItem
    | SchemaItem
    | TroubleItem,
    Field(discriminator="type"),
]


class ReportRequest(Message):
    """What happened in all slots of a pilot since its last report, in this order."""

    items: list[Item] = Field(max_length=MOST_ITEMS)

    @model_validator(mode="after")
    def _not_too_many(self) -> ReportRequest:
        outputs = sum(len(item.outputs) for item in self.items if isinstance(item, CommitItem))
        if outputs > MOST_OUTPUTS:
            raise ValueError(
                f"it commits {outputs:,} outputs, and at most {MOST_OUTPUTS:,} are taken in one report"
            )
        return self


class ItemReply(Message):
    """What became of one item, and what to do next."""

    outcomes: list[Outcome] = Field(description="One for each output of a commit, else one.")
    directive: Directive = Field(description="'drain': begin no further range; 'stop': drop the block.")
    stop: Position | None = Field(None, description="Where the block now ends; nearer than before for a slow one.")
    schema_: str | None = Field(None, alias="schema", description="The columns that hold, for an item 'schema'.")
    reason: str | None = Field(None, description="Why an output is 'unproven', or an item is not accepted.")

    model_config = ConfigDict(populate_by_name=True)


class ReportReply(Message):
    """One reply for each item of the report."""

    replies: list[ItemReply] = Field(description="In the order of the items.")
    leave: str | None = Field(None, description="Why this pilot should end, if it should.")


class UploadRequest(Message):
    """A range is computed: where to put its output?"""

    lease: LeaseName
    range: Range
    bytes: int = Field(ge=0, le=5 * 2**30, description="At most 5 GiB.")
    sha256: Sha256
    md5: Md5


class UploadReply(Message):
    """Where to put it, and under which key to commit it."""

    key: str = Field(description="Its key in the store, to be committed under.")
    method: Literal["PUT"] = Field("PUT", description="How it is sent.")
    url: str = Field(description="A presigned address for exactly these bytes, or a path of this service.")
    headers: dict[str, str] = Field(description="To be sent as they are.")
    expires_in_seconds: float = Field(description="How long the address is accepted.")


class StoredReply(Message):
    """An output that was uploaded through the service."""

    key: str = Field(description="Its key in the store, to be committed under.")
    bytes: int = Field(description="Its size, as it came.")
    sha256: str = Field(description="SHA-256 of what came, in hex.")


class PayloadReply(Message):
    """The code of a payload."""

    digest: str = Field(description="Of the code and its data files: another digest is other code.")
    callable: str = Field(description="As the campaign file names it.")
    entry: str = Field(description="module:name, to be imported with the bundle on the path.")
    bundle: str | None = Field(None, description="Base64 of a zip; without it the code is an installed package.")


class EndReply(Message):
    """A session has ended."""

    released: int = Field(description="Blocks that it still had, which go to others.")


# What operators do


class Wanted(StrEnum):
    """What is wanted of a campaign."""

    RUN = "run"
    PAUSED = "paused"
    CANCELLED = "cancelled"


class StateRequest(Message):
    """Let a campaign run, pause it (ranges that are begun are finished), or cancel it (they are dropped)."""

    state: Wanted


class StateReply(Message):
    """What is wanted of a campaign now. Pilots learn it with the answer to their next report."""

    campaign: str
    state: Wanted
    done: int = Field(description="Events that are committed or merged.")
    total: int = Field(description="All its events.")


class SessionEntry(Message):
    """The session of a pilot, as operators see it."""

    session: str
    name: str
    worker: str
    token: str = Field(description="The id of the token that it uses; not the token.")
    slots: int
    campaigns: list[str] | None = Field(description="What it works for; null for all.")
    offers: Offers
    began_at: datetime
    seen_at: datetime
    refusals: list[Refusal] = Field(
        default_factory=list, description="Campaigns that run and of which it gets nothing, and why."
    )


class SessionsReply(Message):
    """Sessions that have not ended, the oldest first."""

    sessions: list[SessionEntry]


class TokenEntry(Message):
    """A token, as operators see it: never its secret part, which nobody has."""

    token: str = Field(description="Its id.")
    role: Literal["operator", "pilot", "reader"]
    campaigns: list[str] | None = Field(description="What it is for; null for all.")
    label: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class TokensReply(Message):
    """Tokens, the oldest first."""

    tokens: list[TokenEntry]


class RevokeReply(Message):
    """A token is accepted no more."""

    token: str
    released: int = Field(description="Blocks of its sessions, which have ended and go to others.")


class Problem(Message):
    """An error (RFC 9457), as application/problem+json."""

    type: str = Field("about:blank", description="Always this: the status and the detail tell all.")
    title: str = Field(description="The status in words.")
    status: int = Field(description="The status of the answer.")
    detail: str = Field(description="What is wrong, and what to do.")
    request: str | None = Field(None, description="The request's id, which the service's log has too.")


LEASE_PARTS = re.compile(r"([0-9]+)\.([0-9]+)\.([0-9]+)\.([0-9]+)")
