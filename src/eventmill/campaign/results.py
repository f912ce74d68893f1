"""Merged results of a campaign in memory, as analysis wants them. Reads through the store, changes nothing.

What a format holds decides what it can be read as: tables as Arrow, pandas or awkward arrays, histograms as such.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from eventmill.campaign.campaign import Campaign
from eventmill.config.campaign_spec import format_of
from eventmill.core.records import CampaignRow
from eventmill.errors import AccessError, CampaignError, CorruptOutput, EventmillError, LedgerError
from eventmill.formats import histograms
from eventmill.formats.arrow_ranges import plain_schema
from eventmill.formats.root import RootFormat
from eventmill.formats.schemas import schema_from_bytes

READABLE = {
    "parquet": ("arrow", "pandas", "awkward"),
    "root": ("arrow", "pandas", "awkward"),
    "hist": ("hist",),
}
"""What the merged files of each format can be read as."""


def read_results(campaign: Campaign, *, as_: str) -> Any:
    """All that is merged and shown by now, file after file by their first events; histograms are added.

    Raises `CampaignError` if the format cannot give that, `LedgerError` if nothing is merged yet, `CorruptOutput`
    or `StoreError` if a file cannot be read, `AccessError` if a package is missing.
    """
    row = campaign.read_row()
    format = format_of(row.spec)
    _check(campaign, format.name, as_)
    keys = [file.key for file in campaign.ledger.published_outputs(campaign.id)]
    if not keys:
        raise LedgerError(
            f"campaign '{campaign.name}' has no merged file yet, so there is nothing to read. See how far it is "
            f"with 'eventmill status {campaign.as_argument}'."
        )
    try:
        match format.name, as_:
            case "hist", _:
                return _histograms(campaign, keys)
            case "root", "awkward":
                return _awkward(campaign, keys, row)
            case "root", _:
                return _converted(_root_table(_awkward(campaign, keys, row), row), as_)
            case _:
                return _converted(_parquet_table(campaign, keys), as_)
    except ImportError as error:
        raise AccessError(
            f"reading '{format.name}' as '{as_}' needs a package that is not installed: {error}."
        ) from None


def _check(campaign: Campaign, format: str, as_: str) -> None:
    known = tuple(dict.fromkeys(kind for kinds in READABLE.values() for kind in kinds))
    if as_ not in known:
        raise CampaignError(f"results cannot be read as '{as_}'; choose one of: {', '.join(known)}.")
    if as_ not in READABLE.get(format, ()):
        way = (
            " or ".join(f"as_='{kind}'" for kind in READABLE.get(format, ()))
            or f"its files: 'eventmill outputs {campaign.as_argument}' lists them"
        )
        raise CampaignError(
            f"campaign '{campaign.name}' has 'output.format: {format}', which cannot be read as '{as_}'; "
            f"use {way}."
        )


def _each(campaign: Campaign, keys: list[str], read: Callable[[IO[bytes], str], Any]) -> list[Any]:
    store, found = campaign.store, []
    for key in keys:
        with store.open(key) as file:
            try:
                found.append(read(file, key))
            except (EventmillError, ImportError, MemoryError):
                raise
            except Exception as error:  # whatever a library says of bytes that it cannot read
                raise CorruptOutput(
                    f"{key} cannot be read ({type(error).__name__}: {error}). Check it with "
                    f"'eventmill audit {campaign.as_argument}'.",
                    key=key,
                ) from error
    return found


def _histograms(campaign: Campaign, keys: list[str]) -> histograms.Histograms:
    total: histograms.Histograms = {}
    loaded = _each(campaign, keys, lambda file, key: histograms.load(file, name=key))
    for key, more in zip(keys, loaded, strict=True):
        total = histograms.added(total, more, name=key)
    return total


def _parquet_table(campaign: Campaign, keys: list[str]) -> pa.Table:
    tables = _each(campaign, keys, lambda file, _: pq.ParquetFile(file).read())
    try:
        table = pa.concat_tables(tables, promote_options="default")
    except pa.ArrowException as error:
        raise CampaignError(
            f"the merged files of campaign '{campaign.name}' have different columns ({error}). Read the files "
            f"that 'eventmill outputs {campaign.as_argument}' lists one by one; declare 'output.columns' for the "
            "next campaign."
        ) from error
    return table.replace_schema_metadata(None)  # the spans are those of one file


def _awkward(campaign: Campaign, keys: list[str], row: CampaignRow) -> Any:
    """The payload's columns: the tree also has a counter for each list."""
    import awkward as ak
    import uproot

    tree, names = RootFormat(**format_of(row.spec).options).tree, _schema(row).names

    def read(file: IO[bytes], _: str) -> Any:
        with uproot.open(file) as root:
            return root[tree].arrays(names)

    return ak.concatenate(_each(campaign, keys, read))


def _root_table(array: Any, row: CampaignRow) -> pa.Table:
    import awkward as ak

    schema = _schema(row)
    columns = [ak.to_arrow(array[field.name], extensionarray=False) for field in schema]
    return pa.table(
        [_cast(column, field) for column, field in zip(columns, schema, strict=True)], names=schema.names
    )


def _cast(column: Any, field: pa.Field) -> Any:
    try:
        return column if pa.types.is_null(field.type) else column.cast(field.type)
    except pa.ArrowException:  # a type with an unknown part, such as a list of nulls: as it was read
        return column


def _schema(row: CampaignRow) -> pa.Schema:
    if row.schema is None:
        raise CampaignError(
            f"campaign '{row.name}' never had a row that told the types of all its columns, so its ROOT files "
            "cannot be read as one table. Open each file with uproot; declare 'output.columns' for the next "
            "campaign."
        )
    return plain_schema(schema_from_bytes(row.schema))


def _converted(table: pa.Table, as_: str) -> Any:
    match as_:
        case "pandas":
            return table.to_pandas()
        case "awkward":
            import awkward as ak

            return ak.from_arrow(table)
        case _:
            return table
