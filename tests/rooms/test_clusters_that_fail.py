"""A cluster that cannot be started or reached is told in one line, with what to do next."""

from __future__ import annotations

from pathlib import Path

import dask
import pytest

from eventmill.cluster.dask_cluster import cluster_runner, own_dask_folder, start_cluster
from eventmill.cluster.early_cluster import EarlyCluster
from eventmill.config.campaign_spec import CampaignSpec, Cluster
from eventmill.errors import ClusterError

NOBODY = "tcp://127.0.0.1:1"


def on(campaign: CampaignSpec, **cluster: str) -> CampaignSpec:
    return campaign.model_copy(update={"cluster": Cluster(**cluster)})


def test_a_class_that_is_not_there(campaign: CampaignSpec, tmp_path: Path) -> None:
    """Found before anything is started."""
    for missing in ("distributed.NoSuch", "no_such_package.Cluster"):
        file = tmp_path / "mine.yaml"
        file.write_text(f"cluster_class: {missing}\n")
        with own_dask_folder(), pytest.raises(ClusterError, match=f"cluster_class '{missing}', which cannot be"):
            cluster_runner(on(campaign, type=str(file)), workers=1, folder=tmp_path)


def test_a_class_that_does_not_take_its_arguments(campaign: CampaignSpec, tmp_path: Path) -> None:
    """Whatever a cluster class raises is told with what to do."""
    file = tmp_path / "mine.yaml"
    file.write_text("cluster_class: fractions.Fraction\narguments: {nonsense: 1}\n")
    runner = cluster_runner(on(campaign, type=str(file)), workers=1, folder=tmp_path)
    with pytest.raises(ClusterError, match=r"the Dask cluster does not start: .* run again\."):
        start_cluster(runner)


def test_an_address_where_nobody_answers(campaign: CampaignSpec, tmp_path: Path) -> None:
    """It is waited for once: what starts early leaves it alone."""
    there = on(campaign, type="address", address=NOBODY)
    with EarlyCluster(there, workers=None) as early:
        early.start()
        assert early.take() is None
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "200ms"}),
        pytest.raises(ClusterError, match=rf"there is no Dask scheduler at {NOBODY} that answers: "),
    ):
        start_cluster(cluster_runner(there, workers=None, folder=tmp_path))
