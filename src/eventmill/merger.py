"""One merge, carried out: read the group's outputs, write one file, move the ledger, show the file, tidy up.

The order matters. The merged file is staged out of sight; then the ledger says that it counts; then it
appears under its name; only then are the range outputs deleted. Whoever dies in between leaves something
that the next one finishes, and at no moment does a glob over the folder see an event twice.
"""

from __future__ import annotations

import functools
import secrets
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from eventmill.errors import CorruptOutput
from eventmill.formats.parquet import Part, write_merged
from eventmill.formats.schemas import schema_from_bytes, schema_to_bytes
from eventmill.ledger import Ledger, shared_ledger
from eventmill.model import CommittedOutput, Merge, MergeLease, Outcome, WorkOrder
from eventmill.payloads.scratch import open_scratch
from eventmill.store import Store, open_store

STAGED = "_staged"
"""Folder of merged files that nobody may see yet."""

SUFFIX = "parquet"

MERGE_LEASE = timedelta(seconds=60)


def run_merge(order: WorkOrder, merge_id: int, *, holder: str) -> str:
    """Carry out one merge; returns a line for people. Harmless when run twice, also at once.

    A damaged range output sends its events back to READY and dissolves the group; that is no error.
    Raises `StoreError` when the store itself fails; the group then stays for another try.
    """
    ledger, store = shared_ledger(order.ledger_url), open_store(order.store_url)
    claimed = ledger.claim_merge(merge_id, holder=holder, length=MERGE_LEASE)
    if claimed is None:
        publish_merges(ledger, store, order.campaign_id)
        return "was done already"
    merge, lease = claimed
    damaged = _damaged(store, merge.outputs)
    if damaged:
        reason = "; ".join(damaged.values())
        ledger.abort_merge(lease, corrupt=list(damaged), reason=reason)
        return f"{len(damaged)} of {len(merge.outputs)} range outputs were damaged and are made again"
    with open_scratch(Path(tempfile.gettempdir())) as scratch:  # on disk: a merged file may be large
        try:
            outcome = _merge(ledger, store, order, merge=merge, lease=lease, scratch=scratch)
        except CorruptOutput as error:
            # Whole by its checksum, yet not what a merge can use: name it and have it made again.
            guilty = [o.output_id for o in merge.outputs if o.key in str(error)]
            ledger.abort_merge(lease, corrupt=guilty or [o.output_id for o in merge.outputs], reason=str(error))
            return f"dissolved: {error}"
    publish_merges(ledger, store, order.campaign_id)
    return f"{merge.key}: {merge.rows} rows, {outcome}"


def _merge(
    ledger: Ledger, store: Store, order: WorkOrder, *, merge: Merge, lease: MergeLease, scratch: Path
) -> Outcome:
    path = scratch / "merged"
    schema = schema_from_bytes(merge.schema) if merge.schema else _schema_of(store, merge.outputs)
    parts = [
        Part(open=functools.partial(store.open, output.key), rows=output.rows, name=output.key)
        for output in merge.outputs
    ]
    spans = [(output.input.url, output.range.start, output.range.stop) for output in merge.outputs]
    try:
        rows = write_merged(parts, schema=schema, spans=spans, path=path)
    except CorruptOutput:
        # Where no range had said what the columns are, these are now: one that keeps differing then fails by
        # name, and is not made again for ever. Where they were fixed, nothing changes.
        ledger.fix_schema(order.campaign_id, schema_to_bytes(schema))
        raise
    staged = f"{STAGED}/{order.campaign}/{lease.attempt}-{secrets.token_hex(4)}.{SUFFIX}"
    stored = store.put(staged, path)
    outcome = ledger.complete_merge(lease, staged=stored.key, bytes=stored.bytes, sha256=stored.sha256, rows=rows)
    if outcome is Outcome.FENCED:
        store.delete([stored.key])
    return outcome


def publish_merges(ledger: Ledger, store: Store, campaign_id: int) -> None:
    """Show every merged file that counts, then delete the range outputs that nobody needs. Harmless twice."""
    for merge_id, staged, key in ledger.unpublished(campaign_id):
        store.publish(staged, key)
        ledger.published(merge_id)
    dropped = ledger.dropped_outputs(campaign_id)
    store.delete(key for _, key in dropped)
    ledger.forget_outputs([number for number, _ in dropped])


def _damaged(store: Store, outputs: Sequence[CommittedOutput]) -> dict[int, str]:
    damaged = {}
    for output in outputs:
        try:
            store.verify(output.key, bytes=output.bytes, sha256=output.sha256)
        except CorruptOutput as error:
            damaged[output.output_id] = str(error)
    return damaged


def _schema_of(store: Store, outputs: Sequence[CommittedOutput]) -> pa.Schema:
    """No range of the campaign has said what its columns are yet: all are empty, and alike."""
    with store.open(outputs[0].key) as file:
        return pq.read_schema(file)
