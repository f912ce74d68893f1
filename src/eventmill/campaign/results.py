"""Merged results of a campaign in memory, as analysis wants them. Reads through the store, changes nothing.

What a format holds decides what it can be read as: tables as Arrow, pandas or awkward arrays, histograms as such.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from eventmill.campaign.campaign import Campaign
from eventmill.campaign.readable import ResultFile, all_files, merged_files
from eventmill.config.output_spec import format_of
from eventmill.core.meant import did_you_mean, one_of
from eventmill.core.records import CampaignRow
from eventmill.errors import AccessError, CampaignError, CorruptOutput, EventmillError, LedgerError
from eventmill.formats import histograms
from eventmill.formats.arrow_ranges import plain_schema
from eventmill.formats.root import RootFormat
from eventmill.formats.schemas import schema_from_bytes
from eventmill.sources.file_source import some

READABLE = {
    "parquet": ("arrow", "pandas", "awkward"),
    "root": ("arrow", "pandas", "awkward"),
    "hist": ("hist",),
}
"""What the merged files of each format can be read as."""


def read_results(
    campaign: Campaign, *, as_: str, columns: Sequence[str] | None = None, partial: bool = False
) -> Any:
    """All that is merged and shown by now, file after file by their first events; histograms are added.

    With `partial` also what is committed and not merged yet, after that. `columns` are those of tables, or the
    names of histograms; all if None.

    Raises `CampaignError` if the format cannot give that, `LedgerError` if there is nothing yet, `CorruptOutput`
    or `StoreError` if a file cannot be read, `AccessError` if a package is missing.
    """
    row = campaign.read_row()
    format = format_of(row.spec)
    _check(campaign, format.name, as_)
    with all_files(campaign) if partial else merged_files(campaign) as files:
        if not files:
            raise LedgerError(_nothing_yet(campaign, partial=partial))
        try:
            match format.name, as_:
                case "hist", _:
                    return _histograms(campaign, files, columns)
                case "root", "awkward":
                    return _awkward(campaign, files, row, columns)
                case "root", _:
                    return _converted(_root_table(_awkward(campaign, files, row, columns), row), as_)
                case _:
                    return _converted(_parquet_table(campaign, files, columns), as_)
        except ImportError as error:
            raise AccessError(
                f"reading '{format.name}' as '{as_}' needs a package that is not installed: {error}."
            ) from None


def _nothing_yet(campaign: Campaign, *, partial: bool) -> str:
    kept = campaign.counts().committed
    also = f" {kept:,} events are committed: partial=True reads them, too." if kept and not partial else ""
    what = "nothing committed" if partial else "no merged file"
    return (
        f"campaign '{campaign.name}' has {what} yet, so there is nothing to read.{also} See how far it is "
        f"with 'eventmill status {campaign.as_argument}'."
    )


def _check(campaign: Campaign, format: str, as_: str) -> None:
    known = tuple(dict.fromkeys(kind for kinds in READABLE.values() for kind in kinds))
    here = READABLE.get(format, ())
    if as_ not in known and here:
        raise CampaignError(
            f"results cannot be read as '{as_}'{did_you_mean(as_, here)}; with 'output.format: {format}' choose "
            f"{one_of([repr(kind) for kind in here])}."
        )
    if as_ not in here:
        way = (
            " or ".join(f"as_='{kind}'" for kind in here)
            or f"its files: 'eventmill outputs {campaign.as_argument}' lists them"
        )
        raise CampaignError(
            f"campaign '{campaign.name}' has 'output.format: {format}', which cannot be read as '{as_}'; "
            f"use {way}."
        )


def _each(campaign: Campaign, files: Sequence[ResultFile], read: Callable[[IO[bytes], str], Any]) -> list[Any]:
    found = []
    for result in files:
        with result.open() as file:
            try:
                found.append(read(file, result.name))
            except (EventmillError, ImportError, MemoryError):
                raise
            except Exception as error:  # whatever a library says of bytes that it cannot read
                raise CorruptOutput(
                    f"{result.name} cannot be read ({type(error).__name__}: {error}). Check it with "
                    f"'eventmill audit {campaign.as_argument}'.",
                    key=result.name,
                ) from error
    return found


def _histograms(
    campaign: Campaign, files: Sequence[ResultFile], columns: Sequence[str] | None
) -> histograms.Histograms:
    total: histograms.Histograms = {}
    loaded = _each(campaign, files, lambda file, name: histograms.load(file, name=name))
    for file, more in zip(files, loaded, strict=True):
        total = histograms.added(total, more, name=file.name)
    return {name: total[name] for name in _chosen(campaign, list(total), columns, what="histogram")}


def _parquet_table(campaign: Campaign, files: Sequence[ResultFile], columns: Sequence[str] | None) -> pa.Table:
    def read(file: IO[bytes], _: str) -> pa.Table:
        opened = pq.ParquetFile(file)
        names = opened.schema_arrow.names
        chosen = _chosen(campaign, names, columns, what="column")
        return opened.read(columns=chosen).select(chosen)

    tables = _each(campaign, files, read)
    try:
        table = pa.concat_tables(tables, promote_options="default")
    except pa.ArrowException as error:
        raise CampaignError(
            f"the merged files of campaign '{campaign.name}' have different columns ({error}). Read the files "
            f"that 'eventmill outputs {campaign.as_argument}' lists one by one; declare 'output.columns' for the "
            "next campaign."
        ) from error
    return table.replace_schema_metadata(None)  # the spans are those of one file


def _chosen(campaign: Campaign, names: list[str], columns: Sequence[str] | None, *, what: str) -> list[str]:
    """`columns`, each of which must be one of `names`; all of them if None."""
    if isinstance(columns, str):
        raise CampaignError(f"columns='{columns}' is one text; give a list: columns=['{columns}'].")
    if columns is None:
        return names
    if not columns:
        raise CampaignError(
            f"columns=[] selects no {what}: leave it out to read all, or give some of {some(names)}."
        )
    for name in columns:
        if name not in names:
            raise CampaignError(
                f"campaign '{campaign.name}' has no {what} '{name}'{did_you_mean(str(name), names)} in its "
                f"results; it has {some(names)}."
            )
    if twice := [name for name in dict.fromkeys(columns) if list(columns).count(name) > 1]:
        raise CampaignError(f"columns names {', '.join(map(repr, twice))} more than once; name each {what} once.")
    return list(columns)


def _awkward(
    campaign: Campaign, files: Sequence[ResultFile], row: CampaignRow, columns: Sequence[str] | None
) -> Any:
    """The payload's columns: the tree also has a counter for each list."""
    import awkward as ak
    import uproot

    tree = RootFormat(**format_of(row.spec).options).tree
    names = _chosen(campaign, _schema(row).names, columns, what="column")

    def read(file: IO[bytes], _: str) -> Any:
        with uproot.open(file) as root:
            return root[tree].arrays(names)

    return ak.concatenate(_each(campaign, files, read))


def _root_table(array: Any, row: CampaignRow) -> pa.Table:
    import awkward as ak

    types = _schema(row)
    schema = pa.schema([types.field(name) for name in ak.fields(array)])
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
