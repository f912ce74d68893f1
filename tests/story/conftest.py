"""What every story begins with: a campaign in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eventmill.config.campaign_spec import CampaignSpec, parse_campaign

LAB = Path(__file__).parent / "lab"


def new_campaign(folder: Path, payload: str, **keys: Any) -> CampaignSpec:
    """A campaign that writes into `folder`. `keys` are those of a campaign file, and some are shorter:

    `events` (generated, in two inputs), `parameters` (of the payload), `merge` and `columns` (of the output), and
    `output` for more of its keys.
    """
    callable = payload if ":" in payload else f"{LAB}/payloads.py:{payload}"
    short = {
        "name": "story",
        "ledger": str(folder / "ledger.sqlite"),
        "payload": {"callable": callable, "parameters": keys.pop("parameters", {})},
        "output": {
            "store": str(folder / "merged"),
            "merge": keys.pop("merge", {"events": 500}),
            "columns": keys.pop("columns", None),
        }
        | keys.pop("output", {}),
    }
    if "events" in keys:
        short["inputs"] = {"generated": {"events": keys.pop("events"), "files": 2}}
    return parse_campaign(short | keys, source="the story")


@pytest.fixture
def campaign(tmp_path: Path) -> Callable[..., CampaignSpec]:
    """Makes campaigns in this test's folder."""

    def made(payload: str, **keys: Any) -> CampaignSpec:
        return new_campaign(tmp_path, payload, **keys)

    return made
