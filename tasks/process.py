"""The Prefect task that processes one block."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from eventmill.core.leases import BlockReport
from eventmill.core.work_order import WorkOrder
from eventmill.prefect_api.tls_cache import read_certificates_once
from eventmill.runtime.process_id import this_process
from eventmill.work.block import run_block

read_certificates_once()


@task(name="block", cache_policy=NO_CACHE, persist_result=False)
def process_block(order: WorkOrder, block_id: int) -> BlockReport:
    """`work.block.run_block` on this worker."""
    return run_block(order, block_id, holder=str(this_process()))
