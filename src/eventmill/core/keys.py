"""The keys of a campaign's objects in its store (docs/decisions/07-keys-and-paths.md). Knows no store."""

from __future__ import annotations

import re

RANGES = "_ranges"
"""Folder of range outputs. Tools that read data sets skip names that begin with '_'."""

STAGED = "_staged"
"""Folder of merged files that nobody may see yet."""

HIDDEN_FOLDERS = (RANGES, STAGED)
"""What stands below `<folder>/<campaign>/` is Eventmill's alone, and is deleted sooner or later."""

SUFFIXES = ("parquet", "root", "zip")
"""Of merged files in the built-in formats, besides the one that a campaign writes now."""


def merged_name(campaign: str, start: int, stop: int, suffix: str) -> str:
    """`dimuon-000000001000-000000002000.parquet`: sorts in event order, says which events to look for."""
    return f"{campaign}-{start:012d}-{stop:012d}.{suffix}"


def is_merged_name(key: str, *, campaign: str, suffix: str) -> bool:
    """Whether `key` is a name that `merged_name` gives for this campaign, so that a glob over its files finds it.

    Events that were reopened after their window was merged have a number before the suffix.
    """
    endings = "|".join(re.escape(ending) for ending in (suffix, *SUFFIXES))
    return re.fullmatch(rf"{re.escape(campaign)}-\d{{12,}}-\d{{12,}}\.(\d+\.)?({endings})", key) is not None


def companion_key(campaign: str, what: str) -> str:
    """`_dimuon-manifest.json`: a file about the campaign, beside its merged files."""
    return f"_{campaign}-{what}"


COMPANIONS = ("manifest.json", "histograms.png", "report.json", "report.png")
"""What stands beside merged files, but for the mark that says whose they are."""


def attempt_of(key: str) -> int | None:
    """The attempt that wrote an object in one of `HIDDEN_FOLDERS`: the first number behind the campaign's name."""
    first = key.split("/")[2].split("-")[0]
    return int(first) if re.fullmatch("[0-9]{1,18}", first) else None
