"""What a user sees of a campaign's cost: `report`, while it runs and afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from eventmill.reports.render import report_key
from tests.story.command_line.conftest import CommandLine, Mill


def test_a_finished_campaign_tells_what_it_cost(processed_campaign: Path, command_line: CommandLine) -> None:
    """CPU by what became of it, each with how it is known; the same as in the store."""
    told = command_line("report", "campaign.yaml")
    assert told.code == 0
    assert "measured in the payload's process" in told.out
    assert "goodput" in told.out
    data = json.loads(command_line("report", "squares", "--json").out)
    stored = json.loads((processed_campaign / "out" / report_key("squares", "json")).read_text())
    assert data == stored
    causes = {account["cause"]: account for account in data["accounts"]}
    assert causes["useful"]["events"] == 57
    assert causes["failure"]["occurrences"] == data["failures"] > 3
    assert data["events"]["abandoned"] == 3


def test_a_campaign_that_has_just_begun_has_a_report_too(
    new_campaign: Callable[..., Mill], command_line: CommandLine
) -> None:
    """Nothing is divided by nothing."""
    new_campaign()
    told = command_line("report", "campaign.yaml")
    assert told.code == 0
    assert "none chosen yet" in told.out
