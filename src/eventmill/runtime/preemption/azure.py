"""Preempt events of Azure spot machines: at least 30 seconds before ('Scheduled Events for Linux VMs')."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from eventmill.runtime.preemption.notice import Notice, ask

BASE = "EVENTMILL_AZURE_METADATA"
"""Another address than the link-local one."""

ASKED = {"Metadata": "true"}


def look() -> Notice | None:
    """Ask for scheduled events. Those of all machines of a scale set are listed: only our own counts."""
    base = os.environ.get(BASE, "http://169.254.169.254").rstrip("/")
    said = ask(f"{base}/metadata/scheduledevents?api-version=2020-07-01", ASKED)
    if said is None:
        raise OSError(f"{base} knows no scheduled events: no Azure")
    events = [event for event in json.loads(said).get("Events", []) if event.get("EventType") == "Preempt"]
    if not events:
        return None
    name = ask(f"{base}/metadata/instance/compute/name?api-version=2021-02-01&format=text", ASKED)
    for event in events:
        if name in event.get("Resources", []):
            return Notice(f"Azure preempt event {event['EventId']}", _when(event.get("NotBefore", "")))
    return None


def _when(not_before: str) -> datetime:
    """An event that has started has no time any more: now."""
    return parsedate_to_datetime(not_before) if not_before else datetime.now(UTC)
