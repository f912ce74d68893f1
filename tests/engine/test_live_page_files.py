"""The files of the live page: nothing comes in from elsewhere, and its colours are told apart."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Sequence
from itertools import combinations
from operator import mul

import httpx
import pytest
from fastapi import FastAPI

from eventmill.core.states import State
from eventmill.ledger import Ledger
from eventmill.reports.event_map import COLOURS
from eventmill.service.live_page import FOLDER
from tests.engine.service_answers import ask
from tests.live_service import read_only_app


@pytest.fixture
def app(ledger: Ledger) -> FastAPI:
    """The page, and the views that it asks."""
    return read_only_app(ledger)


def test_the_page_lets_nothing_in_from_elsewhere(app: FastAPI) -> None:
    """A strict policy; no script or style in the markup, which it would stop; no address of another host."""
    for name in ("", *(f"page/{path.name}" for path in FOLDER.iterdir())):
        response = ask(app, f"/{name}")
        assert response.status_code == 200
        policy = response.headers["content-security-policy"]
        assert policy.startswith("default-src 'self';") and "unsafe" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        text = response.text.replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text and "innerHTML" not in text and "eval(" not in text, name
    index = ask(app, "/").text
    assert "<style" not in index and " style=" not in index and " onclick" not in index
    assert "<script>" not in index and "<noscript>" in index
    assert ask(app, "/page/page.js").headers["content-type"].startswith("text/javascript")
    for name in ("/page/..%2fviews.py", "/page/../views.py", "/page/", "/page/none.js"):
        assert ask(app, name).status_code == 404


def test_the_page_is_asked_for_once(app: FastAPI) -> None:
    """Afterwards it is known by its ETag."""

    async def asked_twice() -> list[int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
            first = await client.get("/page/page.js")
            again = await client.get("/page/page.js", headers={"If-None-Match": first.headers["etag"]})
            return [first.status_code, again.status_code]

    assert asyncio.run(asked_twice()) == [200, 304]


def test_the_page_has_the_colours_of_the_reports() -> None:
    """A campaign looks the same in a notebook."""
    style = (FOLDER / "style.css").read_text()
    assert [state for state, colour in COLOURS.items() if f"--{state}: {colour};" not in style] == []


KINDS_OF_SIGHT = {
    "most people": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no red": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
    "no green": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
    "no blue": ((1.256, -0.077, -0.179), (-0.078, 0.931, 0.148), (0.005, 0.691, 0.304)),
}
"""What eyes make of linear red, green and blue: Machado, Oliveira and Fernandes (2009), at full severity."""


@pytest.mark.parametrize("sight", KINDS_OF_SIGHT)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_whoever_sees_no_red_green_or_blue_tells_the_states_apart(sight: str, scheme: str) -> None:
    """Any two of them differ by 15 in CIE Lab at least; a difference of 2.3 is just seen."""
    style = (FOLDER / "style.css").read_text()
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    found = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", light))
    if scheme == "dark":
        found |= dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", dark.partition("* {")[0]))
    seen = {state: _lab(found[state], KINDS_OF_SIGHT[sight]) for state in State}
    for one, other in combinations(State, 2):
        assert math.dist(seen[one], seen[other]) > 15, (one, other)


def _lab(colour: str, sight: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """CIE Lab of a colour as somebody sees it, by the white of sRGB."""
    srgb = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in srgb]
    seen = [min(1.0, max(0.0, sum(map(mul, row, linear)))) for row in sight]
    to_xyz = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    xyz = [sum(map(mul, row, seen)) / white for row, white in zip(to_xyz, (0.9505, 1.0, 1.089), strict=True)]
    x, y, z = (value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116 for value in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)
