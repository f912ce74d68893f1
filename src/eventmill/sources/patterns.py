"""Finds the input files for what the user wrote: paths, urls, globs, folders, lists. Opens none.

A file with exactly the given name is meant, whatever characters it contains; otherwise the text is a pattern, or
`file.root:tree`.
"""

from __future__ import annotations

import errno
import glob
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from eventmill.access import scheme
from eventmill.access.s3 import Bucket, S3Error
from eventmill.core.ranges import Description
from eventmill.errors import AccessError, InputError
from eventmill.sources.addresses import canonical, is_local, local_path, object_of, path_of, written_path

SUFFIXES = {
    **{".root": "root", ".parquet": "parquet", ".parq": "parquet", ".pq": "parquet"},
    **{".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"},
    **{".fits": "fits", ".fit": "fits", ".fts": "fits"},
}
"""File suffix -> format."""

NOTHING = Description()
"""What is said of most inputs."""

LISTED_AT_ONCE = 16

_TREE = re.compile(r"(?P<file>.+\.root):(?P<tree>[^:]+)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Named:
    """The canonical addresses of all inputs, in campaign order, and the tree to read in each, if one was named.

    `described` is what the campaign file says of inputs, by address; nothing of those that are not in it.
    """

    urls: tuple[str, ...]
    tree: str | None
    described: Mapping[str, Description] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Match:
    """The matches of one pattern: addresses, and the tree that was given with it."""

    pattern: str
    urls: tuple[str, ...]
    tree: str | None = None


Pattern = str | tuple[str, Description]
"""What the user wrote, perhaps with what is said of the inputs that it names."""


def find_inputs(
    files: Sequence[Pattern],
    *,
    tree: str | None = None,
    credentials: str | None = None,
    keep_duplicates: bool = False,
) -> Named:
    """The files for paths, urls, globs, folders of Parquet files and `@lists`.

    `**` stands for folders of any depth, also behind links, but not in a circle.

    Patterns are in the given order, the matches of each are sorted. An address that is matched several times,
    however it is spelled, is one input, at its first position. Two addresses of one file (links) are refused with
    both names, because its events would be counted twice, unless `keep_duplicates`. If several patterns match a
    file, what one of them says of it holds; if two say different things, it is refused. InputError also for a
    pattern without matches, and if `tree` and all `file.root:tree` name different trees.
    """
    given = [(each, NOTHING) if isinstance(each, str) else each for each in files]
    written = [(pattern, said) for each, said in given for pattern in _written_out([each])]
    patterns = [pattern for pattern, _ in written]
    with ThreadPoolExecutor(LISTED_AT_ONCE) as pool:  # those that wait for answers wait together
        tasks = [
            None if is_local(pattern) else pool.submit(copy_context().run, _match_remote, pattern, credentials)
            for pattern in patterns
        ]
        matches = [
            _match_local(pattern) if task is None else task.result()
            for pattern, task in zip(patterns, tasks, strict=True)
        ]
    found: dict[str, str] = {}
    described: dict[str, Description] = {}
    for match, (_, said) in zip(matches, written, strict=True):
        for url in match.urls:
            name = found.setdefault(object_of(url), canonical(url))
            if said != NOTHING and described.setdefault(name, said) != said:
                raise InputError(
                    f"'inputs.files' says two things of {name}: {_told(described[name])}, and {_told(said)}. Let "
                    "only one entry match it."
                )
    if not found:
        raise InputError("no input files were given.")
    urls = tuple(found.values())
    if not keep_duplicates:
        _refuse_links(urls)
    return Named(urls, _one_tree(matches, tree), described)


def _told(said: Description) -> str:
    label = "no label" if said.label is None else f"label '{said.label}'"
    return f"{label} and parameters {json.dumps(said.parameters)}" if said.parameters else label


def told_format(url: str) -> str | None:
    """The format that is inferred from a file name."""
    return SUFFIXES.get(suffix_of(url))


def suffix_of(url: str) -> str:
    """The suffix of a file name, such as `.root`, in lower case."""
    return PurePosixPath(path_of(url)).suffix.lower()


def _refuse_links(urls: Sequence[str]) -> None:
    """InputError if two names are the same local file by a symbolic or hard link."""
    seen: dict[tuple[int, int] | str, str] = {}
    for url in urls:
        if not is_local(url):
            continue
        path = local_path(url)
        status = path.stat()
        first = seen.setdefault((status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(path), url)
        if first != url:
            raise InputError(
                f"{first} and {url} are the same file (a link), so its events would be counted twice. "
                "Name only one of them, or set 'inputs.duplicates: keep'."
            )


def _one_tree(matches: Sequence[_Match], tree: str | None) -> str | None:
    wanted = {} if tree is None else {tree: "inputs.tree"}
    for match in matches:
        if match.tree is not None:
            wanted.setdefault(match.tree, match.pattern)
    if len(wanted) > 1:
        said = ", ".join(f"'{name}' ({by})" for name, by in wanted.items())
        raise InputError(
            f"a campaign reads one tree, but these inputs name {len(wanted)}: {said}. Make one campaign for each."
        )
    return next(iter(wanted), None)


def _written_out(files: Sequence[str]) -> Iterator[str]:
    """The same patterns with each `@FILE` replaced by its lines; '#' begins a comment."""
    for pattern in files:
        if "\0" in pattern:
            raise InputError(f"{pattern!r} contains a zero byte, which is not allowed in addresses.")
        if not pattern.startswith("@") or os.path.lexists(pattern):
            yield pattern
            continue
        path = Path(written_path(pattern[1:]))
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise InputError(
                f"the list of inputs {path} cannot be read: {reason} (searched in {os.getcwd()}).", path=str(path)
            ) from None
        for line in lines:
            entry = line.strip()
            if "\0" in entry or not (entry and is_local(entry) and os.path.lexists(written_path(entry))):
                entry = re.sub(r"(^|\s)#.*", "", entry).strip()
            if entry.startswith("@") and not os.path.lexists(entry):
                raise InputError(
                    f"{path} contains another list, '{entry}'; name that list in the campaign instead."
                )
            if entry:
                yield entry


def _match_local(pattern: str) -> _Match:
    """The existing files; a `:tree` is removed if there is no file with it in its name."""
    named = _TREE.fullmatch(pattern)
    if named is not None and not os.path.lexists(written_path(pattern)):
        return _Match(pattern, tuple(_local_files(named["file"])), named["tree"])
    return _Match(pattern, tuple(_local_files(pattern)))


def _local_files(pattern: str) -> list[str]:
    path = written_path(pattern)
    if os.path.isfile(path):
        return [path]
    if os.path.isdir(path):
        _looked_at(pattern, [path])
        return _local_parts(pattern, path)
    known, rest = _divided(path, os.path.isdir)
    names, folders = _looked_at(pattern, _matching(known, rest))
    for above in _patterns_above(rest):
        found = _matching(known, above)
        # What `**` finds besides folders is not searched.
        _looked_at(pattern, filter(os.path.isdir, found) if above.endswith("**") else found)
    for folder in folders:
        if told_format(folder) == "parquet":  # Spark names its data sets like this: a folder of parts
            names += _local_parts(folder, folder)
    if not names:
        what = "matches no file" if glob.has_magic(rest) else "does not exist"
        raise InputError(f"{pattern} {what} (searched in {os.getcwd()}).", path=path)
    return sorted(set(names))


def _matching(known: str, rest: str) -> list[str]:
    """The names in the folder `known` that match; `**` stands for folders of any depth, as `_folders_below`."""
    parts = rest.split("/")
    if "**" not in parts:
        return glob.glob(glob.escape(known) + rest)
    above, below = "/".join(parts[: (at := parts.index("**"))]), "/".join(parts[at + 1 :]) or "*"
    tops = [f"{top}/" for top in glob.glob(glob.escape(known) + above)] if above else [known]
    return [
        name
        for top in tops
        for folder in _folders_below(top, above=_folders_above(top))
        for name in ([folder.rstrip("/") or "/"] if folder and below == "*" else []) + _matching(folder, below)
    ]


def _folders_above(top: str) -> tuple[tuple[int, int], ...]:
    statuses = [os.stat(folder) for folder in Path(top).absolute().parents if os.path.isdir(folder)]
    return tuple((status.st_dev, status.st_ino) for status in statuses)


def _folders_below(top: str, *, above: tuple[tuple[int, int], ...]) -> Iterator[str]:
    """`top` and all folders in it, with their '/', except hidden ones; '' is the working folder.

    Links to folders count as folders, unless they lead back to one on the way (`above`), which would be a circle.
    """
    try:
        status = os.stat(top or ".")
        names = sorted(os.listdir(top or "."))
    except OSError:  # not a folder; or not readable, which whoever looks at it finds out
        if os.path.isdir(top):
            yield top
        return
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    yield top
    for name in names:
        if not name.startswith(".") and os.path.isdir(top + name):
            yield from _folders_below(f"{top}{name}/", above=(*above, here))


def _local_parts(pattern: str, folder: str) -> list[str]:
    folder = folder.rstrip("/") or "/"
    return _parts_of(pattern, sorted(_files_below(pattern, folder, folder, above=())), folder)


def _files_below(pattern: str, folder: str, top: str, *, above: tuple[tuple[int, int], ...]) -> Iterator[str]:
    """All files of a data set; `above` has the folders on the way, so that a link to one of them ends."""
    status = os.stat(folder)
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    inside = [os.path.join(folder, name) for name in os.listdir(folder)]
    files, folders = _looked_at(pattern, [name for name in inside if _is_data(name, top)])
    yield from files
    for each in folders:
        yield from _files_below(pattern, each, top, above=(*above, here))


def _looked_at(pattern: str, names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Files and folders among the matches. InputError for one whose events would be silently omitted."""
    files, folders = [], []
    for name in names:
        try:
            mode = os.stat(name).st_mode
            if stat.S_ISDIR(mode) and not os.access(name, os.R_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            if not os.path.lexists(name):  # gone just now
                continue
            reason = "it is a broken link" if isinstance(error, FileNotFoundError) else error.strerror
            raise InputError(
                f"{pattern} matches {name}, which cannot be read: {reason}. Repair or remove it, or write a more "
                "specific pattern."
            ) from None
        files += [name] if stat.S_ISREG(mode) else []
        folders += [name] if stat.S_ISDIR(mode) else []
    return files, folders


def _patterns_above(pattern: str) -> Iterator[str]:
    """The folder patterns above a pattern: for `a*/b/*.root`, `a*/b` and `a*`."""
    while glob.has_magic(pattern := pattern.rpartition("/")[0]):
        yield pattern


def _divided(path: str, is_folder: Callable[[str], bool]) -> tuple[str, str]:
    """Split `path`: the folders that exist literally, with their '/', and the rest, which may be a pattern.

    Only folders whose names contain characters of a pattern are checked for existence.
    """
    known, rest = "", path
    while "/" in rest:
        name, _, behind = rest.partition("/")
        if glob.has_magic(name) and not is_folder(known + name):
            break
        known, rest = f"{known}{name}/", behind
    return known, rest


def _usual_suffix(names: Sequence[str]) -> str:
    """The most frequent ending of these names, such as `.csv`; empty without any."""
    endings = Counter(PurePosixPath(name).suffix for name in names)
    endings.pop("", None)
    return endings.most_common(1)[0][0] if endings else ""


def _parts_of(pattern: str, names: Sequence[str], folder: str) -> list[str]:
    """The files of a Parquet data set, in folders of any depth, except names that begin with '.' or '_'."""
    parts = [name for name in names if _is_data(name, folder)]
    others = [name for name in parts if told_format(name) != "parquet"]
    if len(others) == len(parts):
        raise InputError(
            f"{pattern} is a folder without Parquet files; to read other files in it, write "
            f"{pattern.rstrip('/')}/*{_usual_suffix(parts) or '.root'}."
        )
    if others:
        raise InputError(
            f"the folder {pattern} has {len(parts) - len(others)} Parquet files, and {len(others)} others, such "
            f"as {others[0]}. Say which to read, for example {pattern.rstrip('/')}/**/*.parquet, or move the "
            "other files elsewhere."
        )
    return parts


def _is_data(name: str, folder: str) -> bool:
    """Whether a part of `folder` belongs to the data set; a '_' may begin the name of a partition column."""
    inside = name[len(folder) :].strip("/").split("/")
    return not any(part.startswith(".") or (part.startswith("_") and "=" not in part) for part in inside)


def _match_remote(pattern: str, credentials: str | None) -> _Match:
    protocol, url = scheme(pattern), canonical(pattern)
    if protocol in ("s3", "s3a"):
        try:
            return _match_s3(url, credentials)
        except S3Error as error:
            raise InputError(f"{pattern} cannot be listed: {str(error).rstrip('.')}.") from error
        except AccessError as error:
            raise InputError(f"{pattern}: {error}") from error
    named = _TREE.fullmatch(url)
    url, tree = (url, None) if named is None else (named["file"], named["tree"])
    if "*" in path_of(url):
        raise InputError(
            f"{pattern}: '{protocol}://' has no listing, so '*' cannot be expanded. Name each file, or list them "
            "in a file, one per line, and give that: '@files.txt'."
        )
    return _Match(pattern, (url,), tree)


def _match_s3(url: str, credentials: str | None) -> _Match:
    place, _, key = url.partition("://")[2].partition("/")
    bucket, base = Bucket(place, credentials), f"s3://{place}/"
    named = _TREE.fullmatch(key)
    for name, tree in [(key, None), *([(named["file"], named["tree"])] if named else [])]:
        if keys := _s3_keys(bucket, name, url, base):
            return _Match(url, tuple(keys), tree)
    what = "matches no object" if glob.has_magic(key) else "does not exist"
    raise InputError(f"{url} {what} at {bucket.endpoint()}.")


def _s3_keys(bucket: Bucket, key: str, url: str, base: str) -> list[str]:
    """The addresses of the object, of the data set, or of the matching objects for `key`; empty if none."""
    if key and not key.endswith("/") and bucket.has(key):
        return [base + key]
    folder = key.rstrip("/")
    below = [base + name for name, _ in bucket.keys(f"{folder}/" if folder else "") if not name.endswith("/")]
    if below:
        return _parts_of(url, sorted(below), base + folder)
    if not glob.has_magic(key):
        return []
    from fsspec.utils import glob_translate

    known, rest = _divided(key, lambda name: next(bucket.keys(f"{name}/"), None) is not None)
    matching = re.compile(re.escape(known) + glob_translate(rest))
    fixed = known + re.split(r"[*?\[]", rest)[0]
    found: set[str] = set()
    folders: dict[str, list[str]] = {}
    for name, _ in bucket.keys(fixed):
        if name.endswith("/"):
            continue
        if matching.fullmatch(name):
            found.add(base + name)
        for end in (place.start() for place in re.finditer("/", name)):
            if told_format(base + name[:end]) == "parquet" and matching.fullmatch(name[:end]):
                folders.setdefault(base + name[:end], []).append(base + name)
    for above, names in folders.items():
        found.update(_parts_of(above, sorted(names), above))
    return sorted(found)
