"""Interruption notices of Amazon EC2: two minutes before (user guide, 'Spot Instance interruption notices')."""

from __future__ import annotations

import json
import os
from datetime import datetime

from eventmill.runtime.preemption.notice import Notice, ask

BASE = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
"""The variable that AWS's own tools also read."""


def look() -> Notice | None:
    """Ask the instance metadata service, version 2: a token first, then whether an action is due."""
    base = os.environ.get(BASE, "http://169.254.169.254").rstrip("/")
    token = ask(f"{base}/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"}, method="PUT")
    if token is None:
        raise OSError(f"{base} returned no token: it is not an EC2 instance metadata service, version 2")
    said = ask(f"{base}/latest/meta-data/spot/instance-action", {"X-aws-ec2-metadata-token": token})
    if said is None:
        return None
    action = json.loads(said)
    what, when = action["action"], action["time"]
    return Notice(f"EC2 spot notice: {what} at {when}", datetime.fromisoformat(when))
