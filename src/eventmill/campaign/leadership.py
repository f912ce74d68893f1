"""The leadership of a campaign: only the process that holds it drives the campaign or changes it as a whole.

It is renewed from its own thread, so that a slow store does not cost the leadership. A frozen process runs no
threads and loses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from eventmill.core.leases import LeadershipLease
from eventmill.ledger import Ledger
from eventmill.runtime.heartbeat import renewing
from eventmill.runtime.process_id import is_gone, this_process

RENEW_SECONDS = 3.0
"""A fifth of the duration of a leadership."""


@contextmanager
def hold_leadership(ledger: Ledger, campaign_id: int) -> Iterator[LeadershipLease]:
    """Hold the leadership during a `with` block. Raises `CampaignLocked` while another coordinator lives.

    The block itself must check whether the leadership was lost; here it is only not renewed any more.
    """
    lead = ledger.acquire_leadership(campaign_id, str(this_process()), is_gone=is_gone)
    try:
        with renewing(lambda _: ledger.renew_leadership(lead), seconds=RENEW_SECONDS, name="lead"):
            yield lead
    finally:
        ledger.release_leadership(lead)
