"""The tables of a ledger in memory: rows as frozen values, spans by position, one lock. No verbs.

A verb checks everything before it changes anything, so nothing has to be rolled back.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count

from eventmill import text
from eventmill.core.access_tokens import Session, Token
from eventmill.core.leases import Lease
from eventmill.core.outputs import MergeLease, RangeOutput
from eventmill.core.partition import check_replacement, coalesce, in_order
from eventmill.core.ranges import Input, Layout, Span
from eventmill.core.records import (
    CampaignRow,
    DesiredState,
    Incident,
    JournalKind,
    Rules,
    Sample,
    UsageCause,
    UsageTotals,
)
from eventmill.core.states import State, Verb
from eventmill.core.work_order import PayloadCode
from eventmill.errors import LedgerError
from eventmill.ledger import words

Place = tuple[int, int]
"""An input's number, and where in it a span begins."""


@dataclass(frozen=True, slots=True)
class BlockRow:
    """A block while some of its events are LEASED, or a second claim on the events of another (`copy_of`)."""

    id: int
    input_id: int
    start: int
    stop: int
    range_events: int
    aligned: bool
    leader_attempt: int
    copy_of: int | None = None
    attempt: int | None = None
    holder: str = ""
    nonce: str | None = None
    claimed_at: datetime | None = None
    expires_at: datetime | None = None
    begun: int = 0
    offered: bool = False

    @property
    def owner(self) -> int:
        """The number that the spans of this claim carry."""
        return self.id if self.copy_of is None else self.copy_of


@dataclass(frozen=True, slots=True)
class OutputRow:
    """A range output: needed until `dropped_at`, there until it is forgotten."""

    id: int
    input_id: int
    output: RangeOutput
    attempt: int
    holder: str
    dropped_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class MergeRow:
    """A merge from its beginning on."""

    id: int
    key: str
    attempt: int | None = None
    holder: str = ""
    nonce: str | None = None
    expires_at: datetime | None = None
    completed_at: datetime | None = None
    published_at: datetime | None = None
    staged: str = ""
    bytes: int = 0
    sha256: str = ""
    rows: int = 0
    events: int = 0
    spans: tuple[tuple[str, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class HolderRow:
    """Who works for a campaign, or did. Not `seen_at` any time once it is known to be gone."""

    seen_at: datetime | None = None
    quarantined_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class JournalLine:
    """An incident, and the number of the input that it befell."""

    incident: Incident
    input_id: int | None


_NO_CAMPAIGN = CampaignRow(
    id=0,
    uid="",
    name="",
    spec={},
    rules=Rules(failures=1, losses=1, lease=timedelta(), target=1.0),
    payload="",
    store_url="",
    schema=None,
    desired_state=DesiredState.CANCELLED,
    created_at=datetime.min.replace(tzinfo=UTC),
    closed_at=None,
    close_reason=None,
)


class SpanTable:
    """The spans of a campaign by place. `replace` is the only way to change them."""

    def __init__(self) -> None:
        self._at: dict[Place, Span] = {}
        self._places: list[Place] = []
        self._ready: list[Place] = []
        self._of_block: defaultdict[int, set[Place]] = defaultdict(set)
        self._of_merge: defaultdict[int, set[Place]] = defaultdict(set)
        self._of_output: dict[int, Place] = {}
        self.events: Counter[State] = Counter()

    def __iter__(self) -> Iterator[Span]:
        return (self._at[place] for place in self._places)

    def __len__(self) -> int:
        return len(self._places)

    def ready(self) -> Iterator[Span]:
        """READY spans in campaign order."""
        return (self._at[place] for place in self._ready)

    def of_block(self, block_id: int) -> list[Span]:
        """The LEASED spans of one block, in order."""
        return [self._at[place] for place in sorted(self._of_block.get(block_id, ()))]

    def of_merge(self, merge_id: int) -> list[Span]:
        """What one merge holds, in order."""
        return [self._at[place] for place in sorted(self._of_merge.get(merge_id, ()))]

    def of_output(self, output_id: int) -> Span | None:
        """The COMMITTED span with this output."""
        place = self._of_output.get(output_id)
        return None if place is None else self._at[place]

    def add(self, span: Span) -> None:
        """A span of events that the ledger did not hold before."""
        if span.reason is not None:
            span = replace(span, reason=text.told(span.reason, most_bytes=text.LINE_BYTES))
        place = span.input_id, span.start
        self._at[place] = span
        insort(self._places, place)
        self.events[span.state] += len(span)
        if span.state is State.READY:
            insort(self._ready, place)
        if span.block_id is not None:
            self._of_block[span.block_id].add(place)
        if span.merge_id is not None:
            self._of_merge[span.merge_id].add(place)
        if span.output_id is not None:
            self._of_output[span.output_id] = place

    def replace(self, verb: Verb, *, old: Sequence[Span], new: Iterable[Span]) -> None:
        """Replace spans by spans that cover the same events.

        Raises `PartitionBroken` or `IllegalMove`, and `LedgerError` if `old` is not what the ledger holds.
        """
        after = list(new)
        check_replacement(verb, old, after)
        unchanged = set(old) & set(after)
        gone = [span for span in old if span not in unchanged]
        strangers = [span for span in gone if self._at.get((span.input_id, span.start)) != span]
        if strangers:
            raise LedgerError(
                f"'{verb}' met {len(gone) - len(strangers)} of {len(gone)} spans; nothing was changed."
            )
        for span in gone:
            self._remove(span)
        for span in in_order(after):
            if span not in unchanged:
                self.add(span)

    def replace_and_coalesce(self, verb: Verb, *, old: Sequence[Span], new: Iterable[Span]) -> None:
        """`replace`, and let what became READY or ABANDONED join neighbours like it."""
        touching = self._touching(old)
        self.replace(verb, old=[*old, *touching], new=coalesce([*new, *touching]))

    def _touching(self, old: Sequence[Span]) -> list[Span]:
        found: dict[Place, Span] = {}
        for span in old:
            behind = self._at.get((span.input_id, span.stop))
            before = bisect_left(self._places, (span.input_id, span.start)) - 1
            ahead = self._at[self._places[before]] if before >= 0 else None
            for other in (behind, ahead):
                if other is None or other.state not in (State.READY, State.ABANDONED):
                    continue
                if other.input_id == span.input_id and (other.start == span.stop or other.stop == span.start):
                    found[other.input_id, other.start] = other
        return list(found.values())

    def _remove(self, span: Span) -> None:
        place = span.input_id, span.start
        del self._at[place]
        del self._places[bisect_left(self._places, place)]
        self.events[span.state] -= len(span)
        if span.state is State.READY:
            del self._ready[bisect_left(self._ready, place)]
        for index, number in ((self._of_block, span.block_id), (self._of_merge, span.merge_id)):
            if number is not None:
                index[number].discard(place)
                if not index[number]:
                    del index[number]
        if span.output_id is not None:
            self._of_output.pop(span.output_id, None)


@dataclass(slots=True)
class CampaignTables:
    """All that belongs to one campaign."""

    row: CampaignRow
    looked_at: datetime
    leader: str | None = None
    leader_attempt: int | None = None
    leader_expires_at: datetime | None = None
    inputs: dict[int, Input] = field(default_factory=dict)
    layouts: dict[int, Layout] = field(default_factory=dict)
    spans: SpanTable = field(default_factory=SpanTable)
    blocks: dict[int, BlockRow] = field(default_factory=dict)
    outputs: dict[int, OutputRow] = field(default_factory=dict)
    merges: dict[int, MergeRow] = field(default_factory=dict)
    journal: list[JournalLine] = field(default_factory=list)
    of_kind: defaultdict[JournalKind, list[JournalLine]] = field(default_factory=lambda: defaultdict(list))
    reports: dict[str, int] = field(default_factory=dict)  # attempt by the id of a failure's report
    usage: dict[UsageCause, UsageTotals] = field(default_factory=dict)
    useful_at: datetime | None = None
    holders: dict[str, HolderRow] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)

    def lines(self, *kinds: JournalKind) -> Iterator[JournalLine]:
        """Lines of the journal, oldest first; of these kinds only, if some are named."""
        if len(kinds) == 1:
            return iter(self.of_kind[JournalKind(kinds[0])])
        return (line for line in self.journal if not kinds or line.incident.kind in kinds)

    def set_row(self, **changes: object) -> None:
        """The campaign with these changes."""
        self.row = replace(self.row, **changes)  # type: ignore[arg-type]  # of the names in a CampaignRow

    def open_again(self) -> None:
        """Something is READY again, or for the first time: it is not closed any more."""
        self.set_row(closed_at=None, close_reason=None)

    def write_journal(
        self,
        at: datetime,
        *,
        kind: JournalKind,
        reason: str,
        detail: str = "",
        input_id: int | None = None,
        start: int | None = None,
        stop: int | None = None,
        attempt: int | None = None,
        holder: str | None = None,
        cpu_seconds: float = 0.0,
    ) -> Incident:
        """Append one line."""
        url = None if input_id is None else self.inputs[input_id].url
        reason, detail = text.told(reason, most_bytes=text.LINE_BYTES), text.told(detail)
        incident = Incident(at, kind, url, start, stop, attempt, holder, reason, detail, cpu_seconds)
        line = JournalLine(incident, input_id)
        self.journal.append(line)
        self.of_kind[kind].append(line)
        return incident

    def add_usage(
        self,
        cause: UsageCause,
        *,
        at: datetime,
        events: int,
        cpu_seconds: float,
        wall_seconds: float = 0.0,
        overhead_seconds: float = 0.0,
        occurrences: int = 1,
    ) -> None:
        """Add to the account of one cause."""
        old = self.usage.get(cause, UsageTotals())
        self.usage[cause] = UsageTotals(
            old.occurrences + occurrences,
            old.events + events,
            old.cpu_seconds + cpu_seconds,
            old.wall_seconds + wall_seconds,
            old.overhead_seconds + overhead_seconds,
        )
        if cause is UsageCause.USEFUL:
            self.useful_at = at

    def current(self, lease: Lease) -> BlockRow | None:
        """The block of a lease that is current."""
        row = self.blocks.get(lease.block_id)
        return row if row is not None and row.attempt == lease.attempt else None

    def current_merge(self, lease: MergeLease) -> MergeRow | None:
        """The merge of a lease that is current."""
        row = self.merges.get(lease.merge_id)
        return row if row is not None and row.attempt == lease.attempt else None


class MemoryTables:
    """Campaigns, code and counters; what every verb begins with."""

    def __init__(self, url: str, clock: Callable[[], datetime] | None) -> None:
        """`clock` is settable for tests and simulations; without it this machine's time counts."""
        self.url = url
        self._clock = clock
        self._lock = threading.RLock()
        self._campaigns: dict[int, CampaignTables] = {}
        self._codes: dict[str, PayloadCode] = {}
        self._keys: dict[str, int] = {}  # the campaign of every output that is not forgotten
        # Of each kind, none of which ever comes back.
        self._campaign_numbers, self._input_numbers, self._block_numbers = count(1), count(1), count(1)
        self._output_numbers, self._merge_numbers = count(1), count(1)
        self._attempts = 0
        self._sessions: dict[str, Session] = {}
        self._tokens: dict[str, Token] = {}

    @property
    def address(self) -> str:
        """Where the ledger is, for people."""
        return self.url

    def disconnect(self) -> None:
        """Nothing is open."""

    def _now(self) -> datetime:
        return datetime.now(UTC) if self._clock is None else self._clock()

    def _next_attempt(self) -> int:
        self._attempts += 1
        return self._attempts

    def _tables(self, campaign_id: int) -> CampaignTables:
        found = self._campaigns.get(campaign_id)
        if found is None:
            raise words.no_campaign_numbered(campaign_id)
        return found

    def _look_at(self, campaign_id: int) -> CampaignTables:
        """For questions: of a campaign that is not there, the answers are empty."""
        return self._campaigns.get(campaign_id) or CampaignTables(_NO_CAMPAIGN, looked_at=self._now())

    def _with_block(self, block_id: int) -> tuple[CampaignTables, BlockRow] | None:
        found = ((c, c.blocks[block_id]) for c in self._campaigns.values() if block_id in c.blocks)
        return next(found, None)

    def _with_merge(self, merge_id: int) -> tuple[CampaignTables, MergeRow] | None:
        found = ((c, c.merges[merge_id]) for c in self._campaigns.values() if merge_id in c.merges)
        return next(found, None)
