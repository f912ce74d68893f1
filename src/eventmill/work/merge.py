"""One merge, carried out: read the group's outputs, write one file, move the ledger, show the file, tidy up.

The order matters. The merged file is staged out of sight; then the ledger says that it counts; then it
appears under its name; only then are the range outputs deleted. Whoever dies in between leaves something
that the next one finishes, and at no moment does a glob over the folder see an event twice.
"""

from __future__ import annotations

import functools
import logging
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from eventmill.core.keys import STAGED
from eventmill.core.leases import Outcome
from eventmill.core.outputs import CommittedOutput, Merge, MergeLease
from eventmill.core.work_order import WorkOrder
from eventmill.errors import CorruptOutput, EventmillError
from eventmill.formats import Part, open_format
from eventmill.ledger import shared_ledger
from eventmill.ledger.protocol import WorkLedger
from eventmill.runtime.heartbeat import renewing
from eventmill.runtime.scratch import open_scratch
from eventmill.store import Store, open_store
from eventmill.work.publish import publish_merges

logger = logging.getLogger(__name__)

MERGE_LEASE = timedelta(seconds=60)
"""How long a merger may be silent before others take it for dead. It is renewed while the merge runs."""


RENEWALS_PER_LEASE = 3


def run_merge(order: WorkOrder, merge_id: int, *, holder: str) -> str:
    """Carry out one merge; returns a line for people. Harmless when run twice, also at once.

    A damaged range output sends its events back to READY and dissolves the group; that is no error.
    Raises `StoreError` when the store itself fails; the group then stays for another try.
    """
    ledger, store = shared_ledger(order.ledger_url), open_store(order.store_url, credentials=order.credentials)
    claimed = ledger.claim_merge(merge_id, holder=holder, length=MERGE_LEASE, nonce=secrets.token_hex(8))
    if claimed is None:
        publish_merges(ledger, store, order.campaign_id)
        return "was done already"
    merge, lease = claimed
    about = {
        **{"campaign": order.campaign, "merge": merge_id, "key": merge.key},
        **{"attempt": lease.attempt, "worker": holder},
    }
    logger.debug("merge %d claimed: %d range outputs", merge_id, len(merge.outputs), extra=about)
    with _holding(ledger, lease):
        with open_scratch(Path(tempfile.gettempdir())) as scratch:  # on disk: a merged file may be large
            try:
                outcome = _merge(ledger, store, order, merge=merge, lease=lease, scratch=scratch)
            except CorruptOutput as error:
                told = _dissolve(ledger, store, merge, lease, error)
                logger.warning("merge %d of %s: %s", merge_id, merge.key, told, extra=about)
                return told
        logger.info(
            "merge %d of %d range outputs into %s, %d rows: %s",
            *(merge_id, len(merge.outputs), merge.key, merge.rows, outcome),
            extra=about | {"rows": merge.rows},
        )
        publish_merges(ledger, store, order.campaign_id)
    return f"{merge.key}: {merge.rows} rows, {outcome}"


@contextmanager
def _holding(ledger: WorkLedger, lease: MergeLease) -> Iterator[None]:
    """Renews a merge's lease, and releases it however the merge ends."""

    def renew(_: object) -> bool:
        return ledger.renew_merge(lease, length=MERGE_LEASE) is not Outcome.FENCED

    try:
        with renewing(renew, seconds=MERGE_LEASE.total_seconds() / RENEWALS_PER_LEASE):
            yield
    finally:
        with suppress(EventmillError):  # a ledger out of reach: the lease ends by itself
            ledger.release_merge(lease)


def _merge(
    ledger: WorkLedger, store: Store, order: WorkOrder, *, merge: Merge, lease: MergeLease, scratch: Path
) -> Outcome:
    format, path = open_format(order.format), scratch / "merged"
    parts = [_part(store, output) for output in merge.outputs]
    schema = format.read_schema(parts[0]) if merge.schema is None else merge.schema
    try:
        rows = format.merge(parts, schema=schema, path=path)
    except CorruptOutput:
        # Where no range had said what the columns are, these are now: one that keeps differing then fails by
        # name, and is not made again for ever. Where they were fixed, nothing changes.
        ledger.fix_schema(order.campaign_id, schema)
        raise
    staged = f"{STAGED}/{order.campaign}/{lease.attempt}-{secrets.token_hex(4)}.{format.suffix}"
    stored = store.put(staged, path)
    outcome = ledger.complete_merge(lease, staged=stored.key, bytes=stored.bytes, sha256=stored.sha256, rows=rows)
    if outcome is Outcome.FENCED:
        store.delete([stored.key])
    return outcome


def _part(store: Store, output: CommittedOutput) -> Part:
    return Part(
        open=functools.partial(store.open, output.key),
        name=output.key,
        bytes=output.bytes,
        sha256=output.sha256,
        rows=output.rows,
        file=output.input.url,
        start=output.range.start,
        stop=output.range.stop,
        first=output.input.first + output.range.start,
    )


def _dissolve(ledger: WorkLedger, store: Store, merge: Merge, lease: MergeLease, error: CorruptOutput) -> str:
    """Send back what is damaged, all of it at once: the merge came no further than the first."""
    damaged = _damaged(store, merge.outputs)
    if damaged:
        ledger.abort_merge(lease, corrupt=list(damaged), reason="; ".join(damaged.values()))
        return f"{len(damaged)} of {len(merge.outputs)} range outputs were damaged and are made again"
    # Whole by its checksum, yet not what a merge can use: name it and have it made again.
    guilty = [output.output_id for output in merge.outputs if output.key in str(error)]
    everyone = [output.output_id for output in merge.outputs]
    ledger.abort_merge(lease, corrupt=guilty or everyone, reason=str(error))
    return f"dissolved: {error}"


def _damaged(store: Store, outputs: Sequence[CommittedOutput]) -> dict[int, str]:
    damaged = {}
    for output in outputs:
        try:
            store.verify(output.key, bytes=output.bytes, sha256=output.sha256)
        except CorruptOutput as error:
            damaged[output.output_id] = str(error)
    return damaged
