"""A payload is found by its text alone, and what is found has an identity."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmill.core.work_order import PayloadCode
from eventmill.errors import PayloadError
from eventmill.payloads import bundles
from eventmill.payloads.locate import check_installed, find_payload
from eventmill.payloads.unpack import put_code


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a payload, its neighbours, and things that are none of them."""
    _write(
        tmp_path,
        {
            "work/payload.py": "import cuts, lib.deep\nraise RuntimeError('never imported')\nclass Dimuon: ...\n",
            "work/cuts.py": "CUT = 1\n",
            "work/plot.py": "import payload\n",
            "work/lib/deep/more.py": "",
            "work/lib/__init__.py": "",
            "work/lib/deep/__init__.py": "",
            "work/data/card.txt": "no module",
            "work/venv/pyvenv.cfg": "",
            "work/venv/site.py": "",
            "work/.hidden/secret.py": "",
            "work/tests/test_all.py": "",
            "work/test_payload.py": "",
            "work/__pycache__/payload.py": "",
        },
    )
    return tmp_path


def _names(code: PayloadCode, folder: Path) -> list[str]:
    assert code.bundle is not None
    files = bundles.unpack(code.bundle, entry=code.entry, digest=code.digest)
    there = put_code(files, code.digest, folder)
    return sorted(path.relative_to(there).as_posix() for path in there.rglob("*") if path.is_file())


def test_the_neighbouring_modules_travel_and_nothing_else(home: Path, tmp_path: Path) -> None:
    """Imported modules of the folder and its sub-packages; no scripts, tests, environments or data."""
    code = find_payload("work/payload.py:Dimuon", folder=home)
    assert code.entry == "payload:Dimuon"
    assert _names(code, tmp_path / "there") == [
        "cuts.py",
        "lib/__init__.py",
        "lib/deep/__init__.py",
        "lib/deep/more.py",
        "payload.py",
    ]


def test_the_same_code_has_the_same_bundle_wherever_it_lies(home: Path, tmp_path: Path) -> None:
    """Neither times nor folders are in the bundle."""
    first = find_payload("work/payload.py:Dimuon", folder=home)
    (home / "work").rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/payload.py").touch()
    second = find_payload(f"{tmp_path}/elsewhere/payload.py:Dimuon", folder=Path("/"))
    assert (first.bundle, first.digest) == (second.bundle, second.digest)
    assert len(first.digest) == 16


def test_a_changed_neighbour_changes_the_digest(home: Path) -> None:
    """The digest covers all that is shipped."""
    before = find_payload("work/payload.py:Dimuon", folder=home)
    (home / "work/cuts.py").write_text("CUT = 2\n")
    assert find_payload("work/payload.py:Dimuon", folder=home).digest != before.digest


FILES = st.dictionaries(st.sampled_from("ab"), st.binary(max_size=3))


@given(st.lists(st.tuples(FILES, st.sampled_from(["a:b", "a:c"]))))
def test_code_is_its_files_and_its_entry(codes: list[tuple[dict[str, bytes], str]]) -> None:
    """Two codes have one digest exactly if they have the same files under the same names, and the same entry."""
    assert len({bundles.digest(files, entry=entry) for files, entry in codes}) == len(
        {(tuple(sorted(files.items())), entry) for files, entry in codes}
    )


def test_two_functions_of_one_file_are_two_codes(tmp_path: Path) -> None:
    """And so are those of one installed module, and one file under two names."""
    _write(tmp_path, {"p.py": "def one(): ...\ndef two(): ...\n", "q.py": "def one(): ...\ndef two(): ...\n"})
    callables = ["p.py:one", "p.py:two", "q.py:one", "json:dump", "json:dumps", "json.decoder:JSONDecoder"]
    assert len({find_payload(callable, folder=tmp_path).digest for callable in callables}) == len(callables)


def test_a_file_that_no_line_could_import_is_not_shipped(tmp_path: Path) -> None:
    """Its name is not UTF-8, and no reason to refuse the payload beside it."""
    _write(tmp_path, {"p.py": "import importlib\ndef one(): ...\n"})
    os.close(os.open(os.fsencode(tmp_path) + b"/caf\xe9.py", os.O_CREAT))
    assert _names(find_payload("p.py:one", folder=tmp_path), tmp_path / "there") == ["p.py"]


def test_a_payload_may_be_imported_made_or_conditional(tmp_path: Path) -> None:
    """Whatever may turn out to be a class or function is accepted."""
    _write(
        tmp_path,
        {
            "payload.py": "from cuts import Dimuon as Imported\nMade = make()\n"
            "try:\n    class Tried: ...\nexcept ImportError:\n    Tried = None\n"
            "if True:\n    def chosen(events, where): ...\n"
        },
    )
    for name in ("Imported", "Made", "Tried", "chosen"):
        assert find_payload(f"payload.py:{name}", folder=tmp_path).entry == f"payload:{name}"
    _write(tmp_path, {"star.py": "from cuts import *\n"})
    assert find_payload("star.py:Anything", folder=tmp_path).entry == "star:Anything"


@pytest.mark.parametrize(
    ("callable", "said"),
    [
        ("payload.py", "write 'path/to/file.py:Name' or 'package.module:Name'"),
        (":Dimuon", "write 'path/to/file.py:Name'"),
        ("payload.py:", "write 'path/to/file.py:Name'"),
        ("payload.py:Dimuon.inner", "not a top-level class or function"),
        ("work/payload.txt:Dimuon", "neither a .py file nor a module"),
        ("work/paylod.py:Dimuon", "does not exist; did you mean payload.py"),
        ("nowhere/payload.py:Dimuon", "does not exist."),
        ("work/payload.py:Dimoun", "has no top-level class or function 'Dimoun'; did you mean Dimuon?"),
        ("work/payload.py:cuts", "is a module"),
        ("work/cuts.py:CUT", "is the value 1"),
        ("broken.py:Dimuon", "broken.py, line 2: "),
        ("null.py:Dimuon", "null"),
        ("relative.py:Dimuon", "line 1: a payload file cannot use relative imports"),
        ("later.py:later", "is an async function"),
        ("json.py:Dimuon", "Python's own module 'json'"),
        ("a.b.py:Dimuon", "without the dot"),
        ("payload:Dimuon", "module 'payload' of the payload 'payload:Dimuon' is not installed here"),
        ("top:Dimuon", "did you mean 'top.py:Dimuon'?"),
        ("no.such.module:Dimuon", "module 'no.such.module' of the payload"),
        ("itertools:count", "has no Python source"),
        ("json.decoder:Decoder", "did you mean JSONDecoder"),
    ],
)
def test_what_cannot_be_a_payload_is_refused_in_one_line(home: Path, callable: str, said: str) -> None:
    """Each message names the thing and what is near it."""
    _write(
        home,
        {
            "broken.py": "x = 1\nclass Dimuon(:\n",
            "null.py": "x = '\0'\n",
            "relative.py": "from .cuts import CUT\nclass Dimuon: ...\n",
            "later.py": "async def later(events, where): ...\n",
            "json.py": "class Dimuon: ...\n",
            "a.b.py": "class Dimuon: ...\n",
            "top.py": "class Dimuon: ...\n",
        },
    )
    with pytest.raises(PayloadError) as refused:
        find_payload(callable, folder=home)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_too_much_beside_a_payload_is_named(home: Path) -> None:
    """More than 10 MB is an error that says which files are to blame."""
    _write(home, {"work/huge.py": "#" * 9_000_000, "work/lib/large.py": "#" * 2_000_000})
    with pytest.raises(PayloadError, match=r"huge\.py \(9\.0 MB\), lib/large\.py \(2\.0 MB\)"):
        find_payload("work/payload.py:Dimuon", folder=home)


def test_an_installed_package_is_identified_and_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digest is of all modules of the package; none of them was executed."""
    _write(
        tmp_path,
        {
            "unimported_package/__init__.py": "raise RuntimeError\n",
            "unimported_package/inner/physics.py": "raise RuntimeError\ndef select(events, where): ...\n",
            "unimported_package/other.py": "",
        },
    )
    monkeypatch.syspath_prepend(tmp_path)
    code = find_payload("unimported_package.inner.physics:select", folder=tmp_path)
    assert (code.entry, code.bundle) == ("unimported_package.inner.physics:select", None)
    assert not any(name.startswith("unimported_package") for name in sys.modules)
    _write(tmp_path, {"unimported_package/other.py": "changed = True\n"})
    assert find_payload(code.callable, folder=tmp_path).digest != code.digest
    with pytest.raises(PayloadError, match=r"installed code of payload unimported.* when the campaign was"):
        check_installed(code)
    _write(tmp_path, {"unimported_package/other.py": ""})
    check_installed(code)
    (tmp_path / "unimported_package/fast.so").write_bytes(b"compiled")
    assert find_payload(code.callable, folder=tmp_path).digest != code.digest


def test_a_damaged_or_foreign_bundle_is_refused(home: Path) -> None:
    """What was unpacked is what was digested, and stays inside its folder."""
    code = find_payload("work/payload.py:Dimuon", folder=home)
    assert code.bundle is not None
    outside = {"../outside.py": b""}
    for bundle, digest, said in [
        (code.bundle[:-40], code.digest, "damaged"),
        (code.bundle, "0" * 16, "have the digest"),
        (bundles.pack(outside), bundles.digest(outside, entry=code.entry), "outside"),
    ]:
        with pytest.raises(PayloadError, match=said):
            bundles.unpack(bundle, entry=code.entry, digest=digest)
    with pytest.raises(PayloadError, match="have the digest"):
        bundles.unpack(code.bundle, entry="payload:Other", digest=code.digest)
