"""The keys of a campaign's objects in its store (docs/decisions/07-keys-and-paths.md). Knows no store."""

from __future__ import annotations

import re

from eventmill.core.ranges import EventRange

RANGES = "_ranges"
"""Folder of range outputs. Tools that read data sets skip names that begin with '_'."""

STAGED = "_staged"
"""Folder of merged files that are not published yet."""

HIDDEN_FOLDERS = (RANGES, STAGED)
"""Everything below `<folder>/<campaign>/` is internal, and is deleted sooner or later."""

SUFFIXES = ("parquet", "root", "zip")
"""The suffixes of merged files in the built-in formats."""


def range_key(campaign: str, attempt: int, ordinal: int, piece: EventRange, suffix: str, *, mark: str) -> str:
    """The key of one range output; `mark` tells several of one attempt at a range apart."""
    return f"{RANGES}/{campaign}/{attempt}/{ordinal}-{piece.start}-{piece.stop}-{mark}.{suffix}"


def merged_name(campaign: str, start: int, stop: int, suffix: str) -> str:
    """`dimuon-000000001000-000000002000.parquet`: sorts in event order and shows the events."""
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
"""The files beside merged files, except the mark of the store."""


def attempt_of(key: str) -> int | None:
    """The attempt that wrote an object in one of `HIDDEN_FOLDERS`: the first number after the campaign's name."""
    first = key.split("/")[2].split("-")[0]
    return int(first) if re.fullmatch("[0-9]{1,18}", first) else None
