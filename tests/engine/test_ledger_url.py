"""A ledger's url says which kind of ledger it is, and is refused when it holds a password."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from eventmill.config.campaign_spec import parse_campaign
from eventmill.core.ledger_url import as_option, scheme_of
from eventmill.errors import CampaignError, EventmillError, LedgerError
from eventmill.ledger import create_ledger, open_ledger, shared_ledger
from eventmill.ledger.words import driven_by

PASSWORDS = st.text(st.characters(codec="utf-8", exclude_characters="@"), min_size=1).map(lambda s: f"pw-{s}-wp")
SCHEMES = st.sampled_from(["postgresql", "postgresql+psycopg", "POSTGRESQL", "sqlite", "mysql", "https", "memory"])
USERS = st.text("abcXYZ09%._-", max_size=8)
PLACES = st.sampled_from(["host/db", "host:5432/db", "host:port/db", "[::1]/db", "/absolute/path", ""])


@st.composite
def urls_with_a_password(draw: st.DrawFn) -> tuple[str, str]:
    """A url, and the password in it: before the host, or among the options."""
    scheme, user, place, password = draw(SCHEMES), draw(USERS), draw(PLACES), draw(PASSWORDS)
    option = draw(st.sampled_from(["password", "PASSWORD", "sslpassword", "passwd", "api_token"]))
    return password, draw(
        st.sampled_from(
            [
                f"{scheme}://{user}:{password}@{place}",
                f"{scheme}://{user}:{password}@{place}?sslmode=require",
                f"{scheme}://{user}@{place}?{option}={password}",
                f"{scheme}://{place}?sslmode=require&{option}={password}",
            ]
        )
    )


@given(urls_with_a_password())
def test_no_url_with_a_password_is_taken(found: tuple[str, str]) -> None:
    """Whoever is given it refuses it in one line that does not repeat it, and says where the password belongs."""
    password, url = found
    campaign = {"name": "c", "inputs": {}, "payload": 7, "output": {"store": "out"}, "ledger": url}
    for use in (open_ledger, create_ledger, shared_ledger, lambda url: parse_campaign(campaign, source="c.yaml")):
        with pytest.raises((LedgerError, CampaignError)) as error:
            use(url)
        told = str(error.value)
        assert "a ledger's url holds a password" in told and ".pgpass" in told
        assert password not in told and "\n" not in told


@given(st.text(st.characters(codec="utf-8", exclude_characters="?&")))
def test_a_path_holds_no_password(path: str) -> None:
    """Whatever a file is called: without '://' it is a path."""
    assume("://" not in path)
    assert scheme_of(path) == scheme_of(f"sqlite:////{path}") == "sqlite"


@given(st.text(max_size=30), SCHEMES)
def test_any_text_is_taken_or_refused_by_name(text: str, scheme: str) -> None:
    """Never an error that is not ours."""
    for url in (text, f"{scheme}://{text}"):
        try:
            assert "://" not in scheme_of(url)
        except EventmillError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("url", ["https://mill.example.org/ledger", "HTTP://host"])
def test_the_address_of_an_event_service_is_no_ledger_of_a_campaign(url: str) -> None:
    """The message says what is."""
    for use in (open_ledger, create_ledger, shared_ledger):
        with pytest.raises(LedgerError, match=r"event service, .* a path or sqlite:///path .*postgresql"):
            use(url)


def test_a_name_without_a_password_may_stand_before_the_host() -> None:
    """Who one is, is no secret; and neither is a colon in a path or a port."""
    for url in (
        "postgresql+psycopg://me@host:5432/db",
        "postgresql://host:5432/db?options=a:b",
        "sqlite:////a:b@c",
    ):
        assert scheme_of(url) in ("postgresql", "sqlite")


@pytest.mark.parametrize("url", ["memory://short", "MEMORY://short"])
def test_no_command_is_offered_a_ledger_that_it_cannot_open(url: str) -> None:
    """Only the process that made a ledger in memory can open it; one in a file is named."""
    assert as_option(url) == ""
    assert "eventmill status" not in str(driven_by("c", "h:1:1", timedelta(seconds=9), ledger=url))
    told = str(driven_by("c", "h:1:1", timedelta(seconds=9), ledger="sqlite:////elsewhere/l.sqlite"))
    assert "'eventmill status c --ledger /elsewhere/l.sqlite' shows its progress." in told
