"""The campaign of a drill, whose correct results are known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eventmill.config.campaign_spec import CampaignSpec, parse_campaign

RANGE_SECONDS = 1.0
"""The duration of a range: short, so that a short drill has many ranges."""

RANGES = 40
"""The minimum number of ranges."""

WINDOWS = 5
"""The number of merged files."""

LEASE_SECONDS = 5.0
"""Short, so that a drill does not wait a minute until a frozen worker is noticed."""


@dataclass(frozen=True, slots=True)
class Size:
    """The amount of work of a drill."""

    events: int = 2000
    seconds_per_event: float = 0.01

    @property
    def range_events(self) -> int:
        """Events of a range."""
        by_time = RANGE_SECONDS / self.seconds_per_event if self.seconds_per_event else self.events
        return max(1, int(min(by_time, self.events / RANGES)))


def known_campaign(
    name: str,
    folder: Path,
    size: Size,
    *,
    cluster: str = "local",
    workers: int | None = None,
    address: str | None = None,
    lease_seconds: float = LEASE_SECONDS,
) -> CampaignSpec:
    """The campaign of a drill; ledger, results and diary are in `folder`."""
    (folder / "diary").mkdir(parents=True, exist_ok=True)
    parameters = {"seconds_per_event": size.seconds_per_event, "diary": str((folder / "diary").absolute())}
    return parse_campaign(
        {
            "name": name,
            "inputs": {"generated": {"events": size.events, "files": 2}},
            "payload": {"callable": "eventmill.drill.payload:Known", "parameters": parameters},
            "ranges": {"events": size.range_events, "block": f"{5 * RANGE_SECONDS} s"},
            "output": {
                "store": str((folder / "out").absolute()),
                "merge": {"events": -(-size.events // WINDOWS)},
            },
            # The drill causes every loss: a range that is in flight whenever all workers die is not at fault.
            "limits": {"lease": f"{lease_seconds} s", "losses": 1000},
            "cluster": {"type": cluster, "workers": workers, "address": address},
            "ledger": str(folder / "ledger.sqlite"),
        },
        source="the drill",
    )
