"""What the views answer, as models: each field with its meaning and unit, so that OpenAPI tells everything.

Positions are zero-based, ranges half-open: `[start, stop)`. Times are ISO 8601 in UTC.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from eventmill.core.records import DesiredState, JournalKind
from eventmill.core.states import State
from eventmill.reports.status import Standing

Events = Annotated[int, Field(ge=0, description="A number of events.", examples=[1_250_000])]
Position = Annotated[int, Field(ge=0, description="A position in an input: the number of an event.", examples=[0])]
Time = Annotated[AwareDatetime, Field(description="A time, UTC.", examples=["2026-01-31T22:15:04.123456Z"])]
Holder = Annotated[str, Field(description="The id of a worker or pilot.", examples=["node17:4711:88231904"])]
InputUrl = Annotated[str, Field(description="The address of an input.", examples=["s3://bucket/run3/f0001.root"])]
Total = Annotated[int, Field(ge=0, description="How many there are in all; the newest are listed.", examples=[3])]


class Answer(BaseModel):
    """What all answers have in common."""

    model_config = ConfigDict(frozen=True)


class EventCounts(Answer):
    """The events of a campaign by state; each event is in exactly one of the five states."""

    total: Events = Field(description="All events: the sum of the five states.")
    ready: Events = Field(description="Events that wait for a worker.")
    leased: Events = Field(description="Events that a worker holds, or that are on their way to one.")
    committed: Events = Field(description="Events whose output is stored and waits for its merge.")
    merged: Events = Field(description="Events in merged files.")
    abandoned: Events = Field(description="Events that were given up, each with a reason.")


class CampaignSummary(Answer):
    """A campaign in a few numbers."""

    name: str = Field(description="Its name in the ledger.", examples=["dimuon-2026"])
    state: Standing = Field(description="What it is at, as people say it.", examples=["running"])
    desired_state: DesiredState = Field(description="What its user wants of it.", examples=["run"])
    created_at: Time = Field(description="When it was begun, UTC.")
    closed_at: Time | None = Field(description="When it ended, UTC; null while it has not.")
    target: float = Field(ge=0, le=1, description="The fraction of its events that must be done.", examples=[0.99])
    events: EventCounts
    done: Events = Field(description="Committed and merged events: their result is safe.")
    rate: float | None = Field(
        ge=0,
        description="Events per second, lately; null while it is not known or nobody works.",
        examples=[4210.5],
    )
    seconds_left: float | None = Field(
        ge=0, description="How long the rest will take, in seconds; null if it is not known.", examples=[7260.0]
    )


class CampaignList(Answer):
    """Campaigns, the newest first."""

    at: Time = Field(description="The time of the ledger when it was asked, UTC.")
    total: int = Field(ge=0, description="How many campaigns there are that you may see.", examples=[12])
    campaigns: list[CampaignSummary] = Field(description="At most `limit` of them, after the first `offset`.")


class Progress(CampaignSummary):
    """What the stream of a campaign tells whenever it changes."""

    at: Time = Field(description="The time of the ledger when it was asked, UTC.")
    workers: int = Field(ge=0, description="Workers and pilots that hold events now.", examples=[64])
    losses: int = Field(ge=0, description="How often a worker vanished with events, so far.", examples=[3])
    failures: int = Field(ge=0, description="Runs of the payload that failed, so far.", examples=[1])
    files: int = Field(ge=0, description="Merged files that are published.", examples=[12])
    file_bytes: int = Field(ge=0, description="Their size in bytes.", examples=[3_221_225_472])


class HeldEvents(Answer):
    """A block of events in somebody's hands: those of `[start, stop)` of an input that are not committed yet."""

    input: InputUrl
    start: Position = Field(description="The first of the events that are still held.")
    stop: Position = Field(description="Behind the last of them.", examples=[50_000])
    events: Events = Field(description="How many are held; some in between may be committed already.")
    since: Time = Field(description="When the block was claimed, UTC.")
    lease_until: Time = Field(description="When the lease ends unless it is renewed, UTC.")


class WorkerView(Answer):
    """A live worker or pilot: one that holds a lease, or was seen within one lease."""

    holder: Holder
    host: str | None = Field(description="Its host; null where its id does not tell.", examples=["node17"])
    pid: int | None = Field(description="Its process id on that host; null likewise.", examples=[4711])
    quarantined: bool = Field(description="Whether it gets no more work, since ranges fail on it alone.")
    events: Events = Field(description="All events that it holds.")
    holds: list[HeldEvents] = Field(description="What it holds, block by block; at most 8 blocks.")


class Workers(Answer):
    """The live workers and pilots."""

    total: Total
    listed: list[WorkerView] = Field(description="At most 200, by their ids: those that hold events come first.")


class IncidentView(Answer):
    """A line of the journal."""

    at: Time = Field(description="When it happened, UTC.")
    kind: JournalKind = Field(description="What it was.", examples=["failure"])
    input: InputUrl | None
    start: Position | None = Field(description="The first of the events concerned; null if none were.")
    stop: Position | None = Field(description="Behind the last of them.")
    holder: Holder | None
    reason: str = Field(description="Why, on one line.", examples=["ValueError: no tracks"])
    detail: str = Field(description="The end of the traceback and of what was printed, if there is any.")


class Incidents(Answer):
    """Incidents of one kind."""

    total: Total
    newest: list[IncidentView] = Field(description="At most 20, the newest first.")


class FileView(Answer):
    """A merged file."""

    key: str = Field(description="Its name in the store.", examples=["dimuon-2026-000000000000.parquet"])
    at: Time = Field(description="When it was published, UTC.")
    events: Events = Field(description="The events whose results are in it.")
    rows: int = Field(ge=0, description="Its rows.", examples=[812_004])
    bytes: int = Field(ge=0, description="Its size in bytes.", examples=[268_435_456])


class Files(Answer):
    """The merged files that are published."""

    total: Total
    bytes: int = Field(ge=0, description="The size of all, in bytes.", examples=[3_221_225_472])
    newest: list[FileView] = Field(description="At most 50, the newest first.")


class SampleView(Answer):
    """How far the campaign was at one moment. Long campaigns have fewer; there are never more than 240."""

    at: Time = Field(description="When the sample was taken, UTC.")
    done: Events = Field(description="Events committed and merged by then.")
    rate: float = Field(ge=0, description="Events per second since the sample before.", examples=[4210.5])
    workers: int = Field(ge=0, description="Live workers.", examples=[64])
    slots: int = Field(ge=0, description="Live slots.", examples=[512])
    busy: int = Field(ge=0, description="Slots that had a block.", examples=[512])
    losses: int = Field(ge=0, description="Losses by then.", examples=[3])


class LabelView(Answer):
    """The events of one data set."""

    label: str | None = Field(description="Its label; null for inputs without one.", examples=["signal"])
    total: Events
    processed: Events = Field(description="Those whose result is safe.")
    abandoned: Events


class CampaignDetail(Progress):
    """All that is worth watching of a campaign, except the map of its events."""

    store: str = Field(description="Where its outputs are.", examples=["s3://bucket/out"])
    inputs: int = Field(ge=0, description="How many inputs it has.", examples=[1000])
    close_reason: str | None = Field(description="Why it ended; null while it has not.")
    last_error: str | None = Field(description="How its last run ended, if not well; null otherwise.")
    at_work: Workers
    lost: Incidents = Field(description="Losses: workers that vanished with events.")
    failed: Incidents = Field(description="Failed runs of the payload, and set-ups that failed.")
    quarantined: list[Holder] = Field(description="Workers that get no more work; at most 200.")
    merged_files: Files
    labels: list[LabelView] = Field(description="The events by data set; empty if no input has a label.")
    samples: list[SampleView] = Field(description="Throughput over time, the oldest first.")


Run = tuple[int, int]
Mixed = tuple[int, int, int, int, int]


class StripView(Answer):
    """The events of one input, or of several neighbouring inputs, from the first to the last, in `pixels` bins.

    Bin k of p has the events from `k * events // p` up to `(k + 1) * events // p`. Of `bins`, a pair
    `[n, s]` stands for n bins wholly in state `states[s]`; five numbers are the events of one bin in each of
    `states`. So the bins of a strip sum to its events.
    """

    from_: int = Field(
        alias="from", ge=0, description="The number of its first input in the campaign.", examples=[0]
    )
    to: int = Field(ge=1, description="Behind its last input.", examples=[1])
    label: str = Field(description="What to call it.", examples=["f0001.root"])
    url: InputUrl | None = Field(description="The only input's address; null if there are several.")
    events: Events
    counts: Mixed = Field(description="Its events in each of `states`.", examples=[[900, 0, 100, 0, 0]])
    pixels: int = Field(ge=0, description="How many bins there are; fewer where there are fewer events.")
    bins: list[Run | Mixed] = Field(examples=[[[90, 0], [4, 0, 6, 0, 0], [9, 2]]])


class EventMap(Answer):
    """The map of events of a campaign, or of some of its inputs."""

    at: Time = Field(description="The time of the ledger when it was asked, UTC.")
    states: list[State] = Field(description="What the numbers in `counts` and `bins` mean, in this order.")
    inputs: int = Field(ge=0, description="How many inputs the campaign has.", examples=[1000])
    events: Events = Field(description="All events of the campaign.")
    strips: list[StripView]


class Health(Answer):
    """The service answers."""

    status: Literal["ok"] = "ok"


class GoneEvent(Answer):
    """The last event of a stream: the campaign is not in the ledger any more."""

    name: str = Field(description="Its name.", examples=["dimuon-2026"])
