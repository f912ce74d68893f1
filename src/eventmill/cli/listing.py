"""`eventmill status` without a campaign: all that were begun with the ledgers of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eventmill import api
from eventmill.cli.output import print_json, screen, table
from eventmill.core.ledger_url import DEFAULT_LEDGER
from eventmill.core.units import percent
from eventmill.errors import LedgerError

MOST_FILES = 200
"""More YAML files in a folder are not searched for ledgers."""


def list_campaigns(ledger: str | None, *, json: bool) -> None:
    """Print a line for each campaign; `LedgerError` if none was begun."""
    ledgers = [ledger] if ledger is not None else list(dict.fromkeys(_ledgers_here()))
    found = [(path, each, each.status()) for path in ledgers for each in api.campaigns(path)]
    if not found:
        where = f"the ledger {ledger}" if ledger else f"{DEFAULT_LEDGER} or another ledger of a campaign file here"
        raise LedgerError(f"no campaign was begun in {where}. Begin one with 'eventmill run CAMPAIGN.yaml'.")
    if json:
        print_json([status | {"ledger": path, "store": each.record.store_url} for path, each, status in found])
        return
    rows = [
        (each.name, status["state"], _done(status["events"]), each.record.store_url, path)
        for path, each, status in found
    ]
    screen().print(table(["campaign", "state", "done", "results", "ledger"], rows))


def _done(events: dict[str, Any]) -> str:
    done, total = events["merged"] + events["committed"], events["total"]
    return f"{done:,} of {total:,} ({percent(done, total)})"


def _ledgers_here() -> Iterator[str]:
    """The usual ledger, and those that campaign files in the working folder name, if they exist."""
    from eventmill.config.yaml_file import YamlError, read_yaml

    if Path(DEFAULT_LEDGER).is_file():
        yield DEFAULT_LEDGER
    files = sorted(path for path in Path().iterdir() if path.suffix in (".yaml", ".yml"))
    for path in files[:MOST_FILES]:
        try:
            data = read_yaml(path)
        except (OSError, UnicodeDecodeError, YamlError):
            continue
        named = data.get("ledger") if isinstance(data, dict) and "payload" in data else None
        if isinstance(named, str) and "\0" not in named and "://" not in named and Path(named).is_file():
            yield named
