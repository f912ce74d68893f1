"""Who may talk to a Dask cluster: whoever has its keys. Without any, every user of a machine may run code on it.

A cluster of our own gets keys that live as long as the run, in memory; of another one its profile names them.
"""

from __future__ import annotations

from typing import Any

from distributed.security import Security
from prefect_dask.task_runners import DaskTaskRunner

from eventmill.clusters import LOCAL_CLUSTER, Profile, Tls
from eventmill.errors import ClusterError

ROLES = ("client", "scheduler", "worker")


def security_of(profile: Profile) -> Security | None:
    """The keys of the profile's cluster; None where it names none, and Dask's own configuration holds.

    Raises `ClusterError` for files that cannot be read.
    """
    tls = profile.tls
    if tls is None and profile.cluster_class == LOCAL_CLUSTER:
        tls = "temporary"
    if tls == "temporary":
        made: Security = Security.temporary()
        return made
    if not isinstance(tls, Tls):
        return None
    files = {"ca_file": tls.ca_file, "cert": tls.cert, "key": tls.key}
    for name, path in files.items():
        try:
            path.expanduser().read_bytes()
        except OSError as error:
            raise ClusterError(
                f"the cluster profile's tls.{name} {path} cannot be read: {error.strerror}."
            ) from None
    ca_file, cert, key = (str(path.expanduser().absolute()) for path in files.values())
    roles = {f"tls_{role}_{kind}": path for role in ROLES for kind, path in (("cert", cert), ("key", key))}
    return Security(require_encryption=True, tls_ca_file=ca_file, **roles)


def keys_of(runner: DaskTaskRunner) -> dict[str, Any]:
    """Address and keys of the cluster of a runner, which runs, as `distributed.Client` takes them."""
    client = runner.client
    return {"address": str(client.scheduler_info(n_workers=0)["address"]), "security": client.security}


def same_cluster(runner: DaskTaskRunner) -> dict[str, Any]:
    """The same, as another task runner takes them."""
    keys = keys_of(runner)
    return {"address": keys["address"], "client_kwargs": {"security": keys["security"]}}
