"""Names of flow runs: one that somebody typed stays, one that Prefect made up gives way to the campaign's."""

from __future__ import annotations

from functools import cache
from typing import Any

from prefect.runtime import flow_run


def name_unless_typed(name: str) -> str:
    """The name of this flow run: `name`, unless it has one that Prefect did not make up."""
    given = flow_run.name
    return str(given) if given and not is_made_up(str(given)) else name


def is_made_up(name: str) -> bool:
    """Whether Prefect (3.8.8) makes up such names: its server, or a form in one of the two designs of its UI.

    `brave-otter`, `omicron287-rakosa-quadrant`, `Awesome-Bat`. A name of one part, such as `tau3`, counts as
    typed, though one in 200 names of a form is like that.
    """
    return _is_of_server(name) or _is_of_form_1(name) or _is_of_form_2(name)


def _is_of_server(name: str) -> bool:
    parts = name.split("-")
    return len(parts) > 1 and _words().issuperset(parts)


def _is_of_form_1(name: str) -> bool:
    from eventmill.prefect_api.ui_vocabulary import LETTERS, PLACES, REGIONS

    letter, *others = name.split("-")
    if letter.rstrip("0123456789") not in LETTERS or not others:
        return False
    whole, place = "-".join(others), "-".join(others[:-1])
    return whole in PLACES or (others[-1] in REGIONS and len(others) > 1 and place in PLACES | {""})


def _is_of_form_2(name: str) -> bool:
    from eventmill.prefect_api.ui_vocabulary import ADJECTIVES, ANIMALS

    adjective, _, animal = name.partition("-")
    return adjective in ADJECTIVES and animal in ANIMALS


@cache
def _words() -> frozenset[str]:
    from coolname.data import config

    lists: dict[str, Any] = dict(config)
    entries = [entry for each in lists.values() for entry in (*each.get("words", ()), *each.get("phrases", ()))]
    values = [str(each["value"]) for each in lists.values() if "value" in each]
    phrases = [entry.split() if isinstance(entry, str) else list(entry) for entry in entries]
    return frozenset(word for phrase in phrases for word in phrase) | frozenset(values)
