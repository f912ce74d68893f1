"""What somebody does to the flow run in Prefect, through the API that its UI uses too; and what a signal does."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from eventmill.core.records import DesiredState
from tests.chaos.conftest import COPIED, Run, computed_again

pytestmark = pytest.mark.system

RunMaker = Callable[..., Run]

EVENTS = 400
"""Many times the work of the five seconds until a run hears what Prefect was asked."""


class Page:
    """The page of a flow run in the UI, as far as it has buttons."""

    def __init__(self, api: str, run: Run) -> None:
        self._client = httpx.Client(base_url=api, timeout=30)
        self._run = run
        tags = {"all_": ["campaign:chaos"]}
        found = self._post(
            "/flow_runs/filter", {"flow_runs": {"tags": tags}, "sort": "START_TIME_DESC", "limit": 1}
        )
        self.id = found[0]["id"]

    def press(self, type: str, name: str, **details: Any) -> None:
        """Propose a state; the answer must be that it was accepted."""
        state = {"type": type, "name": name, "state_details": details}
        answer = self._post(f"/flow_runs/{self.id}/set_state", {"state": state, "force": False})
        assert answer["status"] == "ACCEPT", answer

    def resume(self) -> None:
        assert self._post(f"/flow_runs/{self.id}/resume", {})["status"] == "ACCEPT"

    @property
    def state(self) -> str:
        return str(self._client.get(f"/flow_runs/{self.id}").raise_for_status().json()["state_type"])

    def has_buttons(self) -> bool:
        """The UI offers to cancel and to suspend runs of deployments only."""
        return self._client.get(f"/flow_runs/{self.id}").raise_for_status().json()["deployment_id"] is not None

    def unfinished_tasks(self) -> int:
        states = {"type": {"any_": ["PENDING", "RUNNING", "SCHEDULED"]}}
        wanted = {"task_runs": {"flow_run_id": {"any_": [self.id]}, "state": states}}
        return len(self._post("/task_runs/filter", wanted))

    def _post(self, path: str, data: dict[str, Any]) -> Any:
        while (answer := self._client.post(path, json=data)).status_code == httpx.codes.SERVICE_UNAVAILABLE:
            time.sleep(0.2)  # its database was locked, and whoever asks is to ask again
        return answer.raise_for_status().json()


def wanted(run: Run) -> DesiredState:
    return run.ledger()[1].desired_state


def charged(run: Run) -> set[str]:
    """Kinds of the journal that somebody is charged for."""
    ledger, record = run.ledger()
    return set(ledger.count_incidents(record.id)) & {"loss", "failure"}


def test_cancelling_in_prefect_ends_the_blocks_and_leaves_a_campaign_to_resume(
    a_run: RunMaker, prefect_server: str
) -> None:
    """The flow run ends Cancelled, nothing is in flight, the ledger knows why; running again goes on."""
    run = a_run()
    run.write(events=EVENTS, merge=100)
    run.start()
    run.until_done(20)
    page = Page(prefect_server, run)
    assert page.has_buttons()
    page.press("CANCELLING", "Cancelling")
    assert run.wait() == 0, run.said
    assert "Campaign cancelled" in run.said
    assert page.state == "CANCELLED"
    run.until(lambda: not page.unfinished_tasks())  # Prefect hears of the last ends a little later
    assert wanted(run) is DesiredState.CANCELLED
    ledger, record = run.ledger()
    assert ledger.counts(record.id).leased == 0
    assert not charged(run)
    committed = run.committed()
    (run.folder / "calls.log").unlink()
    assert run.run() == 0, run.said
    assert run.events_in_files() == Counter(range(EVENTS))
    assert not [call for call in run.calls() if set(range(*call)) & committed]


def test_a_paused_run_rests_and_goes_on_when_it_is_resumed(a_run: RunMaker, prefect_server: str) -> None:
    """Workers hand in what they compute and rest; nothing is computed twice but a copy at the end."""
    run = a_run()
    run.write(events=EVENTS, merge=100)
    run.start()
    run.until_done(20)
    page = Page(prefect_server, run)
    page.press("PAUSED", "Paused", pause_reschedule=False)
    ledger, record = run.ledger()
    run.until(lambda: ledger.campaign("chaos").desired_state is DesiredState.PAUSED)
    run.until(lambda: not ledger.counts(record.id).leased)
    assert ledger.counts(record.id).ready
    page.resume()
    assert run.wait() == 0, run.said
    assert page.state == "COMPLETED"
    assert run.events_in_files() == Counter(range(EVENTS))
    assert not charged(run)
    assert computed_again(run, EVENTS) <= COPIED


def test_a_suspended_run_ends_and_leaves_a_campaign_to_resume(a_run: RunMaker, prefect_server: str) -> None:
    """The UI's button: Prefect itself ends such a run, wherever it is."""
    run = a_run()
    run.write(events=EVENTS, merge=100)
    run.start()
    run.until_done(20)
    page = Page(prefect_server, run)
    page.press("PAUSED", "Suspended", pause_reschedule=True)
    assert run.wait() == 0, run.said
    assert "Campaign paused" in run.said and "Traceback" not in run.said
    assert page.state == "PAUSED"
    assert wanted(run) is DesiredState.PAUSED
    ledger, record = run.ledger()
    assert ledger.counts(record.id).leased == 0
    assert not charged(run)
    assert run.run() == 0, run.said
    assert run.events_in_files() == Counter(range(EVENTS))


@pytest.mark.parametrize("whom", ["the command", "its whole group"])
def test_sigterm_ends_a_run_as_ctrl_c_does(a_run: RunMaker, prefect_server: str, whom: str) -> None:
    """One line, exit code 143, nothing in flight, nobody charged; the next run goes on."""
    run = a_run()
    run.write(events=120)
    run.start()
    run.until_done(20)
    page = Page(prefect_server, run)
    assert run.process is not None
    (os.kill if whom == "the command" else os.killpg)(run.process.pid, signal.SIGTERM)
    assert run.wait() == 143, run.said
    assert "Traceback" not in run.said
    assert run.said.splitlines()[-1].startswith("eventmill: interrupted by SIGTERM: ")
    run.until(lambda: not run.processes())
    assert page.state == "CRASHED"
    ledger, record = run.ledger()
    assert ledger.counts(record.id).leased == 0
    assert not charged(run)
    assert wanted(run) is DesiredState.RUN
    assert run.run() == 0, run.said
    assert run.events_in_files() == Counter(range(120))
