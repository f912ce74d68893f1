"""A service that leads a campaign by itself, which is paused for a while."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from eventmill.campaign.open import open_campaign
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.records import DesiredState
from eventmill.service.leader import Leaders
from tests.waiting import until


def test_a_service_goes_on_with_a_campaign_that_was_paused(
    campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """It lets go of it, says so, and leads it again when its state is 'run'; a cancelled one is left."""
    spec = campaign("number", events=100, ranges={"events": 10})
    opened = open_campaign(spec, folder=tmp_path)
    told: list[str] = []
    leaders = Leaders(on_end=lambda name, how: told.append(how))

    def is_led() -> bool:
        return opened.ledger.leader(opened.id) is not None

    try:
        leaders.begin(spec, folder=tmp_path)
        until(is_led, seconds=60)
        opened.set_desired_state(DesiredState.PAUSED)
        until(lambda: told and not is_led(), seconds=60)
        assert [each.partition(":")[0] for each in told] == ["paused"]
        opened.set_desired_state(DesiredState.RUN)
        until(is_led, seconds=60)
        opened.set_desired_state(DesiredState.PAUSED)
        until(lambda: len(told) == 2 and not is_led(), seconds=60)
        opened.set_desired_state(DesiredState.CANCELLED)
        until(lambda: len(told) == 3, seconds=60)
        assert told[2] == "not led any more: it is cancelled"
        assert opened.desired_state() is DesiredState.CANCELLED and not is_led()
    finally:
        leaders.end()
