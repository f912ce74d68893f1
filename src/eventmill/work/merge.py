"""Carries out one merge: read the outputs of the group, write one file, record it, publish it, clean up.

The order matters. The merged file is staged where users do not look; then the ledger records that it counts; then
it gets its name; only then are the range outputs deleted. If the process dies in between, the next one finishes
the work, and at no moment does a glob over the folder find an event twice.
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
from eventmill.core.leases import RENEWALS_PER_LEASE, Outcome
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
"""How long a merger may be silent before it counts as dead. The lease is renewed while the merge runs."""


def run_merge(order: WorkOrder, merge_id: int, *, holder: str) -> str:
    """Carry out one merge; returns a line for people. Harmless when run twice, also at the same time.

    If a range output is damaged, its events return to READY and the group is dissolved; that is not an error.
    Raises `StoreError` if the store itself fails; the group is kept for another try.
    """
    ledger, store = shared_ledger(order.ledger_url), open_store(order.store_url, credentials=order.credentials)
    claimed = ledger.claim_merge(merge_id, holder=holder, length=MERGE_LEASE, nonce=secrets.token_hex(8))
    if claimed is None:
        publish_merges(ledger, store, order.campaign_id)
        return "was already done"
    merge, lease = claimed
    about = {
        **{"campaign": order.campaign, "merge": merge_id, "key": merge.key},
        **{"attempt": lease.attempt, "worker": holder},
    }
    logger.debug("merge %d claimed: %d range outputs", merge_id, len(merge.outputs), extra=about)
    with _holding(ledger, lease):
        with open_scratch(Path(tempfile.gettempdir())) as scratch:  # on disk, because a merged file may be large
            try:
                outcome = _merge(ledger, store, order, merge=merge, lease=lease, scratch=scratch)
            except CorruptOutput as error:
                told = _dissolve(ledger, store, order, merge=merge, lease=lease, error=error, scratch=scratch)
                logger.warning("merge %d of %s: %s", merge_id, merge.key, told, extra=about)
                return told
        logger.info(
            "merge %d, %d range outputs into %s, %d rows: %s",
            *(merge_id, len(merge.outputs), merge.key, merge.rows, outcome),
            extra=about | {"rows": merge.rows},
        )
        publish_merges(ledger, store, order.campaign_id)
    return f"{merge.key}: {merge.rows} rows, {outcome}"


@contextmanager
def _holding(ledger: WorkLedger, lease: MergeLease) -> Iterator[None]:
    """Renew the lease of a merge, and release it however the merge ends."""

    def renew(_: object) -> bool:
        return ledger.renew_merge(lease, length=MERGE_LEASE) is not Outcome.FENCED

    try:
        with renewing(renew, seconds=MERGE_LEASE.total_seconds() / RENEWALS_PER_LEASE):
            yield
    finally:
        with suppress(EventmillError):  # if the ledger does not answer, the lease ends by itself
            ledger.release_merge(lease)


def _merge(
    ledger: WorkLedger, store: Store, order: WorkOrder, *, merge: Merge, lease: MergeLease, scratch: Path
) -> Outcome:
    format, path = open_format(order.format), scratch / "merged"
    parts = [part_of(store, output) for output in merge.outputs]
    schema = format.read_schema(parts[0]) if merge.schema is None else merge.schema
    try:
        rows = format.merge(parts, schema=schema, path=path)
    except CorruptOutput:
        # If no range had determined the columns, they are fixed now: a range with other columns then fails with a
        # message, instead of being made again for ever. If they were fixed before, nothing changes.
        ledger.fix_schema(order.campaign_id, schema)
        raise
    staged = f"{STAGED}/{order.campaign}/{lease.attempt}-{secrets.token_hex(4)}.{format.suffix}"
    stored = store.put(staged, path)
    outcome = ledger.complete_merge(lease, staged=stored.key, bytes=stored.bytes, sha256=stored.sha256, rows=rows)
    if outcome is Outcome.FENCED:
        store.delete([stored.key])
    return outcome


def part_of(store: Store, output: CommittedOutput) -> Part:
    """A committed output as formats read it: verified against what the ledger recorded."""
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


def _dissolve(
    ledger: WorkLedger,
    store: Store,
    order: WorkOrder,
    *,
    merge: Merge,
    lease: MergeLease,
    error: CorruptOutput,
    scratch: Path,
) -> str:
    """Return the events of all damaged outputs to READY; the merge only found the first one."""
    damaged = _damaged(store, merge.outputs)
    if damaged:
        ledger.abort_merge(lease, corrupt=list(damaged), reason="; ".join(damaged.values()))
        return f"{len(damaged)} of {len(merge.outputs)} range outputs were damaged and are computed again"
    # Its checksum is correct, but the merge cannot use it: report it and compute it again.
    guilty = [output.output_id for output in merge.outputs if output.key == error.key]
    if guilty and merge.schema is not None:  # who made one that cannot be used may have made more of them
        guilty = [one.output_id for one in merge.outputs if not _is_usable(store, order, merge, one, scratch)]
    everyone = [output.output_id for output in merge.outputs]
    ledger.abort_merge(lease, corrupt=guilty or everyone, reason=str(error))
    return f"dissolved: {error}"


def _is_usable(store: Store, order: WorkOrder, merge: Merge, output: CommittedOutput, scratch: Path) -> bool:
    """Whether this output can be merged alone."""
    path = scratch / f"alone-{output.output_id}"
    try:
        open_format(order.format).merge([part_of(store, output)], schema=merge.schema or b"", path=path)
    except CorruptOutput:
        return False
    finally:
        path.unlink(missing_ok=True)
    return True


def _damaged(store: Store, outputs: Sequence[CommittedOutput]) -> dict[int, str]:
    damaged = {}
    for output in outputs:
        try:
            store.verify(output.key, bytes=output.bytes, sha256=output.sha256)
        except CorruptOutput as error:
            damaged[output.output_id] = str(error)
    return damaged
