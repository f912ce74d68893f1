"""A browser at the live page, and what it finds there."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.live_service import Service
from tests.rooms.browser import CHROMIUM, PAGE_SECONDS, SCREENSHOTS
from tests.waiting import until

DESKTOP, PHONE = (1280, 900), (320, 640)


class Visitor:
    """A page of the service in a browser, and what it complained about."""

    def __init__(self, page: Any, service: Service) -> None:
        self.page, self.url = page, service.url
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda asked: self.requests.append(asked.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)

    def open(self, campaign: str | None = None) -> None:
        """The list, or a campaign."""
        self.page.goto(f"{self.url}/" + (f"#/campaigns/{campaign}" if campaign else ""))

    def text(self, selector: str) -> str:
        """What is to be read there."""
        return str(self.page.inner_text(selector))

    def until_says(self, selector: str, pattern: str) -> str:
        """Wait for words."""
        return until(
            lambda: (found := re.search(pattern, self.text(selector))) and found.group(), seconds=PAGE_SECONDS
        )

    def look(self, what: str) -> None:
        """Keep a screenshot."""
        SCREENSHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"live-page-{what}.png", full_page=True)

    def colours(self) -> Counter[str]:
        """How many pixels of the map have which colour."""
        found = self.page.evaluate(
            """() => {
                const canvas = document.getElementById("map-canvas"), found = {};
                const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                for (let i = 0; i < data.length; i += 4) {
                    if (data[i + 3] !== 255) continue;
                    const key = [0, 1, 2].map((j) => data[i + j].toString(16).padStart(2, "0")).join("");
                    found[key] = (found[key] ?? 0) + 1;
                }
                return found;
            }"""
        )
        return Counter(found)

    def forgive(self, words: str) -> None:
        """A browser itself writes into its console that a request was refused."""
        self.complaints = [each for each in self.complaints if words not in each]

    def events(self) -> dict[str, int]:
        """The events by state, as the legend says."""
        words = self.text("#legend").replace(",", "").split()
        return {state: int(number) for state, number in zip(words[::2], words[1::2], strict=True)}


@contextmanager
def visiting(
    service: Service, *, size: tuple[int, int] = DESKTOP, scheme: str = "light", scripts: bool = True
) -> Iterator[Visitor]:
    """A browser at the service: it asks nobody else, and has nothing to complain about."""
    if CHROMIUM is None:
        missing = "no chromium is installed: apt-get install chromium"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        context = chromium.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, java_script_enabled=scripts
        )
        page = context.new_page()
        page.set_default_timeout(PAGE_SECONDS * 1000)
        visitor = Visitor(page, service)
        yield visitor
        assert [url for url in visitor.requests if not url.startswith(service.url)] == []
        assert visitor.complaints == []
        chromium.close()
