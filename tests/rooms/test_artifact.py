"""The one artifact of a campaign in the Prefect UI: what it says while the campaign runs, and at its end."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.runtime import flow_run

from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.handle import CampaignHandle
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.records import DesiredState
from eventmill.flows.merge import merge
from eventmill.prefect_api.progress import Progress, artifact_key, show_result

PICTURE = re.compile(r"!\[([^\]]*)\]\(data:image/png;base64,([\w+/=]+)\)")


def artifacts(client: SyncPrefectClient) -> list[dict[str, Any]]:
    """The artifacts of the flow run that is asking; the server is that of all tests here."""
    question = {"artifacts": {"flow_run_id": {"any_": [flow_run.id]}}}
    found: list[dict[str, Any]] = client._client.post("/artifacts/filter", json=question).json()
    return found


@pytest.fixture
def led(committed: CampaignHandle, campaign: CampaignSpec) -> Coordinator:
    return Coordinator(committed, campaign)


def test_one_artifact_follows_the_campaign_to_its_end(
    client: SyncPrefectClient, committed: CampaignHandle, led: Coordinator
) -> None:
    """From committed to merged it is one artifact, with states, map, links, files; then report and results."""

    @flow
    def run() -> None:
        with led, Progress(led, dashboard=lambda: "http://127.0.0.1:1/status") as progress:
            progress.show()
            (running,) = artifacts(client)
            text = running["data"]
            assert "40 of 40 done" in text and "[Dask dashboard](http://127.0.0.1:1/status)" in text
            assert re.search(r"\| all \|  \| 0 \| 40 \| 0 \| 0 \| 0 \|", text) and len(PICTURE.findall(text)) == 1
            merge(committed.name, committed.order.ledger_url)
            assert show_result(progress, manifest=led.finish())["events"]["merged"] == 40
        (ended,) = artifacts(client)
        assert ended["id"] == running["id"] and ended["key"] == "squares-campaign"
        text = ended["data"]
        for file in committed.ledger.published_outputs(committed.id):
            assert f"| {file.key} |".replace("_", r"\_") in text
        assert f"In {committed.record.store_url}:".replace("_", r"\_") in text
        assert "What it cost" in text and "Dask dashboard" not in text and "| state | done |" in text
        assert {name for name, _ in PICTURE.findall(text)} >= {"event from 0 to 39", "square from 0 to 1521"}
        for _, image in PICTURE.findall(text):
            assert base64.b64decode(image).startswith(b"\x89PNG")

    run()


def test_an_artifact_that_somebody_deleted_is_made_again(client: SyncPrefectClient, led: Coordinator) -> None:
    @flow
    def run() -> None:
        with led, Progress(led, dashboard=lambda: None) as progress:
            (first,) = artifacts(client)
            client._client.delete(f"/artifacts/{first['id']}")
            led.opened.ledger.set_desired_state(led.opened.id, DesiredState.PAUSED)
            progress.end(manifest=None)
            (second,) = artifacts(client)
            assert second["id"] != first["id"]
            assert "| state | paused |" in second["data"]  # and not what is only true until this process has ended

    run()


def test_a_key_has_what_prefect_allows() -> None:
    """Lower-case letters, digits and dashes."""
    assert artifact_key("Ünï_code 1", "campaign") == "-n--code-1-campaign"
