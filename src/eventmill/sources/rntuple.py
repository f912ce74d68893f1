"""RNTuples in ROOT files, read with uproot: fields, clusters, and positions of pages."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from eventmill.core.work_order import SourceSpec
from eventmill.errors import InputError
from eventmill.sources.awkward_types import form_words
from eventmill.sources.file_source import Content, no_column, some
from eventmill.sources.remote_file import RemoteFile
from eventmill.sources.uproot_errors import one_line


def rntuple_content(url: str, ntuple: Any, handle: BinaryIO | RemoteFile, spec: SourceSpec, close: Any) -> Content:
    """Its fields are columns, its clusters the natural boundaries."""
    if isinstance(handle, RemoteFile):
        # One envelope for each group of clusters, fetched in parallel.
        links = [group.page_list_link.locator for group in ntuple.footer.cluster_group_records]
        handle.hold((int(at.offset), int(at.offset + at.num_bytes)) for at in links)
    fields, left_out = _chosen(url, ntuple, spec)
    names = list(fields)
    wanted_fields = _with_inside(ntuple, {field.id for field in fields.values()})
    clusters = [(int(c.num_first_entry), int(c.num_entries)) for c in ntuple.cluster_summaries]
    events = int(ntuple.num_entries)
    columns = [n for n, column in enumerate(ntuple.column_records) if column.field_id in wanted_fields]
    total = sum(stop - start for start, stop in _pages(ntuple, columns, range(len(clusters))))

    def load(start: int, stop: int) -> Any:
        try:
            if isinstance(handle, RemoteFile):
                # uproot 5.7.7 also decodes the cluster that begins just where the range ends.
                wanted = [n for n, (first, size) in enumerate(clusters) if first <= stop and first + size > start]
                handle.hold(_pages(ntuple, columns, wanted))
            return ntuple.arrays(
                filter_field=lambda field: field.field_id in wanted_fields,
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

    interior = tuple(first for first, _ in clusters if 0 < first < events)
    layout = tuple((name, str(field.words)) for name, field in fields.items())
    return Content(events, interior, load, weigh, close, layout=layout, left_out=tuple(left_out))


UNPACKED = 3
"""A rough factor for the size of pages in memory, which is unknown without reading them."""


@dataclass(frozen=True, slots=True)
class _Field:
    """A column, and its type: None if no array can hold it."""

    id: int
    typename: str
    words: str | None


def _chosen(url: str, ntuple: Any, spec: SourceSpec) -> tuple[dict[str, _Field], list[str]]:
    """The fields to read by name, and, if all are read, one line for each that no array can hold."""
    words = _words(ntuple)
    there = {each.name: _Field(each.field_id, str(each.typename), words[each.name]) for each in ntuple.fields}
    if spec.columns is None:
        readable = {name: field for name, field in there.items() if field.words is not None}
        if not readable:
            raise InputError(f"no field of RNTuple '{ntuple.name}' in {url} can be read as an array.")
        left_out = [f"{name} ({field.typename})" for name, field in there.items() if name not in readable]
        return readable, left_out
    for name in spec.columns:
        _check(url, name, there, ntuple)
    return {name: there[name] for name in spec.columns}, []


def _check(url: str, name: str, there: Mapping[str, _Field], ntuple: Any) -> None:
    if name not in there:
        within = [top.name for top in ntuple.fields if name in _inside_names(top, above=f"{top.name}.")]
        if within:
            raise InputError(f"'{name}' of {url} is no column, but a part of {some(within)}: choose that.")
        raise no_column(url, name, there)
    if there[name].words is None:
        kind = there[name].typename
        raise InputError(f"column '{name}' of {url} has type {kind}, which cannot be read as an array.")


def _words(ntuple: Any) -> dict[str, str | None]:
    """The types of all fields, as far as an array can hold them."""
    names = [field.name for field in ntuple.fields]
    try:
        form, _ = ntuple.to_akform()
        return {name: form_words(form.content(name)) for name in names}
    except Exception:  # one that uproot does not know; it has no one error for that
        return {field.name: _words_of(ntuple, field) for field in ntuple.fields}


def _words_of(ntuple: Any, field: Any) -> str | None:
    inside = _with_inside(ntuple, {field.field_id})
    try:
        form, _ = ntuple.to_akform(filter_field=lambda each: each.field_id in inside)
        return form_words(form.content(field.name))
    except Exception:  # as above
        return None


def _inside_names(field: Any, *, above: str) -> Iterator[str]:
    """Short and full names of everything inside a field."""
    for part in field.fields:
        yield from (part.name, f"{above}{part.name}")
        yield from _inside_names(part, above=f"{above}{part.name}.")


def _with_inside(ntuple: Any, tops: Collection[int]) -> frozenset[int]:
    """The numbers of these fields and of everything inside them."""
    records = ntuple.field_records

    def top(field: int) -> int:
        while records[field].parent_field_id != field:
            field = int(records[field].parent_field_id)
        return field

    return frozenset(number for number in range(len(records)) if top(number) in tops)


def _pages(ntuple: Any, columns: Sequence[int], clusters: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The positions in the file of the pages of these columns in these clusters."""
    for cluster in clusters:
        links = ntuple.page_link_list[cluster]
        for column in columns:
            for page in links[column].pages if column < len(links) else ():
                at = page.locator
                yield int(at.offset), int(at.offset + at.num_bytes)
