"""TLS keys of Dask clusters. Without them, every user of the machine could run code on the cluster.

A cluster that the run starts gets keys that exist as long as the run, in its folder. For other clusters the
cluster file names the keys.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from distributed.security import Security
from prefect_dask.task_runners import DaskTaskRunner

from eventmill.config.cluster_config import LOCAL_CLUSTER, ClusterConfig, Tls
from eventmill.errors import ClusterError

ROLES = ("client", "scheduler", "worker")


def security_of(config: ClusterConfig, *, folder: Path) -> Security | None:
    """The keys of a cluster; None if its file names none, so that Dask's own configuration applies.

    Keys for processes of this machine are written to `folder` once. If they were passed in memory, each process
    would write them to a temporary file, which would remain if it were killed just then. Raises `ClusterError`
    for files that cannot be read.
    """
    tls = config.tls
    if tls is None and config.cluster_class == LOCAL_CLUSTER:
        tls = "temporary"
    if tls == "temporary":
        made: Security = Security.temporary()
        if config.cluster_class != LOCAL_CLUSTER:  # its workers may be on machines that cannot read the folder
            return made
        tls = _written(made, folder)
    if not isinstance(tls, Tls):
        return None
    files = {"ca_file": tls.ca_file, "cert": tls.cert, "key": tls.key}
    for name, path in files.items():
        try:
            path.expanduser().read_bytes()
        except OSError as error:
            raise ClusterError(
                f"tls.{name} of the cluster file, {path}, cannot be read: {error.strerror}."
            ) from None
    ca_file, cert, key = (str(path.expanduser().absolute()) for path in files.values())
    roles = {f"tls_{role}_{kind}": path for role in ROLES for kind, path in (("cert", cert), ("key", key))}
    return Security(require_encryption=True, tls_ca_file=ca_file, **roles)


def _written(keys: Any, folder: Path) -> Tls:  # Security does not declare its attributes
    files = {"ca_file": keys.tls_ca_file, "cert": keys.tls_client_cert, "key": keys.tls_client_key}
    for name, content in files.items():
        with open(folder / f"{name}.pem", "x", opener=_private) as file:
            file.write(content)
    return Tls.model_validate({name: folder / f"{name}.pem" for name in files})


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def keys_of(runner: DaskTaskRunner) -> dict[str, Any]:
    """Address and keys of the running cluster of a task runner, as `distributed.Client` takes them."""
    client = runner.client
    return {"address": str(client.scheduler_info(n_workers=0)["address"]), "security": client.security}


def same_cluster(runner: DaskTaskRunner) -> dict[str, Any]:
    """The same, as another task runner takes them."""
    keys = keys_of(runner)
    return {"address": keys["address"], "client_kwargs": {"security": keys["security"]}}
