"""The audit: compares the ledger with itself and with the store. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from eventmill.campaign.garbage import sweepable
from eventmill.config.campaign_spec import format_of, merged_suffix
from eventmill.core.outputs import MergedOutput
from eventmill.core.records import CampaignRow, Counts
from eventmill.core.states import State
from eventmill.errors import CorruptOutput, StoreError, StoreTaken
from eventmill.formats import Format, open_format
from eventmill.ledger import Ledger
from eventmill.store import Store
from eventmill.work.store_mark import check_store_is_ours, mark_key, read_mark


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found. `problems` is empty when every event is accounted for exactly once."""

    counts: Counts
    merged_files: int
    rows: int
    orphans: int
    problems: tuple[str, ...]

    @property
    def is_exact(self) -> bool:
        """Whether ledger and store agree in everything."""
        return not self.problems


def audit(ledger: Ledger, store: Store, record: CampaignRow) -> Audit:
    """Compare the ledger with itself and with the store: sizes, checksums, rows and event spans of every file."""
    problems = list(ledger.audit(record.id))
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
            problems.append(str(error))
    return Audit(
        counts=ledger.counts(record.id),
        merged_files=len(merged),
        rows=sum(file.rows for file in merged),
        orphans=len(sweepable(ledger, store, record)),
        problems=tuple(problems),
    )


def _store_problems(ledger: Ledger, store: Store, record: CampaignRow) -> list[str]:
    """What the store has under the name of the campaign that does not belong to it."""
    problems = []
    mark = read_mark(store, record.name)
    if mark is None and (ledger.merged_outputs(record.id) or ledger.committed_outputs(record.id)):
        problems.append(
            f"{mark_key(record.name)} is missing in {store.url}, so the owner is unknown; the next run writes it"
        )
    try:
        check_store_is_ours(ledger, store, record, suffix=merged_suffix(record.spec))
    except StoreTaken as error:
        problems.append(str(error))
    return problems


def _merged_problems(store: Store, file: MergedOutput, format: Format) -> list[str]:
    try:
        store.verify(file.key, bytes=file.bytes, sha256=file.sha256)
        with store.open(file.key) as handle:
            found = format.read_contents(handle, name=file.key)
    except (StoreError, OSError, ValueError) as error:
        return [str(error)]
    problems = []
    if found.rows is not None and found.rows != file.rows:
        problems.append(f"{file.key} has {found.rows} rows, but the ledger recorded {file.rows}")
    if found.spans is not None and list(found.spans) != list(file.spans):
        problems.append(f"{file.key} lists other events than the ledger")
    return problems


def _spans_problems(ledger: Ledger, record: CampaignRow, merged: tuple[MergedOutput, ...]) -> list[str]:
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
    return problems
