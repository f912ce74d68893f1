"""What a person does in the Prefect UI, in a real browser: launch, watch, lose a worker, cancel, go on, schedule.

Its screenshots are in `screenshots/`, to be looked at.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun

from eventmill.campaign.campaign import Campaign
from eventmill.errors import LedgerError
from eventmill.ledger import open_ledger
from tests.rooms.conftest import ROOT, Team

SCREENSHOTS = ROOT / "screenshots"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PAGE_SECONDS = 120.0
"""How long a page may take to show something, on a busy machine."""

pytestmark = [
    pytest.mark.team,
    pytest.mark.timeout(1200),  # the deadline is in `Team.until`
]

SLOW = """
import time
import pyarrow as pa


def slow(events, where):
    time.sleep(0.01 * len(events))
    return pa.table({"event": events})
"""


class Browser:
    """A page of the Prefect UI, and what a person does there."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.base = url.removesuffix("/api")
        self.shots = 0

    def look(self, what: str) -> str:
        """Keep a screenshot; what the page says."""
        self.shots += 1
        self.page.screenshot(path=SCREENSHOTS / f"{self.shots:02}-{what}.png", full_page=True)
        return str(self.page.inner_text("body"))

    def until(self, said: Callable[[str], object], *, reload: bool = False) -> str:
        """Wait until the page says something; what it says then."""
        deadline = time.monotonic() + PAGE_SECONDS
        while not said(text := str(self.page.inner_text("body"))):
            assert time.monotonic() < deadline, text
            self.page.wait_for_timeout(500)
            if reload:
                self.page.reload()
        return text

    def open_deployment(self, name: str) -> None:
        """From the list of deployments to one of them."""
        self.page.goto(f"{self.base}/deployments")
        links = self.page.locator("a[href*='/deployments/deployment/']")
        links.get_by_text(name, exact=True).first.click()
        self.page.get_by_role("button", name="Run", exact=True).wait_for()

    def launch(self, deployment: str, *, campaign: str, name: str | None = None) -> None:
        """Fill in the form and press Submit; ends on the page of the run."""
        self.open_deployment(deployment)
        self.page.get_by_role("button", name="Run", exact=True).click()
        self.page.get_by_text("Custom run").click()
        self.page.locator("textarea").first.fill(campaign)
        if name is not None:
            self.page.locator("input").first.fill(name)
        self.look("form")
        submit = self.page.get_by_role("button", name="Submit")
        deadline = time.monotonic() + PAGE_SECONDS
        while self.page.url.partition("?")[0].endswith("/run"):
            assert time.monotonic() < deadline, self.look("not-submitted")
            if submit.is_visible():
                submit.click()
            self.page.wait_for_timeout(3000)
        self.look("submitted")
        link = self.page.locator("a[href*='/runs/flow-run/']").first
        self.page.goto(f"{self.base}{link.get_attribute('href')}")
        self.page.get_by_role("button", name="Cancel").first.wait_for()

    def tab(self, name: str) -> None:
        """One of the tabs of a run."""
        self.page.get_by_text(name, exact=True).first.click()


@pytest.fixture
def browser(server: str) -> Iterator[Browser]:
    """A browser; where there is none, the test fails where everything must run, and is skipped elsewhere."""
    if CHROMIUM is None:
        missing = "no chromium is installed: apt-get install chromium"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    from playwright.sync_api import sync_playwright

    SCREENSHOTS.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = chromium.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(PAGE_SECONDS * 1000)
        yield Browser(page, server)
        chromium.close()


def write_campaign(team: Team, name: str, *, events: int) -> None:
    campaign = {
        "name": name,
        "inputs": {"generated": {"events": events, "files": 2}},
        "payload": {"callable": "slow.py:slow"},
        "ranges": {"events": 10, "block": "2s"},
        "output": {"store": f"out/{name}", "merge": {"events": events // 4}},
        "cluster": {"type": "local", "workers": 2},
    }
    (team.folder / f"{name}.yaml").write_text(yaml.safe_dump(campaign))
    (team.folder / "slow.py").write_text(SLOW)


def begun(team: Team, name: str) -> Campaign | None:
    """The campaign, once a run has begun it."""
    with suppress(LedgerError):
        ledger = open_ledger(str(team.folder / ".eventmill/ledger.sqlite"))
        return Campaign(ledger, ledger.campaign(name))
    return None


def runs_of(team: Team, client: SyncPrefectClient, campaign: str) -> list[FlowRun]:
    """The process runs of a campaign, by their tag; Prefect's form makes up names for them."""
    return [each for each in team.runs(client, "process") if f"campaign:{campaign}" in each.tags]


def events_in_files(team: Team, name: str) -> Counter[int]:
    """How often each event stands in the merged files."""
    counted: Counter[int] = Counter()
    for file in (team.folder / "out" / name).glob("*.parquet"):
        counted.update(pq.read_table(file)["event"].to_pylist())
    return counted


def test_a_person_launches_watches_and_looks_at_the_result(
    team: Team, client: SyncPrefectClient, browser: Browser
) -> None:
    """A worker is killed while they watch; the merge comes by itself; the pages say what happened."""
    write_campaign(team, "watched", events=1_600)
    team.deploy()
    browser.launch("process", campaign="watched.yaml", name="my first run")

    campaign: Campaign = team.until(lambda: begun(team, "watched"))
    team.until(lambda: campaign.counts().done >= 200)
    browser.page.reload()
    text = browser.until(lambda text: "Running" in text and "Task runs" in text)
    assert "my first run" in text and "campaign:watched" in text
    browser.look("running")

    def victim() -> Any:
        working = campaign.workers().query("state == 'working'")
        return None if working.empty else working.pid.iloc[0]

    os.kill(int(team.until(victim)), signal.SIGKILL)
    browser.tab("Artifacts")
    browser.page.get_by_text("watched-campaign").last.click()
    browser.until(lambda text: "from the first event to the last" in text)
    browser.look("artifact-while-running")

    def ended() -> bool:
        return client.read_flow_run(run.id).state.is_final()  # type: ignore[union-attr]

    (run,) = [each for each in team.runs(client, "process") if each.name == "my first run"]
    team.until(ended)
    browser.page.reload()
    text = browser.until(lambda text: "What it cost" in text)
    assert "1,600 of 1,600 events (100.0%)" in text and "losses" in text and "not finite" in text
    browser.look("artifact-at-the-end")

    browser.page.goto(f"{browser.base}/runs/flow-run/{run.id}")
    browser.until(lambda text: "Completed" in text)
    browser.until(lambda text: "its worker vanished" in text)  # in the log
    browser.look("completed")
    browser.tab("Details")
    browser.until(lambda text: "1,600 of 1,600 events are in 4 merged files" in text)
    browser.tab("Task Runs")
    browser.until(lambda text: "watched · file" in text)
    browser.look("task-runs")
    browser.page.goto(f"{browser.base}/runs")
    browser.until(lambda text: re.search(r"watched · merge", text))
    browser.look("runs")
    assert events_in_files(team, "watched") == Counter(range(1_600))


def test_a_person_cancels_goes_on_and_schedules(team: Team, client: SyncPrefectClient, browser: Browser) -> None:
    """Cancel on the run's page; the same form goes on where it was; the nightly schedule is switched on."""
    write_campaign(team, "stopped", events=2_000)
    team.deploy()
    browser.launch("process", campaign="stopped.yaml")
    campaign: Campaign = team.until(lambda: begun(team, "stopped"))
    team.until(lambda: campaign.counts().done >= 200)
    browser.page.get_by_role("button", name="Cancel").first.click()
    browser.look("asked-whether-to-cancel")
    browser.page.get_by_role("button", name="Confirm").click()
    (first,) = runs_of(team, client, "stopped")
    team.until(lambda: client.read_flow_run(first.id).state.is_cancelled())  # type: ignore[union-attr]
    browser.page.reload()
    browser.until(lambda text: "Cancelled" in text)
    browser.look("cancelled")
    done = campaign.counts().done
    assert 200 <= done < 2_000

    browser.launch("process", campaign="stopped.yaml")
    team.until(lambda: campaign.counts().merged == 2_000)
    (second,) = [each for each in runs_of(team, client, "stopped") if each.id != first.id]
    team.until(lambda: client.read_flow_run(second.id).state.is_final())  # type: ignore[union-attr]
    assert client.read_flow_run(second.id).state.is_completed()  # type: ignore[union-attr]
    assert len(set(second.tags)) == len(second.tags)
    assert events_in_files(team, "stopped") == Counter(range(2_000))

    browser.open_deployment("process")

    def switch(*, on: bool) -> None:
        browser.page.get_by_role("switch").or_(browser.page.locator(".p-toggle__control")).last.click()
        team.until(lambda: client.read_deployment_by_name("process/process").schedules[0].active is on)

    switch(on=True)
    browser.look("schedule-on")
    switch(on=False)  # other tests share the server: no run of theirs is one of the schedule
