"""FITS tables: any split gives the rows that astropy reads at once."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventmill.core.work_order import SourceSpec
from eventmill.errors import InputError
from eventmill.sources import inspect_input, open_source
from tests.web_server import serve_web

fits = pytest.importorskip("astropy.io.fits", reason="astropy is not installed: pip install 'eventmill[fits]'")

FITS = SourceSpec("fits")
ROWS = 50


def columns() -> list[Any]:
    """Columns of each kind that FITS has."""
    rng = np.random.default_rng(1)
    parts = np.array([np.arange(n % 4, dtype=np.int32) for n in range(ROWS)], dtype=object)
    return [
        fits.Column("ra", "D", array=rng.uniform(0, 360, ROWS)),
        fits.Column("mag", "E", array=rng.normal(15, 2, ROWS)),
        fits.Column("n", "J", array=np.arange(ROWS), null=13),
        fits.Column("big", "K", array=np.arange(ROWS) * 2**40),
        fits.Column("count", "I", bzero=32768, array=np.arange(ROWS, dtype=np.uint16) + 40_000),
        fits.Column("scaled", "I", array=np.arange(ROWS, dtype=np.int16)),  # scaled by its header, below
        fits.Column("good", "L", array=np.arange(ROWS) % 3 == 0),
        fits.Column("name", "8A", array=np.array([f"star {n}" for n in range(ROWS)])),
        fits.Column("flags", "11X", array=rng.integers(0, 2, (ROWS, 11)).astype(bool)),
        fits.Column("image", "6E", dim="(3,2)", array=rng.normal(size=(ROWS, 2, 3)).astype("f4")),
        fits.Column("hits", "PJ()", array=parts),
        fits.Column("wave", "C", array=np.ones(ROWS, np.complex64)),
    ]


@pytest.fixture(scope="module")
def stars(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An event file: a picture, the table, and a second table."""
    path = tmp_path_factory.mktemp("fits") / "stars.fits"
    table = fits.BinTableHDU.from_columns(columns(), name="EVENTS")
    number = table.columns.names.index("scaled") + 1
    table.header[f"TSCAL{number}"], table.header[f"TZERO{number}"] = 0.5, 10.0
    other = fits.BinTableHDU.from_columns([fits.Column("START", "D", array=np.arange(3.0))], name="GTI")
    fits.HDUList([fits.PrimaryHDU(np.ones((10, 10))), table, other]).writeto(path)
    return str(path)


EVENTS = SourceSpec("fits", tree="events")


def test_values_are_those_that_astropy_reads(stars: str) -> None:
    """Numbers, scaled and unsigned ones, texts, bits, arrays, and what is missing."""
    table = open_source(stars, EVENTS).read(0, ROWS)
    with fits.open(stars) as opened:
        data = opened["EVENTS"].data
        for name in ("ra", "mag", "big", "count", "scaled", "good", "flags", "image"):
            assert table[name].to_pylist() == np.asarray(data[name]).tolist(), name
        assert table["name"].to_pylist() == list(data["name"])
        assert table["hits"].to_pylist() == [part.tolist() for part in data["hits"]]
    assert table["n"].to_pylist() == [None if n == 13 else n for n in range(ROWS)]
    found = inspect_input(stars, EVENTS)
    assert found.left_out == ("wave",) and dict(found.layout) | {"n": "int32", "name": "string"} == dict(
        found.layout
    )
    assert table.schema.field("count").type == pa.uint16()


@settings(max_examples=25, deadline=None)
@given(cuts=st.sets(st.integers(1, ROWS - 1), max_size=6))
def test_any_split_gives_what_one_read_gives(stars: str, cuts: set[int]) -> None:
    """Rows, types and missing values."""
    source = open_source(stars, EVENTS)
    parts = [source.read(*edge) for edge in pairwise([0, *sorted(cuts), ROWS])]
    assert pa.concat_tables(parts).equals(source.read(0, ROWS))


def test_columns_are_chosen_by_name(stars: str) -> None:
    """In the order that was asked for; one that no array can hold is refused."""
    chosen = SourceSpec("fits", tree="EVENTS", columns=("mag", "ra"))
    assert open_source(stars, chosen).read(3, 5).column_names == ["mag", "ra"]
    with pytest.raises(InputError, match="columns that no array can hold: wave"):
        inspect_input(stars, SourceSpec("fits", tree="EVENTS", columns=("wave",)))
    with pytest.raises(InputError, match=r"no column 'MAG' among its 12\. Did you mean mag"):
        inspect_input(stars, SourceSpec("fits", tree="EVENTS", columns=("MAG",)))


def test_a_table_without_rows_has_no_events(tmp_path: Path) -> None:
    """Its columns are known all the same."""
    fits.BinTableHDU.from_columns([fits.Column("x", "D"), fits.Column("h", "PJ()")]).writeto(tmp_path / "e.fits")
    found = inspect_input(str(tmp_path / "e.fits"), FITS)
    assert (found.events, found.layout[0]) == (0, ("x", "float64"))


def test_which_table_is_meant_must_be_said(stars: str, tmp_path: Path) -> None:
    """By name, if there are several."""
    with pytest.raises(InputError, match=r"has 2 tables: EVENTS, GTI\. Name one with 'inputs\.tree'"):
        inspect_input(stars, FITS)
    with pytest.raises(InputError, match=r"has no table of the name 'HITS'\. There are: EVENTS, GTI"):
        inspect_input(stars, SourceSpec("fits", tree="HITS"))
    fits.PrimaryHDU(np.ones(3)).writeto(tmp_path / "picture.fits")
    with pytest.raises(InputError, match=r"picture\.fits has no table\."):
        inspect_input(str(tmp_path / "picture.fits"), FITS)


def test_what_cannot_be_read_is_told_in_one_line(stars: str, tmp_path: Path) -> None:
    """No FITS file, one that is cut off, and a compressed one."""
    whole = Path(stars).read_bytes()
    for content, said in (
        (b"no fits", "is not a readable FITS file"),
        (b"", "is not a readable FITS file"),
        (whole[: len(whole) // 2], "is cut off|not a readable"),
        (b"\x1f\x8b\x08" + whole, "is compressed with gzip"),
    ):
        path = tmp_path / "bad.fits"
        path.write_bytes(content)
        with pytest.raises(InputError, match=said) as error:
            inspect_input(str(path), EVENTS)
        assert "\n" not in str(error.value)


def test_a_table_on_a_server_is_read_like_one_on_a_disk(stars: str) -> None:
    """By ranges of bytes."""
    with serve_web(Path(stars).parent) as web:
        table = open_source(f"{web.url}/stars.fits", EVENTS).read(10, 20)
    assert table.equals(open_source(stars, EVENTS).read(10, 20))


def test_what_is_stored_as_tnull_is_missing_whatever_it_is_scaled_to(tmp_path: Path) -> None:
    """Unsigned numbers, scaled ones, arrays, logical values, and tables of texts; other values stay."""
    stored = np.array([-32668, 100, -1, 0], np.int16)
    made = [
        fits.Column("u", "I", array=stored, null=100),
        fits.Column("s", "I", array=stored, null=-1),
        fits.Column("a", "2I", array=np.stack([stored, stored[::-1]], axis=1), null=0),
        fits.Column("l", "L", array=np.array([True, False, True, False])),
        fits.Column("v", "PJ()", array=np.array([[1, 7], [], [7], [2]], dtype=object), null=7),
        fits.Column("w", "PI()", array=np.array([[1], [], [7], [2]], dtype=object)),
    ]
    table = fits.BinTableHDU.from_columns(made)
    table.header["TZERO1"], table.header["TSCAL1"] = 32768, 1
    table.header["TSCAL2"] = 0.5
    table.header["TZERO6"], table.header["TSCAL6"] = 32768, 1
    table.writeto(tmp_path / "b.fits")
    content = (tmp_path / "b.fits").read_bytes()
    with fits.open(tmp_path / "b.fits") as opened:
        at = opened[1].fileinfo()["datLoc"] + 2 + 2 + 4  # the logical value of the first row
    (tmp_path / "b.fits").write_bytes(content[:at] + b"\0" + content[at + 1 :])
    rows = open_source(str(tmp_path / "b.fits"), FITS).read(0, 4)
    assert rows["u"].to_pylist() == [100, None, 32767, 32768]
    assert rows["s"].to_pylist() == [-16334.0, 50.0, None, 0.0]
    assert rows["a"].to_pylist() == [[-32668, None], [100, -1], [-1, 100], [None, -32668]]
    assert rows["l"].to_pylist() == [None, False, True, False]
    assert rows["v"].to_pylist() == [[1, None], [], [None], [2]]
    assert inspect_input(str(tmp_path / "b.fits"), FITS).left_out == ("w",)
    with pytest.raises(InputError, match="no array can hold: w"):
        inspect_input(str(tmp_path / "b.fits"), SourceSpec("fits", columns=("w",)))


def test_tnull_in_a_table_of_texts_is_missing(tmp_path: Path) -> None:
    """Numbers of both kinds."""
    made = [
        fits.Column("n", "I6", array=np.array([5, -99, 0]), null="-99", ascii=True),
        fits.Column("x", "F8.2", array=np.array([1.5, -9.0, 0.0]), null="-9.00", ascii=True),
    ]
    fits.TableHDU.from_columns(made).writeto(tmp_path / "a.fits")
    rows = open_source(str(tmp_path / "a.fits"), FITS).read(0, 3)
    assert rows["n"].to_pylist() == [5, None, 0] and rows["x"].to_pylist() == [1.5, None, 0.0]
