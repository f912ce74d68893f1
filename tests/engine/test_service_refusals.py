"""What the event service refuses, and how: one line, and never a fault of its own."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from fastapi import FastAPI
from hypothesis import assume, given
from hypothesis import strategies as st

from eventmill.core.records import CampaignRow
from eventmill.ledger import Ledger, create_ledger
from tests.conftest import new_campaign
from tests.engine.service_answers import ask, problem_of
from tests.live_service import read_only_app, whoever_knows

_numbers = count()


ANY_TEXT = st.text(max_size=60)


@pytest.fixture(scope="module")
def quiet() -> FastAPI:
    """The views of a campaign at which nothing happens, made once for many questions."""
    ledger = create_ledger(f"memory://views-{next(_numbers)}")
    new_campaign(ledger, (5, 3), name="secret-name")
    new_campaign(ledger, (5, 3))
    return read_only_app(ledger)


@given(name=ANY_TEXT)
def test_whatever_is_asked_for_by_name_is_no_fault_of_the_service(quiet: FastAPI, name: str) -> None:
    """A campaign that there is not, whatever it is called: a problem of the one who asks, in one line."""
    assume(name not in ("c", "secret-name"))  # these are there, and the stream of their events does not end
    for path in ("", "/map", "/events"):
        try:
            named = quote(name, safe="")
        except UnicodeEncodeError:  # half a surrogate pair is no url
            return
        response = ask(quiet, f"/v1/campaigns/{named}{path}")
        if response.status_code not in (200, 307):  # "" is the list; "." and ".." are resolved by the client
            assert 400 <= response.status_code < 500
            assert "secret-name" not in problem_of(response).detail


@given(
    path=st.sampled_from(["/v1/campaigns", "/v1/campaigns/c/map", "/v1/campaigns/c", "/metrics", "/healthz"]),
    asked=st.dictionaries(
        st.sampled_from(["from", "to", "pixels", "strips", "limit", "offset", "x"]),
        st.one_of(st.integers(-5, 5), st.integers(), st.floats(), ANY_TEXT),
        max_size=4,
    ),
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "NONSENSE"]),
)
def test_no_question_is_a_fault_of_the_service(
    quiet: FastAPI, path: str, asked: dict[str, Any], method: str
) -> None:
    """Numbers of any size, words, other methods: an answer, or a problem of the one who asks."""
    try:
        query = urlencode(asked)
    except UnicodeEncodeError:
        return
    response = ask(quiet, f"{path}?{query}", method=method)
    assert response.status_code < 500
    if response.status_code != 200 and method != "HEAD":
        problem_of(response)


def test_who_may_not_read_is_told_nothing(ledger: Ledger) -> None:
    """Without a token, whether there is a campaign or not is told alike."""
    new_campaign(ledger, (100,))
    app = read_only_app(ledger, may_read=whoever_knows("right"))
    for path in ("", "/c", "/c/map", "/c/events", "/other"):
        for token in (None, "wrong"):
            response = ask(app, f"/v1/campaigns{path}", token=token)
            assert response.status_code == 401 and response.headers["www-authenticate"] == "Bearer"
            problem_of(response)
    assert ask(app, "/metrics").status_code == 401
    assert ask(app, "/v1/campaigns/c", token="right").status_code == 200
    for path in ("/", "/page/page.js", "/healthz", "/readyz"):  # nothing in them is anybody's
        assert ask(app, path).status_code == 200


def test_a_reader_of_some_campaigns_sees_no_others(
    ledger: Ledger, open_campaign: Callable[..., CampaignRow]
) -> None:
    """What others are called is not told either."""
    open_campaign(5, name="mine")
    open_campaign(5, name="theirs")
    app = read_only_app(ledger, may_read=whoever_knows("right", {"mine", "unborn"}))
    assert [each["name"] for each in ask(app, "/v1/campaigns", token="right").json()["campaigns"]] == ["mine"]
    theirs, unborn = (ask(app, f"/v1/campaigns/{name}", token="right") for name in ("theirs", "unborn"))
    assert theirs.status_code == unborn.status_code == 404
    assert problem_of(theirs).detail.replace("theirs", "unborn") == problem_of(unborn).detail


def test_a_ledger_that_does_not_answer_is_said_so(tmp_path: Path) -> None:
    """503, with a time to come back; alive it is all the same."""
    path = tmp_path / "ledger.sqlite"
    ledger = create_ledger(str(path))
    app = read_only_app(ledger)
    assert ask(app, "/readyz").json() == {"status": "ok"}
    ledger.disconnect()
    path.write_bytes(b"no database" * 1000)
    for extra in ("-wal", "-shm"):
        (tmp_path / f"ledger.sqlite{extra}").unlink(missing_ok=True)
    for address in ("/readyz", "/v1/campaigns", "/v1/campaigns/c"):
        response = ask(app, address)
        assert response.status_code == 503 and int(response.headers["retry-after"]) > 0
        assert "ledger" in problem_of(response).detail
    assert ask(app, "/healthz").json() == {"status": "ok"}
    metrics = ask(app, "/metrics")
    assert metrics.status_code == 200 and "eventmill_ledger_up 0.0" in metrics.text
