"""The ledgers that keep the contract, and all that one says of a campaign, to see that nothing changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from eventmill.core.records import CampaignRow
from eventmill.errors import LedgerError
from eventmill.ledger import Ledger, create_ledger
from tests.conftest import SettableClock

LEDGERS = ("sqlite", "memory")

_numbers = count()


def new_ledger(kind: str, folder: Path, clock: SettableClock) -> Ledger:
    """An empty ledger."""
    url = f"memory://{next(_numbers)}" if kind == "memory" else str(folder / "ledger.sqlite")
    return create_ledger(url, clock=clock)


class Both:
    """Two ledgers in one: each verb is done by both, and has to be answered the same."""

    def __init__(self, one: Ledger, other: Ledger) -> None:
        self._ledgers = one, other

    def __getattr__(self, verb: str) -> Any:
        def asked(*args: Any, **kwargs: Any) -> Any:
            answers = [_answer(getattr(ledger, verb), args, kwargs) for ledger in self._ledgers]
            assert _comparable(answers[0]) == _comparable(answers[1]), verb
            if isinstance(answers[0], LedgerError):
                raise answers[0]
            return answers[0]

        return asked


def _answer(verb: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    try:
        return verb(*args, **kwargs)
    except LedgerError as error:
        return error


def _comparable(answer: Any) -> Any:
    """Without what is random in each ledger: a campaign's id in all ledgers."""
    match answer:
        case CampaignRow():
            return replace(answer, uid="")
        case LedgerError():
            return type(answer), str(answer)
        case tuple() | list():
            return [_comparable(part) for part in answer]
    return answer


def all_it_says(ledger: Ledger, campaign_id: int) -> dict[str, Any]:
    """Every answer of a ledger about a campaign but for what it costs to be asked."""
    return {
        "campaigns": ledger.campaigns(),
        "attempt": ledger.newest_attempt(),
        "leader": ledger.leader(campaign_id),
        "inputs": ledger.inputs(campaign_id),
        "spans": ledger.spans(campaign_id),
        "counts": ledger.counts(campaign_id),
        "outputs": ledger.committed_outputs(campaign_id),
        "dropped": ledger.dropped_outputs(campaign_id),
        "blocks": ledger.block_ids(campaign_id),
        "leased": ledger.leased(campaign_id),
        "holders": ledger.holders(campaign_id),
        "live": ledger.live_workers(campaign_id),
        "quarantined": ledger.quarantined(campaign_id),
        "attempts": ledger.live_attempts(campaign_id),
        "due": ledger.due_merges(campaign_id),
        "merges": ledger.open_merges(campaign_id),
        "mergers": ledger.mergers(campaign_id),
        "merged": ledger.merged_outputs(campaign_id),
        "unpublished": ledger.unpublished(campaign_id),
        "published": ledger.published_outputs(campaign_id),
        "journal": ledger.journal(campaign_id),
        "usage": ledger.used(campaign_id),
        "loss rate": ledger.loss_rate(campaign_id),
        "pace": ledger.pace(campaign_id),
        "samples": ledger.samples(campaign_id),
    }
