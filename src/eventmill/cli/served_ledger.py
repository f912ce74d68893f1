"""The ledger of an event service, for the commands that need one that is there already."""

from __future__ import annotations

from pathlib import Path

from eventmill.core.ledger_url import scheme_of
from eventmill.errors import LedgerError


def check_is_there(ledger: str) -> None:
    """Raise `LedgerError`, which says what creates one, if this file is not there."""
    place = ledger.removeprefix("sqlite:///")
    is_file = scheme_of(ledger) == "sqlite" and "://" not in place and "?" not in place
    if is_file and not Path(place).exists():
        raise LedgerError(
            f"there is no ledger at {Path(place).absolute()}. Give another one with --ledger, or begin a "
            "campaign: 'eventmill serve --lead CAMPAIGN.yaml' creates its ledger and serves it to pilots, "
            "'eventmill run CAMPAIGN.yaml' is the way without a service."
        )
