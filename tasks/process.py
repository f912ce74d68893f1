"""The Prefect task that processes one block.

It has no `retries=`. What was lost may be half done, must go to another worker, and may be cut smaller: the ledger
makes new blocks of exactly the events that are missing, and each is a task run of its own. A retry would begin
again on the worker that just failed, with events that others may have by then.
"""

from __future__ import annotations

from prefect import State, task
from prefect.cache_policies import NO_CACHE

from eventmill.core.leases import BlockReport
from eventmill.core.work_order import BlockOrder
from eventmill.prefect_api.block_states import end_block
from eventmill.prefect_api.tls_cache import read_certificates_once
from eventmill.runtime.process_id import this_process
from eventmill.work.block import run_block

read_certificates_once()


@task(name="block", cache_policy=NO_CACHE, persist_result=False)
def process_block(block: BlockOrder) -> State[BlockReport]:
    """`work.block.run_block` on this worker; the state says how it ended."""
    return end_block(run_block(block.order, block.block_id, holder=str(this_process())))
