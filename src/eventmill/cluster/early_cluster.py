"""The cluster of a run, started while its Prefect server starts: a run would wait for one, then for the other.

What takes seconds to import is imported in `start`: a run that finds nothing to do starts nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from eventmill.cluster.forkserver import start_forkserver, without_main_module
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.config.cluster_config import read_cluster
from eventmill.runtime.imports import uncollected
from eventmill.runtime.scratch import open_scratch

if TYPE_CHECKING:
    from prefect_dask.task_runners import DaskTaskRunner


class EarlyCluster:
    """Use it in a `with` block, at whose end the cluster ends, unless the run has taken it."""

    def __init__(self, campaign: CampaignSpec, *, workers: int | None) -> None:
        self._campaign = campaign
        self._workers = workers
        self._stack = ExitStack()
        self._runner: DaskTaskRunner | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self) -> None:
        """Import what the run needs, here and in the process that its workers are forked from, and start it.

        Raises `ClusterError` for an invalid cluster file. What else goes wrong is not told here: the run starts
        its cluster again, and tells it.
        """
        config = read_cluster(self._campaign.cluster)
        start_forkserver(config)
        with uncollected():
            from eventmill.cluster.dask_cluster import cluster_runner, own_dask_folder, start_without_waiting
        if config.address is not None:
            return  # it runs already; if it does not answer, that takes half a minute, and is waited for once
        with suppress(Exception), ExitStack() as stack:
            stack.enter_context(own_dask_folder())
            stack.enter_context(without_main_module())
            folder = stack.enter_context(open_scratch(Path(tempfile.gettempdir())))
            runner = stack.enter_context(cluster_runner(self._campaign, workers=self._workers, folder=folder))
            start_without_waiting(runner)
            self._stack, self._runner = stack.pop_all(), runner

    def take(self) -> AbstractContextManager[DaskTaskRunner] | None:
        """The runner, whose cluster ends with the context; None if it was not started, or somebody has it."""
        runner, self._runner = self._runner, None
        return None if runner is None else _ends_with(self._stack.pop_all(), runner)


@contextmanager
def _ends_with(stack: ExitStack, runner: DaskTaskRunner) -> Iterator[DaskTaskRunner]:
    with stack:
        yield runner
