"""Workers that are told to go, in every way there is: what they computed counts, and nobody is charged."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.chaos.conftest import COPIED, Run, computed_again
from tests.chaos.foreign_cluster import Elsewhere
from tests.engine.metadata_service import serve_cloud

pytestmark = pytest.mark.system

RunMaker = Callable[..., Run]
SIZE = 4
"""Events of a range."""


def drained(run: Run) -> set[str]:
    """Why blocks were given back."""
    ledger, record = run.ledger()
    return {line.reason for line in ledger.journal(record.id, "drained")}


def is_in_the_middle(run: Run) -> bool:
    """Whether both workers hold a block of which much is left."""
    ledger, record = run.ledger()
    leases = ledger.leased(record.id)
    return len(leases) == 2 and all(lease.missing >= 10 * SIZE for lease in leases)


def assert_nothing_was_lost(run: Run, *, events: int) -> None:
    """Each event once in the files, computed once but for copies, and neither loss nor failure on record."""
    ledger, record = run.ledger()
    assert run.events_in_files() == Counter(range(events))
    assert not ledger.count_incidents(record.id).keys() & {"loss", "failure"}
    assert computed_again(run, events) <= COPIED


def test_a_worker_that_gets_sigterm_hands_in_its_range_and_goes(a_run: RunMaker) -> None:
    """In the middle of a range: it is finished and committed, the rest given back, the worker replaced."""
    run = a_run()
    run.write(events=400, merge=100, ranges={"events": SIZE, "block": "30s"})
    run.start()
    run.until_done(20)
    run.until(lambda: is_in_the_middle(run))
    (first, *_) = run.workers()
    os.kill(first, signal.SIGTERM)
    assert run.wait() == 0, run.said
    assert drained(run) == {"SIGTERM"}
    assert_nothing_was_lost(run, events=400)


def test_a_campaign_outlives_workers_of_a_short_life(a_run: RunMaker, elsewhere: Elsewhere) -> None:
    """Dask's own lifetime, many times shorter than the campaign: no block is lost, none is computed again."""
    run = a_run()
    run.until(lambda: elsewhere.is_listening)
    # Seconds of a life are Python's at first: on a busy machine, to import Prefect takes fifteen.
    life = ("--lifetime", "40s", "--lifetime-stagger", "5s", "--lifetime-restart")
    for _ in range(2):
        elsewhere.start_worker(*life, nanny="--nanny")
    run.write(events=1600, merge=400, cluster={"type": "address", "address": elsewhere.address})
    assert run.run() == 0, run.said
    assert drained(run) == {"lifetime of the Dask worker"}
    assert_nothing_was_lost(run, events=1600)


def test_a_spot_notice_empties_the_worker_before_the_machine_goes(a_run: RunMaker, elsewhere: Elsewhere) -> None:
    """The worker leaves by itself in time; the campaign goes on with one that comes later."""
    run = a_run()
    run.until(lambda: elsewhere.is_listening)
    with serve_cloud() as cloud:
        service = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://{cloud.address}"}
        worker = elsewhere.start_worker(environment=service)
        cluster = {"type": "address", "address": elsewhere.address, "preemption_notices": ["aws"]}
        # Long blocks, and work for longer than the machine lives: it is in the middle of one when it must go.
        run.write(events=600, merge=150, cluster=cluster, ranges={"events": SIZE, "block": "30s"})
        run.start()
        run.until_done(20)
        cloud.taken_at = datetime.now(UTC) + timedelta(seconds=12)
        worker.wait(60)
        assert datetime.now(UTC) < cloud.taken_at + timedelta(seconds=10)  # it left by itself
        cloud.taken_at = None
        elsewhere.start_worker(environment=service)
        assert run.wait() == 0, run.said
    (reason,) = drained(run)
    assert reason.startswith("EC2 spot notice: terminate at ")
    assert_nothing_was_lost(run, events=600)
