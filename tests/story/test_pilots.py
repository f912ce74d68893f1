"""Pilots work on a campaign from processes that reach nothing but the event service."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from eventmill.config.campaign_spec import CampaignSpec
from tests.pilots import led_by_pilots
from tests.waiting import until


def test_pilots_do_a_campaign(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """Two pilots, the second with two slots: each event is in exactly one merged file."""
    story = campaign("number", events=2000, ranges={"events": 100, "block": "1s"})
    with led_by_pilots(story, folder=tmp_path / "led") as led, led.pilot(), led.pilot(slots=2):
        led.wait()
    assert led.events() == list(range(2000))


def test_a_pilot_that_does_not_fit_says_why_and_leaves_the_work_to_others(
    campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """The first has no GPU, the second has one, and the software that the campaign asks for."""
    story = campaign("number", events=400, ranges={"events": 100})
    asked = {"needs": {"gpus": 1, "sites": ["CERN"]}, "environment": [f"numpy=={version('numpy')}"]}
    story = CampaignSpec(**story.model_dump() | {"payload": story.payload.model_dump() | asked})
    no_gpu = {"CUDA_VISIBLE_DEVICES": "", "EVENTMILL_SITE": "CERN"}
    with led_by_pilots(story, folder=tmp_path / "led") as led:
        with led.pilot(environment=no_gpu):
            until(lambda: "no work of campaign 'story' for this pilot: it wants 1 GPU" in led.said(), seconds=60)
        assert led.done() == 0
        with led.pilot("--gpus", "1", environment=no_gpu):
            led.wait()
    assert led.events() == list(range(400))
