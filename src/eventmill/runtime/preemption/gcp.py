"""Preemption notices of Google Compute Engine: 30 seconds before ('Spot VMs', 'Preemption process')."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from eventmill.runtime.preemption.notice import Notice, ask

HOST = "GCE_METADATA_HOST"
"""The variable that Google's own libraries also read: a host, with an optional port."""

NOTICE = timedelta(seconds=30)


def look() -> Notice | None:
    """Ask the metadata server whether this machine is being preempted."""
    host = os.environ.get(HOST, "metadata.google.internal")
    url = f"http://{host}/computeMetadata/v1/instance/preempted"
    said = ask(url, {"Metadata-Flavor": "Google"})
    if said is None:
        raise OSError(f"{url} does not exist: this is not Google Compute Engine")
    if said.strip().upper() != "TRUE":
        return None
    return Notice("Google Cloud preemption notice", datetime.now(UTC) + NOTICE)
