"""What a worker needs before its first task ends. The process that workers are forked from imports this module.

Prefect sends the flow of a task run along, by name: a worker would import it, and with it the coordinator, during
its first task.
"""

from __future__ import annotations

import importlib

from eventmill.runtime.imports import uncollected

NEEDED = (
    "distributed.http.worker",
    "tornado.platform.asyncio",
    "anyio._backends._asyncio",
    "prefect.task_engine",
    "prefect_dask.task_runners",
    "eventmill.tasks.merge",
    "eventmill.tasks.process",
    "eventmill.tasks.split",
    "eventmill.sources.parquet",
    "eventmill.formats.parquet",
    "eventmill.flows.process",
)

with uncollected(for_good=True):
    for _module in NEEDED:
        importlib.import_module(_module)
