"""A Dask cluster that somebody else started, and whose workers nobody replaces."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable

from tests.chaos.conftest import Run
from tests.chaos.elsewhere import Elsewhere


def test_a_cluster_without_workers_is_waited_for_and_outlives_them(
    a_run: Callable[..., Run], elsewhere: Elsewhere
) -> None:
    """None for too long is one clear line; workers that come later, die and are followed by others complete it."""
    run = a_run()
    run.until(lambda: elsewhere.is_listening)
    cluster = {"profile": "address", "address": elsewhere.address}
    run.write(events=80, merge=40, cluster=cluster, limits={"lease": "20s", "no_worker": "2s"})
    assert run.run() == 1
    *_, last = run.said.splitlines()
    assert last.startswith("eventmill: no worker for 2 s on cluster 'address'.")
    assert "Traceback" not in run.said
    run.write(events=80, merge=40, cluster=cluster, limits={"lease": "20s", "no_worker": "5m"})
    elsewhere.start_worker()
    run.start("--changed", "accept")
    run.until_done(12)
    for pid in run.workers():
        os.kill(pid, signal.SIGKILL)
    elsewhere.start_worker()
    assert run.wait() == 0, run.said
    assert run.events_in_files() == Counter(range(80))
    assert len(run.calls()) <= 80 // 4 + 2
