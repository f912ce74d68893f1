"""Pilots work on a campaign from processes that reach nothing but the event service."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from eventmill.config.campaign_spec import CampaignSpec
from tests.pilots import led_by_pilots


def test_pilots_do_a_campaign(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """Two pilots, the second with two slots: each event is in exactly one merged file."""
    story = campaign("number", events=2000, ranges={"events": 100, "block": "1s"})
    with led_by_pilots(story, folder=tmp_path / "led") as led, led.pilot(), led.pilot(slots=2):
        led.wait()
    assert led.events() == list(range(2000))
