"""ROOT files with a TTree or an RNTuple, through uproot, which is imported when first needed."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any, BinaryIO

from eventmill.core.work_order import SourceSpec
from eventmill.errors import InputError
from eventmill.sources.branches import Branches, Group, Leaf
from eventmill.sources.file_source import Content, FileSource, open_input, some
from eventmill.sources.remote_file import RemoteFile
from eventmill.sources.uproot_errors import one_line

TREES = ("TTree", "TNtuple", "TNtupleD")
RNTUPLES = ("ROOT::RNTuple", "ROOT::Experimental::RNTuple")
"""Classes that hold events."""


def open_root(url: str, spec: SourceSpec) -> FileSource:
    """Open a ROOT file; `read` returns an awkward array of records; boundaries are common to all branches."""
    uproot = _uproot()
    file = open_input(url, spec.credentials)
    try:
        return FileSource(file, _content(uproot, url, file.handle, spec))
    except BaseException:
        file.handle.close()
        raise


def _uproot() -> ModuleType:
    try:
        import awkward  # noqa: F401  (uproot needs it to give awkward arrays, and would say so much later)
        import uproot
    except ImportError as error:
        raise InputError("reading ROOT needs: pip install 'eventmill[root]'") from error
    return uproot  # type: ignore[no-any-return]


def _content(uproot: ModuleType, url: str, handle: BinaryIO | RemoteFile, spec: SourceSpec) -> Content:
    size = handle.seek(0, 2)
    _check_whole(url, handle, size)
    # Damaged bytes make uproot raise nearly anything (struct.error, KeyError, AssertionError, its own), so
    # everything is caught around it, here and in load; what we raise ourselves passes.
    try:
        # No caches: ours keeps one cluster, uproot's would keep 100 MB that are never asked for again.
        # A remote file is read in this thread: what is needed has been fetched, and `few_retries` is known here.
        threads = not isinstance(handle, RemoteFile)
        file = uproot.open(handle, object_cache=None, array_cache=None, use_threads=threads)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{url} is not a readable ROOT file ({size} bytes): {one_line(error)}") from error

    def close() -> None:
        file.close()
        handle.close()

    try:
        tree = _tree(url, file, spec)
        if type(tree).__name__.endswith("RNTuple"):
            from eventmill.sources.rntuple import rntuple_content

            return rntuple_content(url, tree, handle, spec, close)
        return _tree_content(uproot, url, tree, handle, spec, close)
    except InputError:
        close()
        raise
    except Exception as error:
        close()
        raise InputError(f"{url} is not a readable ROOT file ({size} bytes): {one_line(error)}") from error


def _check_whole(url: str, handle: BinaryIO | RemoteFile, size: int) -> None:
    """Report a truncated file clearly: uproot only notices that some bytes are missing.

    A header is: 'root', version, first record, end; the end has 8 bytes from version 1,000,000 on
    (ROOT's TFile class reference).
    """
    handle.seek(0)
    header = handle.read(20)
    if header[:4] != b"root":
        raise InputError(f"{url} is not a readable ROOT file ({size} bytes): it does not begin with 'root'.")
    large = header[4:8] >= struct.pack(">i", 1_000_000)
    end = int.from_bytes(header[12:20] if large else header[12:16], "big")
    if len(header) < 20 or size < end:
        says = f"its header says {end} bytes" if len(header) == 20 else "not even its header is whole"
        raise InputError(f"{url} is not a readable ROOT file ({size} bytes): cut off, {says}. Copy it again.")


def _tree(url: str, file: Any, spec: SourceSpec) -> Any:
    classes: dict[str, str] = file.classnames(cycle=False)
    trees = [name for name, kind in classes.items() if kind in TREES + RNTUPLES]
    if spec.tree is None:
        if len(trees) == 1:
            return file[trees[0]]
        if not trees:
            held = some(f"{name} ({kind})" for name, kind in classes.items()) or "nothing"
            raise InputError(f"{url} holds no TTree and no RNTuple; it holds {held}.")
        raise InputError(f"{url} holds {len(trees)} trees: {some(trees)}. Say which one by 'tree'.")
    name = spec.tree.split(";")[0]
    if name in trees:
        return file[spec.tree]
    if name in classes:
        raise InputError(f"'{spec.tree}' in {url} is a {classes[name]}, no TTree or RNTuple. {_there(trees)}")
    raise InputError(f"{url} has no tree '{spec.tree}'. {_there(trees)}")


def _there(trees: list[str]) -> str:
    return f"Its trees: {some(trees)}." if trees else "It has none."


def _tree_content(uproot: ModuleType, url: str, tree: Any, handle: Any, spec: SourceSpec, close: Any) -> Content:
    branches, left_out = Branches(uproot, url, tree), list[str]()
    if spec.columns is None:
        columns, left_out = branches.every()
    else:
        columns = branches.chosen(spec.columns)
    leaves = list({id(leaf.branch): leaf.branch for _, found in columns for leaf in found.leaves()}.values())
    events = int(tree.num_entries)
    ids = {id(branch) for branch in leaves}
    offsets = tree.common_entry_offsets(filter_branch=lambda branch: id(branch) in ids)
    total = sum(int(branch.uncompressed_bytes) for branch in leaves)

    def load(start: int, stop: int) -> Any:
        try:
            if isinstance(handle, RemoteFile):
                handle.hold(_baskets(leaves, start, stop))  # all in one round trip
            # Branch by branch: what uproot reads at once it looks up by name, and takes the first of that name.
            # Nobody else reads it meanwhile (`Content`), and the caches are off.
            events_read = _record([(name, _array(found, start, stop)) for name, found in columns], stop - start)
            if isinstance(handle, RemoteFile):
                handle.drop_if_large()
            return events_read
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"{url} is damaged at events [{start}, {stop}): {one_line(error)}") from error

    def weigh(start: int, stop: int) -> int:
        return total * (stop - start) // max(events, 1)

    interior = tuple(int(offset) for offset in offsets if 0 < offset < events)
    layout = tuple((name, str(found.words)) for name, found in columns)
    return Content(events, interior, load, weigh, close, layout=layout, left_out=tuple(left_out))


def _baskets(leaves: Iterable[Any], start: int, stop: int) -> Iterator[tuple[int, int]]:
    """The positions in the file of the baskets with these events; those inside the tree are read with it."""
    for branch in leaves:
        for _, place in branch.entries_to_ranges_or_baskets(start, stop):
            if isinstance(place, tuple):
                yield int(place[0]), int(place[1])


def _array(found: Leaf | Group, start: int, stop: int) -> Any:
    if isinstance(found, Leaf):
        return found.branch.array(entry_start=start, entry_stop=stop, library="ak")
    return _record([(part.branch.name, _array(part, start, stop)) for part in found.parts], stop - start)


def _record(columns: Sequence[tuple[str, Any]], events: int) -> Any:
    import awkward as ak

    contents = [array.layout for _, array in columns]
    return ak.Array(ak.contents.RecordArray(contents, [name for name, _ in columns], length=events))
