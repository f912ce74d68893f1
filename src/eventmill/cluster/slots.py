"""Live slots of a cluster, and how long a campaign waits for the first one, or for a new one."""

from __future__ import annotations

import time

from prefect_dask.task_runners import DaskTaskRunner

from eventmill.cluster.workers import Members
from eventmill.config.campaign_spec import Campaign
from eventmill.errors import ClusterError


class Slots:
    """Counts live slots, and loses patience when there has been none for as long as the campaign allows."""

    def __init__(self, campaign: Campaign, runner: DaskTaskRunner, members: Members) -> None:
        self._campaign = campaign
        self._runner = runner
        self._members = members
        self._seen_at = time.monotonic()

    def count(self) -> int:
        """Live slots now. Raises `ClusterError`, with the cluster's own last words, when patience ends."""
        slots, now = self._members.slots(), time.monotonic()
        self._members.look()
        if slots:
            self._seen_at = now
            return slots
        patience = self._campaign.limits.no_worker.total_seconds()
        if now - self._seen_at > patience:
            raise ClusterError(
                f"no worker for {patience:.0f} s on cluster '{self._campaign.cluster.profile}'. Its last words: "
                f"{self._last_words()}. Nothing is lost: mend the cluster and run again."
            )
        return 0

    def _last_words(self) -> str:
        cluster = self._runner._cluster
        if cluster is None:
            return "none, it was started elsewhere"
        logs = "\n".join(str(log) for log in cluster.get_logs().values())
        return " | ".join(logs.strip().splitlines()[-5:]) or "none"
