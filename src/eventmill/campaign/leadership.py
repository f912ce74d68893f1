"""A campaign's lead: who has it drives the campaign, or changes it as a whole, and nobody else does.

Renewed from a thread of its own, so that a store that takes its time costs no lead. A process that is frozen has
no threads that run, and loses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from eventmill.core.leases import LeadershipLease
from eventmill.ledger import Ledger
from eventmill.runtime.heartbeat import renewing
from eventmill.runtime.process_id import is_gone, this_process

RENEW_SECONDS = 3.0
"""A fifth of what a lead lasts."""


@contextmanager
def hold_leadership(ledger: Ledger, campaign_id: int) -> Iterator[LeadershipLease]:
    """Lead the campaign while a `with` block lasts. Raises `CampaignLocked` while another coordinator lives.

    Whether it is lost meanwhile is for the block to ask; here it is only not renewed any more.
    """
    lead = ledger.acquire_leadership(campaign_id, str(this_process()), is_gone=is_gone)
    try:
        with renewing(lambda _: ledger.renew_leadership(lead), seconds=RENEW_SECONDS, name="lead"):
            yield lead
    finally:
        ledger.release_leadership(lead)
