"""What a user may choose when a campaign is not what was begun. Compares nothing, and imports nothing."""

from __future__ import annotations

from enum import StrEnum


class Changed(StrEnum):
    """What to do when the campaign, its payload or an input differs from what was begun."""

    STOP = "stop"  # name the differences and stop
    ACCEPT = "accept"  # continue with the new version; what is done is kept
    RESTART = "restart"  # delete what is done and begin again
    KEEP = "keep"  # continue with what was begun, as the ledger has it; read nothing else
    RESCUE = "rescue"  # the same, but leave it alone if it was paused or cancelled; for the flow `rescue`


USERS = tuple(choice for choice in Changed if choice is not Changed.RESCUE)
"""What a person may choose."""
