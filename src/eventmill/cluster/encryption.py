"""Who may talk to a Dask cluster: whoever has its keys. Without any, every user of a machine may run code on it.

A cluster of our own gets keys that live as long as the run, in its folder; of another one its file names them.
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
    """The keys of a cluster; None where it names none, and Dask's own configuration holds.

    Those that are made for processes of this machine lie in `folder`, once: from memory each process would write
    them into a file for a moment, and one that is killed just then leaves it. Raises `ClusterError` for files that
    cannot be read.
    """
    tls = config.tls
    if tls is None and config.cluster_class == LOCAL_CLUSTER:
        tls = "temporary"
    if tls == "temporary":
        made: Security = Security.temporary()
        if config.cluster_class != LOCAL_CLUSTER:  # on machines that do not see the folder
            return made
        tls = _written(made, folder)
    if not isinstance(tls, Tls):
        return None
    files = {"ca_file": tls.ca_file, "cert": tls.cert, "key": tls.key}
    for name, path in files.items():
        try:
            path.expanduser().read_bytes()
        except OSError as error:
            raise ClusterError(f"the cluster file's tls.{name} {path} cannot be read: {error.strerror}.") from None
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
    """Address and keys of the cluster of a runner, which runs, as `distributed.Client` takes them."""
    client = runner.client
    return {"address": str(client.scheduler_info(n_workers=0)["address"]), "security": client.security}


def same_cluster(runner: DaskTaskRunner) -> dict[str, Any]:
    """The same, as another task runner takes them."""
    keys = keys_of(runner)
    return {"address": keys["address"], "client_kwargs": {"security": keys["security"]}}
