"""Histograms in zip files by uhi's schema: read, written, compared, added. Safe to read: no pickle.

For analysis: `read_histograms("out/*-000*.zip")` gives the sums over merged files, by name. `uhi.io.zip` reads
the same files without Eventmill.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from eventmill.errors import CorruptOutput, PayloadError

if TYPE_CHECKING:
    import hist

Histograms = dict[str, "hist.Hist[Any]"]

NOTE = "_eventmill.json"
"""The entry with Eventmill's notes about the file; no histogram has a name that begins with '_'."""


def read_histograms(files: Path | str | Iterable[Path | str]) -> Histograms:
    """The histograms of one merged file, or the sums over several, by name. A string may be a glob.

    Raises `CorruptOutput` for a file that is missing, contains no histograms, or has other axes.
    """
    import glob

    named = [files] if isinstance(files, Path | str) else list(files)
    paths = [Path(path) for name in named for path in sorted(glob.glob(str(name))) or [str(name)]]
    total: Histograms = {}
    for path in paths:
        try:
            with path.open("rb") as file:
                total = added(total, load(file, name=str(path)), name=str(path))
        except OSError as error:
            raise CorruptOutput(f"{path} cannot be read: {error.strerror}.") from error
    return total


def added(total: Histograms, more: Histograms, *, name: str) -> Histograms:
    """`total` and `more` added bin by bin; categories that only one of them has are kept.

    `CorruptOutput` names the file `name` of `more` if its histograms are others.
    """
    if not total:
        return more
    difference = differs(shape(more), shape(total), others="the files before it")
    if difference:
        raise CorruptOutput(f"{name}: {difference}: redo its range.", key=name)
    return {key: total[key] + more[key] for key in total}


def checked(result: object) -> Histograms:
    """The result of a payload, if it is a dict of histograms; else `PayloadError` says what is wrong."""
    import hist

    if not isinstance(result, Mapping) or not result:
        raise PayloadError(
            f"the payload returned {_kind(result)}; with 'format: hist' return a dict of name -> hist.Hist."
        )
    for name, value in result.items():
        if not isinstance(name, str) or not name or name.startswith("_") or not name.isprintable() or "/" in name:
            raise PayloadError(
                f"the payload returned a histogram named {name!r}; use a name that does not begin with '_'."
            )
        if not hasattr(value, "_to_uhi_"):
            raise PayloadError(f"the payload returned {_kind(value)} as histogram '{name}'; return a hist.Hist.")
        for number, axis in enumerate(value.axes):
            if axis.traits.growth and axis.traits.continuous:
                raise PayloadError(
                    f"axis {number} of histogram '{name}' grows, so ranges could not be added up; give it a "
                    "fixed range (categories may grow)."
                )
    return {name: value if isinstance(value, hist.Hist) else hist.Hist(value) for name, value in result.items()}


def shape(histograms: Mapping[str, Any]) -> bytes:
    """What addable histograms have in common: names, storages, axes; not growing categories."""
    return json.dumps({name: _shape_of(value) for name, value in histograms.items()}, sort_keys=True).encode()


def _shape_of(histogram: Any) -> dict[str, Any]:
    plain = histogram._to_uhi_()
    axes = []
    for axis, made in zip(plain["axes"], histogram.axes, strict=True):
        kept = {key: value for key, value in axis.items() if key != "writer_info"}
        if made.traits.growth:
            kept |= {"categories": "growing"}
        axes.append(
            {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in kept.items()}
        )
    return {"axes": axes, "storage": plain["storage"]["type"]}


def differs(ours: bytes, theirs: bytes, *, others: str) -> str:
    """How two shapes differ, as one clause; empty if they do not."""
    if ours == theirs:
        return ""
    mine, wanted = json.loads(ours), json.loads(theirs)
    for name in wanted.keys() - mine.keys():
        return f"histogram '{name}' of {others} is missing"
    for name in mine.keys() - wanted.keys():
        return f"histogram '{name}' is not in {others}"
    for name, value in mine.items():
        if value["storage"] != wanted[name]["storage"]:
            return f"histogram '{name}' has storage {value['storage']}, in {others} {wanted[name]['storage']}"
        if len(value["axes"]) != len(wanted[name]["axes"]):
            return f"histogram '{name}' has {len(value['axes'])} axes, in {others} {len(wanted[name]['axes'])}"
        for number, (axis, other) in enumerate(zip(value["axes"], wanted[name]["axes"], strict=True)):
            if axis != other:
                return f"axis {number} of histogram '{name}' is {_brief(axis)}, in {others} {_brief(other)}"
    return "the histograms differ"


def _brief(axis: Mapping[str, Any]) -> str:
    return json.dumps({key: value for key, value in axis.items() if value not in ("", {}, None)})[:200]


def store(path: Path, histograms: Histograms, *, note: Mapping[str, Any]) -> None:
    """Write a zip file; the same histograms make the same bytes."""
    import uhi.io.zip

    with _Timeless(path, "w", compression=zipfile.ZIP_DEFLATED) as file:
        file.writestr(NOTE, json.dumps({**note, "histograms": list(histograms)}))
        for name, value in histograms.items():
            uhi.io.zip.write(file, name, value)


def load(file: IO[bytes], *, name: str) -> Histograms:
    """The histograms of an opened file. `CorruptOutput` if `store` did not write it."""
    import hist
    import uhi.io.zip

    try:
        with zipfile.ZipFile(file) as opened:
            names = json.loads(opened.read(NOTE))["histograms"]
            return {key: hist.Hist(_with_variances(uhi.io.zip.read(opened, key))) for key in names}
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise CorruptOutput(f"{name} contains no histograms of Eventmill ({error}).", key=name) from error


def _with_variances(plain: dict[str, Any]) -> dict[str, Any]:
    """Replace the NaN variance of means with one entry (boost-histogram 1.8), which would make sums NaN."""
    storage = plain["storage"]
    if storage["type"] in ("mean", "weighted_mean"):
        unknown = np.isnan(storage["variances"]) & ~np.isnan(storage["values"])
        storage["variances"] = np.where(unknown, 0.0, storage["variances"])
    return plain


def read_note(file: IO[bytes], *, name: str) -> dict[str, Any]:
    """The notes of `store`. `CorruptOutput` if `store` did not write the file."""
    try:
        with zipfile.ZipFile(file) as opened:
            note: dict[str, Any] = json.loads(opened.read(NOTE))
            return note
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise CorruptOutput(f"{name} contains no histograms of Eventmill ({error}).", key=name) from error


def _kind(value: object) -> str:
    kind = type(value)
    if kind is dict and not value:
        return "an empty dict"
    return f"a {kind.__module__}.{kind.__qualname__}".replace("builtins.", "")


class _Timeless(zipfile.ZipFile):
    """A zip file without times: the bytes of an entry depend only on its content."""

    def writestr(
        self,
        zinfo_or_arcname: str | zipfile.ZipInfo,
        data: Any,
        compress_type: int | None = None,
        compresslevel: int | None = None,
    ) -> None:
        named = zinfo_or_arcname
        entry = zipfile.ZipInfo(named.filename if isinstance(named, zipfile.ZipInfo) else named)
        super().writestr(entry, data, compress_type, compresslevel)
