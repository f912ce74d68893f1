"""Preempt events of Azure spot machines: at least 30 seconds before ('Scheduled Events for Linux VMs')."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from eventmill.runtime.preemption.notice import Notice, ask

BASE = "EVENTMILL_AZURE_METADATA"
"""The variable for another address than the link-local one."""

ASKED = {"Metadata": "true"}


def look() -> Notice | None:
    """Ask for scheduled events. The list has those of a whole scale set; only those of this machine count."""
    base = os.environ.get(BASE, "http://169.254.169.254").rstrip("/")
    said = ask(f"{base}/metadata/scheduledevents?api-version=2020-07-01", ASKED)
    if said is None:
        raise OSError(f"{base} has no scheduled events: it is not Azure")
    events = [event for event in json.loads(said).get("Events", []) if event.get("EventType") == "Preempt"]
    if not events:
        return None
    name = ask(f"{base}/metadata/instance/compute/name?api-version=2021-02-01&format=text", ASKED)
    for event in events:
        if name in event.get("Resources", []):
            return Notice(f"Azure preempt event {event['EventId']}", _when(event.get("NotBefore", "")))
    return None


def _when(not_before: str) -> datetime:
    """The time of an event; an event without a time has started: now."""
    return parsedate_to_datetime(not_before) if not_before else datetime.now(UTC)
