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
    """Whether each part of a name is a word of the list from which Prefect (3.8.8) draws, as in `brave-otter`."""
    parts = name.split("-")
    return len(parts) > 1 and _words().issuperset(parts)


@cache
def _words() -> frozenset[str]:
    from coolname.data import config

    lists: dict[str, Any] = dict(config)
    entries = [entry for each in lists.values() for entry in (*each.get("words", ()), *each.get("phrases", ()))]
    values = [str(each["value"]) for each in lists.values() if "value" in each]
    phrases = [entry.split() if isinstance(entry, str) else list(entry) for entry in entries]
    return frozenset(word for phrase in phrases for word in phrase) | frozenset(values)
