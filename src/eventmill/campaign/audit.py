"""The audit: compares the ledger with itself and with the store. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from eventmill.campaign.garbage import sweepable
from eventmill.config.output_spec import format_of, merged_suffix
from eventmill.core.outputs import MergedOutput
from eventmill.core.records import CampaignRow, Counts
from eventmill.core.states import State
from eventmill.core.units import counted
from eventmill.errors import CorruptOutput, StoreError, StoreTaken
from eventmill.formats import Format, open_format
from eventmill.ledger import Ledger
from eventmill.reports.html_table import table_html
from eventmill.store import Store
from eventmill.work.store_mark import check_store_is_ours, mark_key, read_mark


class ProblemKind(StrEnum):
    """What a problem is about, which decides what can be done."""

    OWNER = "owner"  # the store is another's, or has files unknown to the ledger; no run continues it
    LEDGER = "ledger"  # the ledger contradicts itself, or an intact file
    UNREADABLE = "unreadable"  # a merged file cannot be read now, so nothing is known of it
    MERGED = "merged"  # a merged file is damaged or missing
    RANGE = "range"  # a range output that waits for its merge is; the merge notices it
    MARK = "mark"  # the store has no mark; the next run writes it


@dataclass(frozen=True, slots=True)
class Problem:
    """One clause for people, and what it is about."""

    kind: ProblemKind
    text: str


@dataclass(frozen=True, slots=True, repr=False)
class Audit:
    """What an audit found; nothing when every event is accounted for exactly once."""

    counts: Counts
    merged_files: int
    rows: int
    orphans: int
    found: tuple[Problem, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """What was found, for people."""
        return tuple(problem.text for problem in self.found)

    @property
    def kinds(self) -> frozenset[ProblemKind]:
        """What the problems are about."""
        return frozenset(problem.kind for problem in self.found)

    @property
    def is_exact(self) -> bool:
        """Whether ledger and store agree in everything."""
        return not self.found

    def __repr__(self) -> str:
        """One line."""
        return f"<Audit: {self._title()}>"

    def __str__(self) -> str:
        """A few lines, and one for each problem."""
        width = max(len(name) for name, _ in self._rows())
        return "\n".join(
            [f"audit: {self._title()}", *(f"  {name:<{width}}  {text}" for name, text in self._rows())]
        )

    def _repr_html_(self) -> str:
        """The audit as a notebook shows it."""
        return table_html(self._title(), self._rows())

    def _title(self) -> str:
        return "exact: every event is accounted for once" if self.is_exact else counted(len(self.found), "problem")

    def _rows(self) -> list[tuple[str, str]]:
        return [
            ("merged files", f"{self.merged_files:,}, {counted(self.rows, 'row')}, {self.counts.merged:,} events"),
            ("abandoned", counted(self.counts.abandoned, "event")),
            ("not merged yet", counted(self.counts.open + self.counts.committed, "event")),
            *((str(problem.kind), problem.text) for problem in self.found),
        ]


def audit(ledger: Ledger, store: Store, record: CampaignRow) -> Audit:
    """Compare the ledger with itself and with the store: sizes, checksums, rows and event spans of every file."""
    problems = [Problem(ProblemKind.LEDGER, text) for text in ledger.audit(record.id)]
    merged = ledger.merged_outputs(record.id)
    format = open_format(format_of(record.spec))
    for file in merged:
        problems += _merged_problems(store, file, format)
    problems += _spans_problems(ledger, record, merged)
    problems += _store_problems(ledger, store, record)
    for output in ledger.committed_outputs(record.id):
        try:
            store.verify(output.key, bytes=output.bytes, sha256=output.sha256)
        except CorruptOutput as error:
            problems.append(Problem(ProblemKind.RANGE, str(error)))
    return Audit(
        counts=ledger.counts(record.id),
        merged_files=len(merged),
        rows=sum(file.rows for file in merged),
        orphans=len(sweepable(ledger, store, record)),
        found=tuple(problems),
    )


def _store_problems(ledger: Ledger, store: Store, record: CampaignRow) -> list[Problem]:
    """What the store has under the name of the campaign that does not belong to it."""
    problems = []
    mark = read_mark(store, record.name)
    if mark is None and (ledger.merged_outputs(record.id) or ledger.committed_outputs(record.id)):
        told = (
            f"{mark_key(record.name)} is missing in {store.url}, so the owner is unknown; the next run writes it"
        )
        problems.append(Problem(ProblemKind.MARK, told))
    try:
        check_store_is_ours(ledger, store, record, suffix=merged_suffix(record.spec))
    except StoreTaken as error:
        problems.append(Problem(ProblemKind.OWNER, str(error)))
    return problems


def _merged_problems(store: Store, file: MergedOutput, format: Format) -> list[Problem]:
    try:
        store.verify(file.key, bytes=file.bytes, sha256=file.sha256)
    except CorruptOutput as error:
        return [Problem(ProblemKind.MERGED, str(error))]
    except (StoreError, OSError) as error:
        return [Problem(ProblemKind.UNREADABLE, str(error))]
    try:
        with store.open(file.key) as handle:
            found = format.read_contents(handle, name=file.key)
    except ValueError as error:  # although its checksum is that of the ledger
        return [Problem(ProblemKind.LEDGER, str(error))]
    except (StoreError, OSError) as error:
        return [Problem(ProblemKind.UNREADABLE, str(error))]
    problems = []
    if found.rows is not None and found.rows != file.rows:
        problems.append(f"{file.key} has {found.rows} rows, but the ledger recorded {file.rows}")
    if found.spans is not None and list(found.spans) != list(file.spans):
        problems.append(f"{file.key} lists other events than the ledger")
    return [Problem(ProblemKind.LEDGER, text) for text in problems]


def _spans_problems(ledger: Ledger, record: CampaignRow, merged: tuple[MergedOutput, ...]) -> list[Problem]:
    """Events by file as the ledger's spans have them, against what its merges say."""
    held: dict[int, set[tuple[str, int, int]]] = {file.merge_id: set() for file in merged}
    for item, span in ledger.spans(record.id, State.MERGED):
        if span.merge_id is not None:
            held.setdefault(span.merge_id, set()).add((item.url, span.start, span.stop))
    problems = []
    for file in merged:
        events = sum(stop - start for _, start, stop in held[file.merge_id])
        if events != file.events or events != sum(stop - start for _, start, stop in file.spans):
            problems.append(f"{file.key}: spans, merge and file disagree on its number of events")
    return [Problem(ProblemKind.LEDGER, text) for text in problems]
