"""RNTuples in ROOT files, as uproot reads them: fields, clusters, and where the pages lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from eventmill.errors import InputError
from eventmill.model import SourceSpec
from eventmill.sources.files import Content, no_column
from eventmill.sources.lines import one_line
from eventmill.sources.remote import RemoteFile


def rntuple_content(url: str, ntuple: Any, handle: BinaryIO | RemoteFile, spec: SourceSpec, close: Any) -> Content:
    """Its fields are columns, its clusters the natural boundaries."""
    if isinstance(handle, RemoteFile):
        # One envelope for each group of clusters: fetched side by side, not one after the other.
        links = [group.page_list_link.locator for group in ntuple.footer.cluster_group_records]
        handle.hold((int(at.offset), int(at.offset + at.num_bytes)) for at in links)
    names = _chosen(url, ntuple, spec)
    clusters = [(int(c.num_first_entry), int(c.num_entries)) for c in ntuple.cluster_summaries]
    events = int(ntuple.num_entries)
    columns = _columns(ntuple, names)
    total = sum(stop - start for start, stop in _pages(ntuple, columns, range(len(clusters))))

    def load(start: int, stop: int) -> Any:
        try:
            if isinstance(handle, RemoteFile):
                # uproot 5.7.7 also decodes the cluster that begins just where the range ends.
                wanted = [n for n, (first, size) in enumerate(clusters) if first <= stop and first + size > start]
                handle.hold(_pages(ntuple, columns, wanted))
            return ntuple.arrays(
                filter_name=lambda name: name.split(".")[0] in names,
                entry_start=start,
                entry_stop=stop,
                library="ak",
            )[names]
        except InputError:
            raise
        except Exception as error:  # damaged bytes make uproot raise nearly anything
            raise InputError(f"{url} is damaged at events [{start}, {stop}): {one_line(error)}") from error

    def weigh(start: int, stop: int) -> int:
        return total * UNPACKED * (stop - start) // max(events, 1)

    return Content(events, tuple(first for first, _ in clusters if 0 < first < events), load, weigh, close)


UNPACKED = 3
"""How much larger the pages are in memory, roughly: what they hold is not said without reading them."""


def _chosen(url: str, ntuple: Any, spec: SourceSpec) -> list[str]:
    there = [field.name for field in ntuple.fields]
    names = list(there if spec.columns is None else dict.fromkeys(spec.columns))
    for name in names:
        if name not in there:
            raise no_column(url, name, there)
    return names


def _columns(ntuple: Any, names: Sequence[str]) -> list[int]:
    """The columns, in RNTuple's sense, of these fields and all that is inside them."""
    records = ntuple.field_records

    def top(field: int) -> str:
        while records[field].parent_field_id != field:
            field = records[field].parent_field_id
        return str(records[field].field_name)

    return [n for n, column in enumerate(ntuple.column_records) if top(column.field_id) in names]


def _pages(ntuple: Any, columns: Sequence[int], clusters: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where in the file the pages of these columns in these clusters lie."""
    for cluster in clusters:
        links = ntuple.page_link_list[cluster]
        for column in columns:
            for page in links[column].pages if column < len(links) else ():
                at = page.locator
                yield int(at.offset), int(at.offset + at.num_bytes)
