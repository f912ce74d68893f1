"""Ranges of events, processed on workers that may vanish, merged exactly once.

All that is public is a name of this module: `import eventmill as em`. Each is imported when it is first used, so
that a payload's process, which imports this module too, stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from eventmill.core.version import VERSION

if TYPE_CHECKING:
    from eventmill.api import Campaign, MergedFile, RunResult, campaigns, open_campaign, read, run, try_payload
    from eventmill.campaign.audit import Audit
    from eventmill.campaign.progress import Progress
    from eventmill.campaign.try_payload import Trial
    from eventmill.config.campaign_spec import CampaignSpec
    from eventmill.errors import (
        AccessError,
        AuditFailed,
        CampaignAborted,
        CampaignChanged,
        CampaignError,
        CampaignIncomplete,
        CampaignLocked,
        CampaignPaused,
        ClusterError,
        CorruptOutput,
        DrillFailed,
        EventmillError,
        IllegalMove,
        InputError,
        Interrupted,
        LedgerError,
        MergeTimeout,
        NameTaken,
        NoCampaign,
        PartitionBroken,
        PayloadError,
        PrefectUnavailable,
        ScratchError,
        StoreError,
        StoreTaken,
    )
    from eventmill.formats.histograms import read_histograms
    from eventmill.formats.protocol import Format
    from eventmill.payloads.calls import Where
    from eventmill.reports.abandoned import AbandonedSpan
    from eventmill.reports.report import Report
    from eventmill.sources import Source
    from eventmill.store.protocol import Store

__version__ = VERSION

__all__ = [
    "AbandonedSpan",
    "AccessError",
    "Audit",
    "AuditFailed",
    "Campaign",
    "CampaignAborted",
    "CampaignChanged",
    "CampaignError",
    "CampaignIncomplete",
    "CampaignLocked",
    "CampaignPaused",
    "CampaignSpec",
    "ClusterError",
    "CorruptOutput",
    "DrillFailed",
    "EventmillError",
    "Format",
    "IllegalMove",
    "InputError",
    "Interrupted",
    "LedgerError",
    "MergeTimeout",
    "MergedFile",
    "NameTaken",
    "NoCampaign",
    "PartitionBroken",
    "PayloadError",
    "PrefectUnavailable",
    "Progress",
    "Report",
    "RunResult",
    "ScratchError",
    "Source",
    "Store",
    "StoreError",
    "StoreTaken",
    "Trial",
    "Where",
    "__version__",
    "campaigns",
    "open_campaign",
    "read",
    "read_histograms",
    "run",
    "try_payload",
]

_HOMES = {
    "AbandonedSpan": "eventmill.reports.abandoned",
    "Audit": "eventmill.campaign.audit",
    "CampaignSpec": "eventmill.config.campaign_spec",
    "Format": "eventmill.formats.protocol",
    "Report": "eventmill.reports.report",
    "Source": "eventmill.sources",
    "Store": "eventmill.store.protocol",
    "Where": "eventmill.payloads.calls",
    "read_histograms": "eventmill.formats.histograms",
    "Progress": "eventmill.campaign.progress",
    "Trial": "eventmill.campaign.try_payload",
    **dict.fromkeys(("Campaign", "MergedFile", "RunResult"), "eventmill.api"),
    **dict.fromkeys(("campaigns", "open_campaign", "read", "run", "try_payload"), "eventmill.api"),
}
"""Which module has a name; all others are errors."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    try:
        home = importlib.import_module(_HOMES.get(name, "eventmill.errors"))
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("eventmill."):
            raise
        raise ImportError(
            f"'eventmill.{name}' is not in eventmill-pilot, which is installed here: install eventmill instead.",
            name=error.name,
        ) from error
    value = getattr(home, name)
    globals()[name] = value  # from now on it is found without asking
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
