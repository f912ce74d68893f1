"""Output formats by name: the built-in ones, and those of other packages.

A package adds a format with an entry point in the group `eventmill.formats`: a callable that takes the options of
`output.options` as keyword arguments and returns a `Format`. It must be installed wherever Eventmill runs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from eventmill.core.work_order import FormatSpec
from eventmill.errors import CampaignError
from eventmill.formats.protocol import Contents, Format, Written
from eventmill.formats.range_outputs import Part, Spans

__all__ = ["BUILT_IN", "Contents", "Format", "Part", "Spans", "Written", "format_names", "open_format"]

GROUP = "eventmill.formats"

BUILT_IN = {
    "parquet": "eventmill.formats.parquet:ParquetFormat",
    "root": "eventmill.formats.root:RootFormat",
    "hist": "eventmill.formats.hist:HistFormat",
    "bytes": "eventmill.formats.raw_bytes:files_format",
}


def format_names() -> tuple[str, ...]:
    """Every known format, the built-in ones first."""
    return (*BUILT_IN, *sorted(_added().keys() - BUILT_IN.keys()))


def open_format(spec: FormatSpec) -> Format:
    """The format of that name with its options. Imports what it needs, which may take seconds.

    Raises `CampaignError` if the format is unknown, its package is missing, or an option is invalid.
    """
    if spec.name not in format_names():
        raise CampaignError(f"unknown output format '{spec.name}'; known formats are {', '.join(format_names())}.")
    try:
        return _factory(spec.name)(**spec.options)
    except ImportError as error:
        raise CampaignError(
            f"output format '{spec.name}' needs a package that is not installed here: {error}."
        ) from error
    except TypeError as error:
        raise CampaignError(f"output format '{spec.name}' does not accept these options: {error}.") from error


def _factory(name: str) -> Callable[..., Format]:
    if name in BUILT_IN:
        module, _, factory = BUILT_IN[name].partition(":")
        built_in: Callable[..., Format] = getattr(importlib.import_module(module), factory)
        return built_in
    added: Callable[..., Format] = _added()[name].load()
    return added


@cache
def _added() -> Mapping[str, Any]:
    return {point.name: point for point in entry_points(group=GROUP)}
