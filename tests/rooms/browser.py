"""A browser at the Prefect UI, and what a person does there. Prefect (3.8.8) has two designs of it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import pytest

from tests.rooms.conftest import ROOT

SCREENSHOTS = ROOT / "screenshots"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PAGE_SECONDS = 120.0
"""How long a page may take to show something, on a busy machine."""

FIRST, SECOND = "", "/v2"
"""The designs, by where they are: links in logs lead to the first, the address of the server to the second."""


class Browser:
    """A page of the Prefect UI in one design, and what a person does there."""

    def __init__(self, page: Any, url: str, *, design: str, story: str) -> None:
        self.page = page
        self.server = url.removesuffix("/api")
        self.design = design
        self.story = story
        self.shots = 0

    def go(self, path: str) -> None:
        """Open a page by its path."""
        self.page.goto(f"{self.server}{self.design}{path}", wait_until="domcontentloaded")

    def look(self, what: str) -> str:
        """Keep a screenshot; what the page says."""
        self.shots += 1
        name = f"{self.story}-{self.shots:02}-{what}{self.design.replace('/', '-')}.png"
        self.page.screenshot(path=SCREENSHOTS / name, full_page=True)
        return self.text()

    def text(self) -> str:
        """What the page says."""
        return str(self.page.inner_text("body"))

    def until(self, said: Callable[[str], object]) -> str:
        """Wait until the page says something; what it says then."""
        deadline = time.monotonic() + PAGE_SECONDS
        while not said(text := self.text()):
            assert time.monotonic() < deadline, text
            self.page.wait_for_timeout(500)
        return text

    def press(self, button: Any, *, asks: str) -> Any:
        """Press a button that changes something on the server; the answer of the server to the request `asks`.

        A server on SQLite answers 503 while something else writes. Prefect's own clients then ask again; in the UI
        (3.8.8) it is the person who reads "Service Unavailable" and presses once more.
        """
        deadline = time.monotonic() + PAGE_SECONDS
        while True:
            with self.page.expect_response(lambda r: r.request.method != "GET" and asks in r.url) as answered:
                button.click()
            answer = answered.value
            if answer.status != HTTPStatus.SERVICE_UNAVAILABLE:
                assert answer.ok, (answer.status, answer.text())
                return answer
            assert time.monotonic() < deadline, "the server did not take it"
            self.page.wait_for_timeout(1000)

    def open_deployment(self, name: str) -> None:
        """From the list of deployments to one of them."""
        self.go("/deployments")
        links = self.page.locator("a[href*='/deployments/deployment/']")
        links.get_by_text(name, exact=True).first.click()
        self.page.get_by_role("button", name="Run", exact=True).wait_for()

    def launch(self, deployment: str, *, campaign: str, name: str | None = None) -> str:
        """Fill in the form and press Submit; ends on the page of the run. The id of the run."""
        self.open_deployment(deployment)
        self.page.get_by_role("button", name="Run", exact=True).click()
        self.page.get_by_text("Custom run").click()
        self.page.locator("textarea").first.fill(campaign)
        if name is not None:
            self.page.locator("form input").first.fill(name)
        self.look("form")
        run = self.press(self.page.get_by_role("button", name="Submit"), asks="/create_flow_run").json()
        assert run["parameters"]["campaign"] == campaign and run["name"] == (name or run["name"])
        self.page.wait_for_url(lambda url: not url.partition("?")[0].endswith("/run"))
        self.look("submitted")
        self.go(f"/runs/flow-run/{run['id']}")
        return str(run["id"])

    def cancel(self, run: str) -> None:
        """Cancel a run on its page, and confirm it."""
        if self.design == SECOND:
            self.page.locator("button[aria-haspopup=menu]").first.click()
            self.page.get_by_role("menuitem", name="Cancel").click()
            confirm = self.page.get_by_role("button", name="Cancel Flow Run")
        else:
            self.page.get_by_role("button", name="Cancel").first.click()
            confirm = self.page.get_by_role("button", name="Confirm")
        confirm.wait_for()
        self.look("asked-whether-to-cancel")
        self.press(confirm, asks=f"/flow_runs/{run}/set_state")

    def switch_schedule(self, *, on: bool) -> None:
        """Switch the only schedule of the deployment on or off, on its page, and see that."""
        switch = self.page.get_by_role("switch").or_(self.page.locator(".p-toggle__control"))
        self.press(switch.last, asks="/schedules/")
        if self.design == SECOND:
            self.page.locator(f"[role=switch][aria-checked={str(on).lower()}]").wait_for()

    def open_artifact(self, key: str) -> None:
        """From the page of a run to one of its artifacts; the second design shows its history first."""
        self.tab("Artifacts")
        self.page.get_by_text(key, exact=True).last.click()
        self.page.wait_for_url(lambda url: "/artifacts/" in url)
        if "/artifacts/key/" in self.page.url:
            self.page.locator("a[href*='/artifacts/artifact/']").first.click()

    def tab(self, name: str) -> None:
        """One of the tabs of a run."""
        self.page.get_by_text(name, exact=True).first.click()


@contextmanager
def browsing(url: str, *, design: str, story: str) -> Iterator[Browser]:
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
        elsewhere: list[str] = []
        page.on("request", lambda asked: elsewhere.append(asked.url))
        yield Browser(page, url, design=design, story=story)
        home = (url.removesuffix("/api"), f"blob:{url.removesuffix('/api')}", "data:")
        assert [each for each in elsewhere if not each.startswith(home)] == []  # nobody else is told anything
        chromium.close()
