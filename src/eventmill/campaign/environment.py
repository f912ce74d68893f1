"""The software that a campaign asks for: reads its lock file, compares it with what was begun, looks for it."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eventmill.config.campaign_spec import CampaignSpec
from eventmill.config.lock_file import read_lock
from eventmill.core.environment import LACKS
from eventmill.core.units import counted
from eventmill.runtime.software import in_one_line, lacking

KEY = "payload.environment"

MOST_TOLD = 8
"""More changed packages than this are counted."""


def with_read_lock(campaign: CampaignSpec, *, folder: Path) -> CampaignSpec:
    """The campaign as the ledger stores it: with the pins of its lock file in place of the file's path.

    A relative path starts from `folder`. Raises `CampaignError` with file and line of what is no pin, and
    `PayloadError` if there is no such file.
    """
    wanted = campaign.payload.environment
    if wanted is None or not isinstance(wanted.packages, str):
        return campaign
    pins = read_lock(wanted.packages, folder=folder)
    environment = wanted.model_copy(update={"packages": list(pins)})
    payload = campaign.payload.model_copy(update={"environment": environment})
    return campaign.model_copy(update={"payload": payload})


def why_not_here(campaign: CampaignSpec) -> str | None:
    """What of `payload.environment` this process lacks, in one clause; None if it has all. As `with_read_lock`."""
    wanted = with_read_lock(campaign, folder=Path.cwd()).payload.environment
    missing = () if wanted is None else lacking(wanted.asked)
    return f"{socket.gethostname()} {LACKS}{in_one_line(missing)}" if missing else None


def environment_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """`(key, clause)` for each part that differs between two versions of a campaign, as the ledger stores them."""
    before, now = ((each.get("payload") or {}).get("environment") or {} for each in (old, new))
    if changes := _packages(_by_name(before.get("packages")), _by_name(now.get("packages"))):
        yield f"{KEY}.packages", changes
    for part in ("path", "image"):
        if (was := before.get(part)) != (is_now := now.get(part)):
            yield f"{KEY}.{part}", f"{was or 'not set'} -> {is_now or 'not set'}"


def _by_name(pins: list[str] | None) -> dict[str, str]:
    """Name with its marker -> version."""
    found = {}
    for pin in pins or ():
        wanted, _, marker = pin.partition(";")
        name, _, version = wanted.partition("==")
        found[f"{name};{marker}"] = version
    return found


def _packages(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    told = []
    for key in sorted(old.keys() | new.keys()):
        name = key.partition(";")[0]
        if key not in new:
            told.append(f"{name} {old[key]} removed")
        elif key not in old:
            told.append(f"{name} {new[key]} added")
        elif old[key] != new[key]:
            told.append(f"{name} {old[key]} -> {new[key]}")
    more = f", and {counted(len(told) - MOST_TOLD, 'more package')}" if len(told) > MOST_TOLD else ""
    return f"{', '.join(told[:MOST_TOLD])}{more}"
