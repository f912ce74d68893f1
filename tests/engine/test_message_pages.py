"""The service says what each message means: OpenAPI, a page of its own, and docs/messages.md.

`python -m tests.engine.test_message_pages` prints docs/messages.md anew.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st

from eventmill.ledger import create_ledger
from eventmill.service.api_description import MEANINGS, PROBLEM, operations
from eventmill.service.app import create_app
from eventmill.service.message_markdown import as_markdown
from eventmill.service.message_outline import outline
from eventmill.service.message_page import POLICY, as_html
from tests.engine.test_messages_v1 import RECORDED

PAGE = Path(__file__).parents[2] / "docs" / "messages.md"

EMPTY_TAGS = {"meta", "link", "br"}
"""HTML elements without an end."""


def service(folder: Path) -> FastAPI:
    address = str(folder / "ledger.sqlite")
    return create_app(create_ledger(address), address, folder=folder)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    return service(tmp_path_factory.mktemp("service"))


@pytest.fixture(scope="module")
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


class Elements(HTMLParser):
    """What a page consists of; refuses elements that are not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.attributes: set[str] = set()
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names[tag] += 1
        given = dict(attrs)
        self.attributes |= given.keys()
        self.links += [str(given["href"])] if "href" in given else []
        self.ids += [str(given["id"])] if "id" in given else []
        if tag not in EMPTY_TAGS:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


def test_the_page_in_the_documentation_is_current(document: dict[str, Any]) -> None:
    assert PAGE.read_text(encoding="utf-8") == as_markdown(outline(document)), (
        "python -m tests.engine.test_message_pages"
    )
    assert " or null |" in PAGE.read_text() and "| list of [Range](#range) |" in PAGE.read_text()


def test_the_page_needs_nothing_from_elsewhere(app: FastAPI) -> None:
    """Nor a token. A browser would let nothing in: the policy names the one style by its hash."""

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://mill") as client:
            return await client.get("/v1/messages")

    answer = asyncio.run(ask())
    assert answer.status_code == 200
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert POLICY.startswith("default-src 'none'; style-src 'sha256-")
    found = Elements(answer.text)
    assert not found.names.keys() & {"script", "img", "link", "iframe", "object", "form"}
    assert found.attributes <= {"href", "id", "lang", "charset", "name", "content", "scope", "aria-label", "class"}
    assert {link for link in found.links if not link.startswith("#")} == {"/openapi.json"}
    assert len(found.ids) == len(set(found.ids))
    assert {link[1:] for link in found.links if link.startswith("#")} == set(found.ids)


def test_each_call_has_a_plain_name_a_group_and_its_errors(document: dict[str, Any]) -> None:
    """Names stay when paths change; an error is always a Problem."""
    calls = operations(document)
    names = [told["operationId"] for _, _, told in calls]
    assert len(names) == len(set(names))
    groups = {tag["name"] for tag in document["tags"]}
    for method, path, told in calls:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", told["operationId"]), told["operationId"]
        assert set(told["tags"]) <= groups
        assert told["tags"], path
        errors = {status: answer for status, answer in told["responses"].items() if int(status) >= 400}
        for status, answer in errors.items():
            assert list(answer["content"]) == [PROBLEM], (path, status)
            assert answer["description"] == MEANINGS[int(status)]
        if "security" in told:
            assert {"401", "403"} <= errors.keys(), path
        if method != "get":
            assert told["x-repetition"], path
    assert "HTTPValidationError" not in json.dumps(document)


def test_each_reference_leads_somewhere(document: dict[str, Any]) -> None:
    named = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert "Problem" in named
    assert named <= document["components"]["schemas"].keys()


def test_what_a_service_answered_is_what_it_says_that_it_answers(document: dict[str, Any]) -> None:
    """The statuses of the recorded conversation."""
    for file in RECORDED:
        told = json.loads(file.read_text())
        method, address = told["call"].partition("?")[0].split(" ")
        (call,) = (
            call
            for verb, path, call in operations(document)
            if verb == method.lower() and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), address)
        )
        assert str(told["status"]) in call["responses"], file.name


@settings(max_examples=50)
@given(st.text(alphabet=st.sampled_from("<>&'\"`*|\\ \nabc"), max_size=40))
def test_whatever_is_said_of_a_field_is_text(words: str) -> None:
    """Never an element of the page."""
    field = {"type": "string", "description": words, "default": words, "pattern": words}
    message = {"description": words, "properties": {"field": field}, "examples": [words]}
    document = {
        "info": {"title": words, "version": words, "description": words},
        "tags": [],
        "paths": {},
        "components": {"schemas": {"Message": message}},
    }
    plain = {"info": document["info"] | {"title": "t"}} | {key: document[key] for key in ("tags", "paths")}
    fewer = plain | {"components": {"schemas": {"Message": {"properties": {"field": {"type": "string"}}}}}}
    found, least = Elements(as_html(outline(document))), Elements(as_html(outline(fewer)))
    assert found.names.keys() <= least.names.keys() | {"code", "em", "p", "pre"}
    assert found.links == least.links


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        print(as_markdown(outline(service(Path(name)).openapi())), end="")
