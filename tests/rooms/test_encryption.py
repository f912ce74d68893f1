"""Who may talk to a Dask cluster: whoever has its keys, made for the run or named by a cluster file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import distributed
import pytest
import yaml
from distributed.security import Security
from prefect_dask.task_runners import DaskTaskRunner

from eventmill.cluster.encryption import same_cluster, security_of
from eventmill.config.campaign_spec import Cluster
from eventmill.config.cluster_config import read_cluster
from eventmill.errors import ClusterError

ROLES = ("client", "scheduler", "worker")


def keys(folder: Path) -> dict[str, str]:
    """Certificate and key as files, as an administrator would hand them out."""
    made = Security.temporary()
    files = {"ca_file": made.tls_ca_file, "cert": made.tls_client_cert, "key": made.tls_client_key}
    for name, content in files.items():
        (folder / name).write_text(content)
    return {name: str(folder / name) for name in files}


def cluster_file(folder: Path, **data: Any) -> Cluster:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(data))
    return Cluster(type=str(path))


def test_a_cluster_of_our_own_has_keys_unless_somebody_wants_none(tmp_path: Path) -> None:
    """`local`, and a cluster file of one's own of the same class; others get what they name."""
    for name in ("again", "own"):
        (tmp_path / name).mkdir()
    local = security_of(read_cluster(Cluster(type="local")), folder=tmp_path)
    again = security_of(read_cluster(Cluster(type="local")), folder=tmp_path / "again")
    assert local is not None and local.require_encryption
    assert again is not None and Path(again.tls_client_key).read_text() != Path(local.tls_client_key).read_text()
    assert Path(local.tls_client_key).stat().st_mode & 0o077 == 0
    own = {"cluster_class": "distributed.LocalCluster"}
    assert security_of(read_cluster(cluster_file(tmp_path, **own)), folder=tmp_path / "own") is not None
    assert security_of(read_cluster(cluster_file(tmp_path, **own, tls="none")), folder=tmp_path) is None
    assert security_of(read_cluster(cluster_file(tmp_path, address="tcp://127.0.0.1:9")), folder=tmp_path) is None
    other = {"cluster_class": "dask_jobqueue.SLURMCluster", "tls": "temporary"}
    assert security_of(read_cluster(cluster_file(tmp_path, **other)), folder=tmp_path) is not None


def test_keys_that_a_cluster_file_names(tmp_path: Path) -> None:
    """With them one is let in, and so are merges, by a task runner of their own; without them nobody is."""
    files = keys(tmp_path)
    roles = {f"tls_{role}_{kind}": files[kind] for role in ROLES for kind in ("cert", "key")}
    theirs = Security(require_encryption=True, tls_ca_file=files["ca_file"], **roles)
    with distributed.LocalCluster(
        n_workers=0, processes=False, security=theirs, dashboard_address="127.0.0.1:0"
    ) as cluster:
        address = cluster.scheduler_address
        assert address.startswith("tls://")
        found = read_cluster(cluster_file(tmp_path, address=address, tls=files))
        security = security_of(found, folder=tmp_path)
        with DaskTaskRunner(address=address, client_kwargs={"security": security}) as runner:
            assert runner.client.run_on_scheduler(lambda: 42) == 42
            with DaskTaskRunner(**same_cluster(runner)) as second:
                assert second.client.run_on_scheduler(lambda: 43) == 43
        for stranger in (None, Security(), Security.temporary()):
            with pytest.raises((OSError, TypeError, RuntimeError)):
                distributed.Client(address, security=stranger, timeout=3, set_as_default=False)


@pytest.mark.parametrize("name", ["ca_file", "cert", "key"])
def test_keys_that_are_not_there_are_named(tmp_path: Path, name: str) -> None:
    """Before anything starts."""
    files = keys(tmp_path) | {name: str(tmp_path / "nowhere.pem")}
    with pytest.raises(ClusterError, match=rf"tls\.{name} .*nowhere\.pem, cannot be read: No such file"):
        security_of(read_cluster(cluster_file(tmp_path, address="tls://127.0.0.1:9", tls=files)), folder=tmp_path)
