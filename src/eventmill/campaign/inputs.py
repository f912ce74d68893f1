"""Which inputs a campaign names, and how to open them. Opens none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from glob import iglob
from os.path import normpath, relpath
from pathlib import Path

from eventmill.config.campaign_spec import CampaignSpec
from eventmill.config.cell_code import places_of
from eventmill.config.inputs_spec import CsvOptions, Duplicates
from eventmill.core.records import CampaignRow
from eventmill.core.work_order import ReaderSpec, SourceSpec
from eventmill.errors import InputError, PayloadError
from eventmill.formats.schemas import schema_from_columns
from eventmill.ledger import Ledger
from eventmill.sources import (
    Named,
    find_inputs,
    generated_urls,
    object_of,
    partition_types,
    source_format,
)
from eventmill.work.block import locate


@contextmanager
def paths_from(campaign: object) -> Iterator[None]:
    """Say of a path that does not exist if it does beside the campaign file, whose path `campaign` may be.

    Relative paths start from the working folder, wherever the campaign file is.
    """
    try:
        yield
    except (InputError, PayloadError) as error:
        if error.path is None or not isinstance(campaign, str | Path) or Path(error.path).is_absolute():
            raise
        folder = Path(normpath(Path(campaign).absolute().parent))
        if folder == Path.cwd() or next(iglob(error.path, root_dir=folder, recursive=True), None) is None:
            raise
        raise type(error)(
            f"{str(error).rstrip('.')}. It is there in {folder}, the folder of the campaign file, but relative "
            f"paths start from the working folder: go to {folder}, or write {relpath(folder / error.path)}.",
            path=error.path,
        ) from None


def list_inputs(campaign: CampaignSpec) -> Named:
    """All inputs in campaign order; `InputError` names a pattern without matches, and duplicates."""
    inputs = campaign.inputs
    if inputs.generated is not None:
        return Named(generated_urls(inputs.generated.events, inputs.generated.files), None)
    return find_inputs(
        [each if isinstance(each, str) else (each.url, each.described) for each in inputs.files or ()],
        tree=inputs.tree,
        credentials=input_credentials(campaign),
        keep_duplicates=inputs.duplicates is Duplicates.KEEP,
    )


def input_credentials(campaign: CampaignSpec) -> str | None:
    """The name of the credentials for inputs."""
    return campaign.inputs.credentials or campaign.credentials


def source_spec(campaign: CampaignSpec, named: Named, *, reader: str | None = None) -> SourceSpec:
    """How to open the inputs of a campaign. `reader` is the digest of its reader, if it has one."""
    if campaign.inputs.generated is not None:
        return SourceSpec("generated")
    columns = tuple(campaign.inputs.columns) if campaign.inputs.columns else None
    if campaign.inputs.reader is not None:
        assert reader is not None  # whoever has a campaign with a reader has found its code
        return SourceSpec(
            "reader",
            columns=columns,
            credentials=input_credentials(campaign),
            reader=ReaderSpec(
                callable=campaign.inputs.reader.callable,
                parameters=campaign.inputs.reader.parameters,
                digest=reader,
                ledger_url=campaign.ledger_url,
                places=places_of(campaign.inputs.reader.source),
                memory_bytes=campaign.limits.memory,
                input_seconds=campaign.limits.input_timeout.total_seconds(),
                setup_seconds=campaign.limits.setup_timeout.total_seconds(),
            ),
        )
    format = source_format(named.urls, campaign.inputs.format)
    csv, types = campaign.inputs.csv or CsvOptions(), campaign.inputs.types or {}
    if (types and format not in ("csv", "jsonl")) or (campaign.inputs.csv and format != "csv"):
        key = "types" if types else "csv"
        raise InputError(f"'inputs.{key}' is for text files, but these inputs have the format '{format}'.")
    if types:
        schema_from_columns(types, key="inputs.types")  # raises for a type that there is not
    return SourceSpec(
        format,
        named.tree,
        columns,
        partitions=partition_types(named.urls, columns) if format == "parquet" else (),
        credentials=input_credentials(campaign),
        types=tuple(types.items()),
        delimiter=csv.delimiter,
        names=None if csv.names is None else tuple(csv.names),
    )


def with_resolved_tree(campaign: CampaignSpec, spec: SourceSpec) -> CampaignSpec:
    """The campaign as the ledger stores it: a tree that was named with a file is moved to `inputs.tree`."""
    inputs = campaign.inputs.model_copy(update={"tree": spec.tree})
    return campaign.model_copy(update={"inputs": inputs})


def as_known(ledger: Ledger, record: CampaignRow, named: Named, *, folder: Path) -> Named:
    """The same inputs, each with the address under which the ledger knows it, if it does."""
    inputs = [item.url for item in ledger.inputs(record.id)]
    known = {object_of(locate(url, folder=str(folder))): url for url in inputs} | {url: url for url in inputs}
    known_as = {
        url: known.get(url) or known.get(object_of(locate(url, folder=str(folder))), url) for url in named.urls
    }
    described = {known_as[url]: said for url, said in named.described.items()}
    return replace(named, urls=tuple(known_as.values()), described=described)
