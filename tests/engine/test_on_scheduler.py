"""What runs on a Dask scheduler answers, raises its own errors, and is refused in one way where there is none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import distributed
import pytest

from eventmill.cluster.dask_cluster import scheduler_answers
from eventmill.cluster.on_scheduler import on_scheduler
from eventmill.errors import ClusterError


def sum_of(dask_scheduler: Any, first: int, second: int) -> int:
    """Carried out on the scheduler."""
    assert dask_scheduler.workers is not None
    return first + second


def ask_for_nothing(dask_scheduler: Any) -> None:
    """A fault of ours."""
    dask_scheduler.nothing.of_this_name()


def test_a_closed_client_is_told_as_a_scheduler_that_is_gone() -> None:
    """Dask closes the client some time after the connection broke: whenever that is, it is one line."""
    with distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=None) as cluster:
        client = distributed.Client(cluster, set_as_default=False)
        runner: Any = SimpleNamespace(_client=client, address="tcp://here:1", cluster_class=None)
        assert on_scheduler(client, sum_of, first=1, second=2) == 3
        with pytest.raises(AttributeError, match="nothing"), scheduler_answers(runner):
            on_scheduler(client, ask_for_nothing)
        client.close()
        with pytest.raises(OSError, match="closed"):
            on_scheduler(client, sum_of, first=1, second=2)
        with pytest.raises(ClusterError, match="does not answer any more"), scheduler_answers(runner):
            client.nthreads()
        with pytest.raises(ClusterError, match="does not answer any more"), scheduler_answers(runner):
            on_scheduler(client, sum_of, first=1, second=2)
