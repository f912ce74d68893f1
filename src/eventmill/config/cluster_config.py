"""The description of a Dask cluster: a type that comes with Eventmill, or a cluster file. Starts nothing."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eventmill.config.campaign_spec import Cluster
from eventmill.config.wording import what_is_wrong
from eventmill.config.yaml_file import YamlError, read_yaml
from eventmill.core.meant import did_you_mean
from eventmill.errors import ClusterError

FOLDER = Path("deployments/clusters")
"""The folder of a project's own cluster files, in addition to those that come with Eventmill."""


LOCAL_CLUSTER = "distributed.LocalCluster"
"""The class whose scheduler and workers are on this machine, which other users may share."""


class Tls(BaseModel):
    """Keys of a Dask cluster that others run, as files in PEM format: https://distributed.dask.org/en/latest/tls.html."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ca_file: Path = Field(description="Certificates of the authorities to trust.")
    cert: Path = Field(description="The certificate of this campaign.")
    key: Path = Field(description="Its private key.")


class ClusterConfig(BaseModel):
    """One file of `deployments/clusters`. Either `address`, or a `cluster_class` with its arguments."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = ""
    address: str | None = Field(None, description="A running scheduler, such as tcp://127.0.0.1:8786.")
    cluster_class: str | None = Field(None, description="For example distributed.LocalCluster.")
    workers: int | None = Field(None, ge=1, description="Workers to start and keep; by default one per core.")
    blocks: bool = Field(
        True,
        description="Whether its workers process events; if not, pilots do, and they inspect inputs and merge.",
    )
    arguments: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments of the class.")
    dask: dict[str, Any] = Field(default_factory=dict, description="Dask settings for the cluster.")
    tls: Literal["temporary", "none"] | Tls | None = Field(
        None,
        description="Keys made for the run (the default of LocalCluster), files, or none.",
    )


def read_cluster(cluster: Cluster) -> ClusterConfig:
    """The cluster that a campaign names, with the campaign's own `workers` and `address`.

    Searched as a path, in `deployments/clusters` below the working directory, and among those that come with
    Eventmill. Raises `ClusterError`, which lists the existing types, or says what is wrong in the file.
    """
    shipped = _shipped()
    places = [Path(cluster.type), FOLDER / f"{cluster.type}.yaml", shipped / f"{cluster.type}.yaml"]
    found = next((place for place in places if place.suffix == ".yaml" and place.is_file()), None)
    if found is None:
        names = sorted({path.stem for folder in (FOLDER, shipped) for path in folder.glob("*.yaml")})
        meant = did_you_mean(cluster.type, names)
        raise ClusterError(f"unknown cluster type '{cluster.type}'{meant}; known types are: {', '.join(names)}.")
    try:
        config = ClusterConfig.model_validate(read_yaml(found) or {})
    except (YamlError, ValidationError, OSError, UnicodeDecodeError) as error:
        told = " ".join(str(error).split())
        if isinstance(error, ValidationError):
            told = what_is_wrong(error, ClusterConfig)
        raise ClusterError(f"the cluster file {found} cannot be used: {told}.") from None
    changes = {
        key: value
        for key, value in (("workers", cluster.workers), ("address", cluster.address))
        if value is not None
    }
    config = config.model_copy(update=changes)
    if config.cluster_class is None and config.address is None:
        raise ClusterError(
            f"cluster type '{cluster.type}' needs the address of a running scheduler: set 'cluster.address'."
        )
    return config


def worker_count(config: ClusterConfig) -> int:
    """The number of workers to start: as the file says, else one for each core that this process may use."""
    if config.workers:
        return config.workers
    affinity = getattr(os, "sched_getaffinity", None)  # Linux
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _shipped() -> Path:
    return Path(str(resources.files("eventmill.deployments"))) / "clusters"
