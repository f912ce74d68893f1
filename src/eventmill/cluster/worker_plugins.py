"""Gives Dask worker plugins to all current and future workers of a scheduler, without waiting for them.

`Client.register_plugin` waits until each worker has answered: for ever if one is stopped, and if one dies
meanwhile, the connection of the caller is closed (distributed 2026.8, `Server._handle_comm`).
"""

from __future__ import annotations

from typing import Any

import distributed
from distributed.protocol.pickle import dumps

from eventmill.cluster.on_scheduler import on_scheduler


def add_plugin(client: distributed.Client, plugin: Any) -> None:
    """Give a named `WorkerPlugin` to the workers of this client's scheduler; an idempotent plugin only once."""
    on_scheduler(client, _add, plugin=dumps(plugin), name=plugin.name, idempotent=plugin.idempotent)


def remove_plugin(client: distributed.Client, name: str) -> None:
    """Remove a plugin from all workers; harmless if it does not exist."""
    on_scheduler(client, _remove, name=name)


def _add(dask_scheduler: Any, plugin: bytes, name: str, idempotent: bool) -> None:
    if idempotent and name in dask_scheduler.worker_plugins:
        return
    dask_scheduler.worker_plugins[name] = plugin  # for workers that join later
    _tell_all(dask_scheduler, op="plugin-add", plugin=plugin, name=name)


def _remove(dask_scheduler: Any, name: str) -> None:
    if dask_scheduler.worker_plugins.pop(name, None) is not None:
        _tell_all(dask_scheduler, op="plugin-remove", name=name)


def _tell_all(dask_scheduler: Any, **message: Any) -> None:
    """Send to each worker separately, so that one that does not answer does not affect the others."""
    dask_scheduler.loop.add_callback(dask_scheduler.broadcast, msg=message, on_error="ignore")
