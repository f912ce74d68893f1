"""What can be wrong with what a user gives, as a table: how a folder gets it, and what must be said."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from tests.story.command_line.conftest import CAMPAIGN, write_campaign

READS_FILE = ("validate", "run", "try", "status", "audit", "outputs", "abandoned")
BEGINS = ("validate", "run", "try")
"""Commands that list inputs and find the payload before they do anything."""


@dataclass(frozen=True)
class Bad:
    """Something wrong: how a folder gets it, the commands that must say so, and the words that matter."""

    name: str
    make: Callable[[Path], object]
    commands: tuple[str, ...]
    words: tuple[str, ...]


def text(content: str | bytes) -> Callable[[Path], object]:
    """`campaign.yaml` with just this in it."""
    encoded = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / "campaign.yaml").write_bytes(encoded)


def with_keys(**keys: Any) -> Callable[[Path], object]:
    """The good campaign with these values; `a__b=1` sets `a.b`, None takes a key away."""

    def make(folder: Path) -> None:
        data = copy.deepcopy(CAMPAIGN)
        for place, value in keys.items():
            *above, last = place.split("__")
            part = data
            for name in above:
                part = part.setdefault(name, {})
            part[last] = value
            if value is None:
                del part[last]
        write_campaign(folder, data)

    return make


def reading(file: str, make: Callable[[Path], object], **inputs: Any) -> Callable[[Path], object]:
    """The good campaign, but it reads `file`, which `make` makes."""

    def made(folder: Path) -> None:
        make(folder / file)
        with_keys(inputs={"files": [file]} | inputs)(folder)

    return made


def root_file(path: Path) -> None:
    """A ROOT file with a tree `Events` of 1,000 entries."""
    uproot = pytest.importorskip("uproot")
    with uproot.recreate(path) as file:
        tree = file.mktree("Events", {"Muon_pt": np.float64})
        tree.extend({"Muon_pt": np.arange(1000.0)})


def parquet_file(path: Path) -> None:
    """A Parquet file of 1,000 rows."""
    column = pa.array(np.arange(1000.0))
    pq.write_table(pa.Table.from_arrays([column], names=["Muon_pt"]), path)


def cut_in_half(make: Callable[[Path], object]) -> Callable[[Path], object]:
    """What `make` makes, without its second half."""

    def made(path: Path) -> None:
        make(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return made


def payload(source: str) -> Callable[[Path], object]:
    """The good campaign with another `payload.py`."""
    return lambda folder: write_campaign(folder, payload=source)


def cluster_file(content: str) -> Callable[[Path], object]:
    """The good campaign with a cluster file of its own."""

    def make(folder: Path) -> None:
        (folder / "mine.yaml").write_text(content)
        with_keys(cluster__type="mine.yaml")(folder)

    return make


def beside(file: str, content: bytes, **keys: Any) -> Callable[[Path], object]:
    """The good campaign with these values, and a file beside it."""

    def make(folder: Path) -> None:
        (folder / file).write_bytes(content)
        with_keys(**keys)(folder)

    return make


def other_database(folder: Path) -> None:
    """The good campaign, whose ledger is somebody else's database."""
    engine = sa.create_engine(f"sqlite:///{folder}/other.sqlite")
    with engine.begin() as tx:
        tx.execute(sa.text("CREATE TABLE addresses (name TEXT)"))
    engine.dispose()
    with_keys(ledger="other.sqlite")(folder)


def nothing(folder: Path) -> None:
    """An empty folder."""


NO_TEXT = bytes(range(128, 256))
ZEROS = bytes(5000)
ONE_KIND = "'inputs': give either 'files' or 'generated'"
GENERATED = {"events": 60}

BAD_FILES = [
    Bad("no such file", nothing, READS_FILE, ("campaign.yaml", "No such file")),
    Bad("a folder", lambda f: (f / "campaign.yaml").mkdir(), READS_FILE, ("Is a directory",)),
    Bad("binary", text(NO_TEXT), READS_FILE, ("campaign.yaml is not a text file",)),
    Bad("null bytes", text(ZEROS), READS_FILE, ("not valid YAML",)),
    Bad("bad YAML", text("name: a\ninputs: {files: [\n"), READS_FILE, ("line 3", "not valid YAML")),
    Bad("empty", text(""), READS_FILE, ("does not contain a campaign", "name, inputs, payload, output")),
    Bad("a list", text("- a\n- b\n"), READS_FILE, ("does not contain a campaign",)),
]
BAD_KEYS = [
    Bad(
        "unknown key",
        with_keys(tagret=0.9),
        READS_FILE,
        ("'tagret' (did you mean 'target'?)", "allowed are: name"),
    ),
    Bad("unknown at depth 2", with_keys(ranges__event=3), BEGINS, ("'ranges.event'", "events, seconds, block")),
    Bad(
        "unknown at depth 3",
        with_keys(inputs__generated__evnts=3),
        BEGINS,
        ("'inputs.generated.evnts'", "allowed are: events, files"),
    ),
    Bad("missing key", with_keys(payload=None), BEGINS, ("'payload' is missing",)),
    Bad("two things at once", with_keys(payload=None, tagret=1), BEGINS, ("'payload' is missing", "'tagret'")),
    Bad("no number", with_keys(target="lots"), BEGINS, ("'target'", "number", "'lots'")),
    Bad("too large", with_keys(target=2), BEGINS, ("'target' must be at most 1, not 2",)),
    Bad("a part that is a word", with_keys(limits="many"), BEGINS, ("'limits' must be {failures: …,",)),
    Bad("a name with a blank", with_keys(name="my campaign"), BEGINS, ("'name'", "'my campaign'")),
    Bad("no duration", with_keys(limits__lease="soon"), BEGINS, ("'limits.lease'", "'soon'", "60s")),
    Bad("empty ranges", with_keys(ranges__events=0), BEGINS, ("'ranges.events'", "between 1 and")),
    Bad("files and generated", with_keys(inputs={"files": ["a"], "generated": GENERATED}), BEGINS, (ONE_KIND,)),
    Bad("neither of them", with_keys(inputs={}), BEGINS, (ONE_KIND,)),
    Bad("two merge sizes", with_keys(output__merge__bytes="1MB"), BEGINS, ("'events' or 'bytes'",)),
    Bad(
        "no column type", with_keys(output__columns={"a": "flot64"}), ("validate", "run"), ("'flot64'", "float64")
    ),
]
BAD_INPUTS = [
    Bad("no such input", with_keys(inputs={"files": ["no.root"]}), BEGINS, ("no.root does not exist",)),
    Bad("glob of nothing", with_keys(inputs={"files": ["*.root"]}), BEGINS, ("*.root matches no file",)),
    Bad("an input folder", reading("data", Path.mkdir), BEGINS, ("data is a folder", "data/*.root")),
    Bad(
        "no format",
        reading("data.dat", parquet_file),
        BEGINS,
        ("the format of data.dat cannot be inferred", "'inputs.format'"),
    ),
    Bad("no protocol", with_keys(inputs={"files": ["gopher://b/a.root"]}), ("validate", "try"), ("gopher://",)),
    Bad("glob on HTTP", with_keys(inputs={"files": ["http://h/*.root"]}), BEGINS, ("no listing", "@files.txt")),
    Bad("no such list", with_keys(inputs={"files": ["@files.txt"]}), BEGINS, ("files.txt", "No such file")),
    Bad(
        "two trees",
        reading("a.root", root_file, tree="A", files=["a.root:B"]),
        BEGINS,
        ("one tree", "'A'", "'B' (a.root:B)"),
    ),
    Bad("truncated ROOT", reading("a.root", cut_in_half(root_file)), ("validate", "try"), ("a.root", "cut off")),
    Bad("truncated Parquet", reading("a.parquet", cut_in_half(parquet_file)), ("validate", "try"), ("a.parquet",)),
    Bad("empty file", reading("a.root", Path.touch), ("validate", "try"), ("a.root", "0 bytes")),
    Bad("wrong tree", reading("a.root", root_file, tree="Evnts"), ("validate", "try"), ("'Evnts'", "Events")),
    Bad(
        "wrong column",
        reading("a.root", root_file, columns=["Muon_pz"]),
        ("validate", "try"),
        ("'Muon_pz'", "Did you mean Muon_pt?"),
    ),
    Bad(
        "wrong column in Parquet",
        reading("a.parquet", parquet_file, columns=["Muon_pz"]),
        ("validate", "try"),
        ("'Muon_pz'", "Did you mean Muon_pt?"),
    ),
]
BAD_PAYLOADS = [
    Bad(
        "no such payload",
        with_keys(payload__callable="pay.py:square"),
        BEGINS,
        ("pay.py", "did you mean payload.py?"),
    ),
    Bad(
        "no such name",
        with_keys(payload__callable="payload.py:sqare"),
        BEGINS,
        ("'sqare'", "did you mean square?"),
    ),
    Bad("no such module", with_keys(payload__callable="no.such:Name"), BEGINS, ("module 'no.such'",)),
    Bad("no name at all", with_keys(payload__callable="payload.py"), BEGINS, ("path/to/file.py:Name",)),
    Bad("syntax error", payload("def square(:\n"), BEGINS, ("payload.py, line 1", "invalid syntax")),
    Bad(
        "bad parameters",
        with_keys(payload__parameters={"poisson": 1}),
        BEGINS,
        (
            "payload payload.py:square: square cannot",
            "not take 'poisson' (did you mean 'poison'?). It takes poison",
        ),
    ),
    Bad("one argument", payload("def square(events): ...\n"), BEGINS, ("square takes only events by position",)),
    Bad("a generator", payload("def square(e, w):\n    yield e\n"), BEGINS, ("square is a generator function",)),
    Bad("too little memory", with_keys(limits__memory=2), BEGINS, ("2 bytes is", "did you mean 2GB?")),
    Bad("nothing returned", payload("def square(events, where): pass\n"), ("try",), ("returned a NoneType",)),
]
BAD_PLACES = [
    Bad(
        "no such cluster type",
        with_keys(cluster__type="lokal"),
        ("validate", "run"),
        ("'lokal'", "address, local"),
    ),
    Bad("no address", with_keys(cluster__type="address"), ("validate", "run"), ("'cluster.address'",)),
    Bad(
        "cluster file with unknown key",
        cluster_file("wrokers: 2\n"),
        ("validate", "run"),
        ("mine.yaml", "wrokers"),
    ),
    Bad("no ledger", with_keys(), ("status", "audit"), ("there is no ledger", "eventmill run")),
    Bad("ledger is a folder", with_keys(ledger="."), ("validate", "run", "status"), ("ledger",)),
    Bad(
        "ledger is no database",
        beside("notes", b"no database at all" * 99, ledger="notes"),
        ("validate", "run", "status"),
        ("notes", "not a database"),
    ),
    Bad("ledger of others", other_database, ("validate", "run", "status"), ("other.sqlite", "ledger")),
    Bad(
        "ledger below a file",
        beside("notes", b"", ledger="notes/ledger.sqlite"),
        ("validate", "run", "status"),
        ("notes",),
    ),
    Bad("store is a file", beside("notes", b"", output__store="notes"), ("validate",), ("notes is a file",)),
    Bad(
        "store below a file",
        beside("notes", b"", output__store="notes/a/b"),
        ("validate",),
        ("notes", "not a folder"),
    ),
    Bad("store elsewhere", with_keys(output__store="gopher://b/out"), ("validate",), ("'gopher://'", "file://")),
]

BAD = (*BAD_FILES, *BAD_KEYS, *BAD_INPUTS, *BAD_PAYLOADS, *BAD_PLACES)
