"""What a user writes for inputs (paths, urls, globs, folders, lists), and the files that are meant. Opens none."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from urllib.parse import urlsplit

from eventmill.access import scheme
from eventmill.access.s3 import Bucket, S3Error
from eventmill.errors import AccessError, InputError
from eventmill.sources.files import is_local, local_path

SUFFIXES = {".root": "root", ".parquet": "parquet", ".parq": "parquet", ".pq": "parquet"}
"""Which format a file name tells."""

LISTED_AT_ONCE = 16

_TREE = re.compile(r"(?P<file>.+\.root)(?::(?P<tree>[^:]+))", re.IGNORECASE)


def expand(files: Sequence[str], *, credentials: str | None = None) -> tuple[str, ...]:
    """Paths, urls, globs (`**` included), folders of Parquet files and `@lists` to files, without trees.

    Patterns in the order given, what one matches sorted. A file named twice, also through a link, appears once,
    at its first place: its events are counted once. InputError for what matches no file.
    """
    patterns = [split_tree(pattern)[0] for pattern in written_out(files)]
    remote = [pattern for pattern in patterns if not is_local(pattern)]
    with ThreadPoolExecutor(LISTED_AT_ONCE) as pool:
        tasks = [pool.submit(copy_context().run, _matches_remote, pattern, credentials) for pattern in remote]
        matched = dict(zip(remote, [task.result() for task in tasks], strict=True))
    found: dict[str, str] = {}
    for pattern in patterns:
        if pattern in matched:
            found |= {name: name for name in matched[pattern] if name not in found}
        else:
            for name in _matches_local(pattern):
                found.setdefault(os.path.realpath(local_path(name)), name)
    if not found:
        raise InputError("no input files were given.")
    return tuple(found.values())


def written_out(files: Sequence[str]) -> Iterator[str]:
    """The same patterns with each `@FILE` replaced by its lines; '#' begins a comment."""
    for pattern in files:
        if not pattern.startswith("@") or local_path(pattern).is_file():
            yield pattern
            continue
        path = Path(pattern[1:]).expanduser()
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise InputError(
                f"the list of inputs {path} cannot be read: {reason} (looked in {os.getcwd()})."
            ) from None
        for line in lines:
            entry = re.sub(r"(^|\s)#.*", "", line).strip()
            if entry.startswith("@"):
                raise InputError(f"{path} names another list, '{entry}'; name it in the campaign.")
            if entry:
                yield entry


def split_tree(pattern: str) -> tuple[str, str | None]:
    """`file.root:tree`, as uproot writes it, in two; a local file that is really called so is one."""
    named = _TREE.fullmatch(pattern)
    if named is None or (is_local(pattern) and local_path(pattern).is_file()):
        return pattern, None
    return named["file"], named["tree"]


def named_tree(files: Sequence[str], tree: str | None) -> str | None:
    """The one tree that `tree` and all `file.root:tree` agree on; InputError if they do not."""
    wanted = {} if tree is None else {tree: "inputs.tree"}
    for pattern in written_out(files):
        named = split_tree(pattern)[1]
        if named is not None:
            wanted.setdefault(named, pattern)
    if len(wanted) > 1:
        said = ", ".join(f"'{name}' ({by})" for name, by in wanted.items())
        raise InputError(f"a campaign reads one tree, here are {len(wanted)}: {said}. Divide it.")
    return next(iter(wanted), None)


def told_format(url: str) -> str | None:
    """Which format the name of a file tells."""
    path = url if is_local(url) else urlsplit(url).path
    return SUFFIXES.get(Path(path).suffix.lower())


def _matches_local(pattern: str) -> list[str]:
    path = local_path(pattern)
    if path.is_file():  # also when its name holds the characters of a pattern
        return [_plain(pattern)]
    if path.is_dir():
        folder = _plain(pattern).rstrip("/")
        inside = sorted(name for name in glob.glob(f"{glob.escape(folder)}/**", recursive=True))
        return _parts_of(pattern, [name for name in inside if os.path.isfile(name)], folder)
    names = sorted(name for name in glob.glob(_plain(pattern), recursive=True) if os.path.isfile(name))
    if not names:
        what = "matches no file" if glob.has_magic(pattern) else "does not exist"
        raise InputError(f"{pattern} {what} (looked in {os.getcwd()}).")
    return names


def _parts_of(pattern: str, names: Sequence[str], folder: str) -> list[str]:
    """The files of a Parquet data set: in folders of any depth, hidden ones and those with '_' left out."""
    parts = [
        name
        for name in names
        if told_format(name) == "parquet"
        and not any(part.startswith(("_", ".")) for part in name[len(folder) :].strip("/").split("/"))
    ]
    if not parts:
        raise InputError(
            f"{pattern} is a folder without Parquet files; write {pattern.rstrip('/')}/*.root for others in it."
        )
    return parts


def _plain(name: str) -> str:
    """A relative path stays one, so that what is written into outputs does not depend on the folder."""
    return str(local_path(name)) if "://" in name else os.path.expanduser(name)


def _matches_remote(pattern: str, credentials: str | None) -> list[str]:
    protocol = scheme(pattern)
    if protocol in ("s3", "s3a"):
        try:
            return _matches_s3(pattern, credentials)
        except S3Error as error:
            raise InputError(f"{pattern} cannot be listed: {str(error).rstrip('.')}.") from error
        except AccessError as error:
            raise InputError(f"{pattern}: {error}") from error
    if "*" in pattern:
        raise InputError(
            f"{pattern}: '{protocol}://' has no listing that '*' could be looked up in. Name each file, or write "
            "them into a file, one on each line, and name that: '@files.txt'."
        )
    return [pattern]


def _matches_s3(pattern: str, credentials: str | None) -> list[str]:
    from fsspec.utils import glob_translate

    place, _, key = pattern.partition("://")[2].partition("/")
    bucket, base = Bucket(place, credentials), f"{pattern.partition('://')[0]}://{place}/"
    if not glob.has_magic(key):
        folder = key.rstrip("/")
        # One request: a file is listed before what is below a folder of the same name.
        found = [name for name, _ in bucket.keys(folder)] if folder else [name for name, _ in bucket.keys("")]
        if key in found:
            return [base + key]
        below = sorted(base + name for name in found if not folder or name.startswith(f"{folder}/"))
        if not below:
            raise InputError(f"{pattern} does not exist at {bucket.endpoint()}.")
        return _parts_of(pattern, below, base + folder)
    fixed = re.split(r"[*?\[]", key)[0]
    matching = re.compile(glob_translate(key))
    names = sorted(
        base + name for name, _ in bucket.keys(fixed) if matching.match(name) and not name.endswith("/")
    )
    if not names:
        raise InputError(f"{pattern} matches no object at {bucket.endpoint()}.")
    return names
