"""Dask's dashboard shows how busy workers are, and nothing that a payload, an error or an argument says."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from pathlib import Path

import distributed
import pytest
from distributed.dashboard import scheduler as pages
from prefect_dask.task_runners import DaskTaskRunner

from eventmill.cluster.dashboard import SHOWN, dashboard_link, numbers_only
from eventmill.cluster.dask_cluster import cluster_runner, own_dask_folder, start_cluster
from eventmill.config.campaign_spec import CampaignSpec


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_cluster_of_a_run_shows_numbers_on_loopback_only(campaign: CampaignSpec, tmp_path: Path) -> None:
    """Whoever can connect can read them, without keys. What others in this process show is theirs to say."""
    everything = dict(pages.applications)
    assert set(SHOWN) < set(everything) and "/exceptions" in everything
    with own_dask_folder(), cluster_runner(campaign, workers=1, folder=tmp_path) as runner:
        assert dashboard_link(runner) is None
        start_cluster(runner)
        link = dashboard_link(runner)
        assert link and link.startswith("http://127.0.0.1:") and link.endswith("/status")
        place = link.removesuffix("/status")
        told = {path: status_of(place + path) for path in everything}
        page = urllib.request.urlopen(link, timeout=30).read().decode()
    assert {path for path, status in told.items() if status == 200} == set(SHOWN)
    assert set(told.values()) == {200, 404}
    assert "workers" in page and "profile" not in page
    assert pages.applications == everything


def test_without_bokeh_there_is_no_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask gives one, to a page that says what is missing."""
    monkeypatch.setitem(sys.modules, "distributed.dashboard.scheduler", None)
    monkeypatch.delattr(distributed.dashboard, "scheduler")
    with (
        numbers_only(),
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        DaskTaskRunner(address=cluster.scheduler_address) as runner,
    ):
        assert runner.client.dashboard_link
        assert dashboard_link(runner) is None
