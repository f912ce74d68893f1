"""Output formats by name: the built-in ones, and those of other packages.

A package adds a format with an entry point in the group `eventmill.formats`: a callable that takes the options of
`output.options` as keyword arguments and returns a `Format`. It must be installed wherever Eventmill runs.
"""

from __future__ import annotations

from eventmill.core.work_order import FormatSpec
from eventmill.errors import CampaignError
from eventmill.formats.protocol import Contents, Format, Written
from eventmill.formats.range_outputs import Part, Spans
from eventmill.plugins import Registry

__all__ = ["FORMATS", "Contents", "Format", "Part", "Spans", "Written", "format_names", "open_format"]

FORMATS = Registry(
    "eventmill.formats",
    {
        "parquet": "eventmill.formats.parquet:ParquetFormat",
        "root": "eventmill.formats.root:RootFormat",
        "hist": "eventmill.formats.hist:HistFormat",
        "bytes": "eventmill.formats.raw_bytes:files_format",
    },
)


def format_names() -> tuple[str, ...]:
    """Every known format, the built-in ones first."""
    return FORMATS.names()


def open_format(spec: FormatSpec) -> Format:
    """The format of that name with its options. Imports what it needs, which may take seconds.

    Raises `CampaignError` if the format is unknown, its package is missing, or an option is invalid.
    """
    if spec.name not in format_names():
        raise CampaignError(f"unknown output format '{spec.name}'; known formats are {', '.join(format_names())}.")
    try:
        made: Format = FORMATS.load(spec.name)(**spec.options)
        return made
    except ImportError as error:
        raise CampaignError(
            f"output format '{spec.name}' needs a package that is not installed here: {error}."
        ) from error
    except TypeError as error:
        raise CampaignError(f"output format '{spec.name}' does not accept these options: {error}.") from error
