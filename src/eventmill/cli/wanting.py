"""`pause` and `cancel`: write down what the user wants of a campaign. Whoever works on it learns it and obeys."""

from __future__ import annotations

from eventmill.cli.arguments import InLedger, Named, find_campaign
from eventmill.cli.output import screen
from eventmill.core.records import Wanted


def pause(campaign: Named, ledger: InLedger = None) -> None:
    """Let workers hand in the ranges they are at, and end the run; 'eventmill run' goes on."""
    _want(campaign, ledger, Wanted.PAUSED, "ranges that are being computed are finished and kept")


def cancel(campaign: Named, ledger: InLedger = None) -> None:
    """Stop at once; what is committed stays, and 'eventmill run' goes on with it all the same."""
    _want(campaign, ledger, Wanted.CANCELLED, "ranges that are being computed are dropped")


def _want(campaign: str, path: str | None, wanted: Wanted, consequence: str) -> None:
    ledger, record = find_campaign(campaign, ledger=path)
    ledger.want(record.id, wanted)
    done = ledger.counts(record.id).done
    screen().print(
        f"{record.name} is {wanted}; {consequence}. {done:,} events are safe; 'eventmill run' goes on with it.",
        highlight=False,
        soft_wrap=True,
    )
