"""How flow runs end when something is wrong: one line for people, the error itself for the caller."""

from __future__ import annotations

import json
import logging
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient

from eventmill.campaign.audit import audit
from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.finish import finish_if_done
from eventmill.campaign.handle import CampaignHandle, store_of
from eventmill.campaign.merge_queue import begin_due
from eventmill.campaign.open import open_campaign
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.errors import CampaignError, CampaignLocked, EventmillError, LedgerError
from eventmill.flows.merge import merge
from eventmill.flows.process import process
from eventmill.prefect_api.failed_state import fails_in_one_line
from eventmill.work.merge import run_merge


def test_an_error_is_the_state_and_is_raised_to_the_caller(
    client: SyncPrefectClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The state's message is the error's text, and no traceback is logged."""

    @flow
    @fails_in_one_line
    def fails() -> None:
        raise CampaignError("nothing is as it should be.")

    state = fails(return_state=True)
    assert (state.type.value, state.message) == ("FAILED", "nothing is as it should be.")
    with pytest.raises(CampaignError, match="nothing is as it should be"):
        fails()
    assert not [record for record in caplog.records if record.exc_info and record.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("nowhere.yaml", "the campaign file nowhere.yaml cannot be read: No such file or directory."),
        ({"name": "x", "colour": "red"}, "the campaign: 'inputs' is missing;"),
    ],
)
def test_a_campaign_that_cannot_be_read_fails_the_run_with_what_is_wrong(
    client: SyncPrefectClient, given: object, said: str
) -> None:
    """Given as the path of a file or filled in on the form."""
    state = process(given, return_state=True)  # type: ignore[arg-type]
    assert state.is_failed() and state.message and state.message.startswith(said)


def test_the_second_of_two_runs_says_who_leads(client: SyncPrefectClient, campaign: CampaignSpec) -> None:
    """It ends at once; the first goes on."""
    with Coordinator(open_campaign(campaign, folder=Path.cwd()), campaign) as first:
        state = process(campaign, return_state=True)
        assert state.is_failed() and state.message
        assert f"is being run by process {os.getpid()} on {socket.gethostname()}" in state.message
        assert "It lives: " in state.message and "if it is dead" not in state.message  # it is on this host
        with pytest.raises(CampaignLocked):
            state.result()
        assert first.opened.ledger.renew_leadership(first.leadership)


def test_merging_an_unknown_campaign_is_named(client: SyncPrefectClient, campaign: CampaignSpec) -> None:
    """An event may come from a campaign that was forgotten since."""
    open_campaign(campaign, folder=Path.cwd())
    with pytest.raises(LedgerError, match="other"):
        merge("other", campaign.ledger)


def test_the_merge_flow_finishes_a_campaign_whose_coordinator_died(
    client: SyncPrefectClient, campaign: CampaignSpec, committed: CampaignHandle
) -> None:
    """All was committed and nothing announced: it merges all, closes, writes the manifest; again is harmless."""
    for _ in range(2):
        merge("squares", campaign.ledger)
        counts = committed.ledger.counts(committed.record.id)
        assert counts.merged == counts.total == 40
        assert json.loads(Path("out/_squares-manifest.json").read_text())["events"]["unfinished"] == 0
    assert committed.ledger.campaign("squares").closed_at is not None
    assert audit(committed.ledger, store_of(committed.record), committed.record).problems == ()


def test_a_campaign_may_be_finished_by_several_at_once(committed: CampaignHandle) -> None:
    """A coordinator at its end, and merge flows that were last: the manifest is there, and whole."""
    for merge_id in begin_due(committed):
        run_merge(committed.order, merge_id, holder="test")
    with ThreadPoolExecutor(4) as pool:
        keys = list(pool.map(lambda _: finish_if_done(committed), range(12)))
    assert set(keys) == {"_squares-manifest.json"}
    assert json.loads(Path("out/_squares-manifest.json").read_text())["events"]["merged"] == 40
    assert audit(committed.ledger, store_of(committed.record), committed.record).problems == ()


def test_only_our_own_errors_are_told_in_one_line(client: SyncPrefectClient) -> None:
    """A bug keeps its traceback."""

    @flow
    @fails_in_one_line
    def is_buggy() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as error:
        is_buggy()
    assert not isinstance(error.value, EventmillError)
