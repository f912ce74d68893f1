"""Inputs that differ in the columns that are read are told apart by column and input; what is harmless is not."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from eventmill.core.ranges import Layout, NewInput, SeenLayout, fingerprint
from eventmill.core.work_order import SourceSpec
from eventmill.formats.schemas import type_name
from eventmill.ledger import Ledger
from eventmill.sources import inspect_input
from eventmill.sources.layouts import alike, disagreement, layouts_of, unreadable_columns, wider
from tests.conftest import new_campaign


def told(*layouts: Layout, results_have_types: bool = False) -> str:
    named = [SeenLayout(f"{name}.parquet", 1, layout) for name, layout in zip("abcdef", layouts, strict=False)]
    return disagreement(named, results_have_types=results_have_types) or ""


def test_a_column_that_is_missing_is_named_with_the_input() -> None:
    """On whichever side it is."""
    both, one = (("n", "int64"), ("x", "float64")), (("n", "int64"),)
    for layouts in ((both, one), (one, both)):
        assert "column 'x' is missing in" in told(*layouts)
    assert told(both, one) == (
        "the inputs differ in the columns that are read: column 'x' is missing in b.parquet; it is float64 "
        "in a.parquet. Rewrite them with equal columns, remove those that differ, "
        "or select common columns with 'inputs.columns'."
    )
    assert told(both, one, results_have_types=True)


def test_a_type_that_differs_is_named_with_the_wider_one() -> None:
    """And it can be gone on with once the types of the results are declared."""
    narrow, wide = (("n", "int32"),), (("n", "int64"),)
    assert "column 'n' is int32 in a.parquet, int64 in b.parquet (int64 is the wider)" in told(narrow, wide)
    assert "{n: int64}" in told(narrow, wide)
    assert not told(narrow, wide, results_have_types=True)
    other = (("n", "string"),)
    assert "(no type holds all of them)" in told(narrow, other)
    assert "output.columns" not in told(narrow, other)
    assert told(narrow, other, results_have_types=True)


@settings(max_examples=50, deadline=None)
@given(order=st.permutations([("a", "int64"), ("b", "list<float32>"), ("c", "string")]))
def test_the_order_of_columns_is_harmless(order: list[tuple[str, str]]) -> None:
    """They have one fingerprint, and nothing to say."""
    first: Layout = (("a", "int64"), ("b", "list<float32>"), ("c", "string"))
    assert fingerprint(tuple(order)) == fingerprint(first)
    assert not told(first, tuple(order))


NUMBERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
NUMBERS += [pa.float16(), pa.float32(), pa.float64()]


@settings(max_examples=150, deadline=None)
@given(one=st.sampled_from(NUMBERS), other=st.sampled_from(NUMBERS), data=st.data())
def test_the_wider_type_holds_both_exactly(one: pa.DataType, other: pa.DataType, data: st.DataObject) -> None:
    """Each value of either comes back from it; in lists, structs and maps as well."""
    both = wider(one, other)
    assert both == wider(other, one)
    if both is None:
        return
    for kind in (one, other):
        dtype = kind.to_pandas_dtype()
        ends = [np.finfo(dtype).max] if pa.types.is_floating(kind) else [np.iinfo(dtype).min, np.iinfo(dtype).max]
        value = pa.array(np.array([data.draw(st.sampled_from(ends))], dtype))
        assert value.cast(both).cast(kind).equals(value)
    assert wider(pa.list_(one), pa.list_(other)) == pa.list_(both)
    assert wider(pa.map_(pa.string(), one), pa.map_(pa.string(), other)) == pa.map_(pa.string(), both)
    assert wider(pa.struct({"a": one, "b": other}), pa.struct({"b": other, "a": other})) == pa.struct(
        {"a": both, "b": other}
    )
    assert wider(pa.list_(one, 2), pa.list_(other, 3)) is None


@pytest.mark.parametrize(
    "variant",
    [
        pa.array(["a"]).dictionary_encode(),
        pa.array(["a"], pa.large_string()),
        pa.array(["a"], pa.string_view()),
        pa.array(["a"]),
    ],
    ids=lambda array: str(array.type),
)
def test_how_text_is_kept_is_harmless(variant: pa.Array, tmp_path: Path) -> None:
    """Dictionaries, large and ordinary text, and whether a value may be missing: one layout."""
    schema = pa.schema([pa.field("t", variant.type, nullable=False)])
    pq.write_table(pa.table([variant], schema=schema), tmp_path / "in.parquet")
    assert inspect_input(str(tmp_path / "in.parquet"), SourceSpec("parquet")).layout == (("t", "string"),)


def test_alike_reaches_inside() -> None:
    """Lists, structs and maps of what is harmless are harmless."""
    words = pa.dictionary(pa.int8(), pa.large_string())
    kind = pa.large_list(pa.struct({"a": pa.map_(pa.large_string(), pa.list_(words, 2))}))
    assert type_name(alike(kind)) == "list<struct<a: map<string, list<string>[2]>>>"


def test_only_what_is_read_counts(tmp_path: Path) -> None:
    """A column that the campaign does not choose may be of any type."""
    pq.write_table(pa.table({"n": [1], "x": [1.0]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": ["one"], "n": [2], "y": [1]}), tmp_path / "b.parquet")
    for columns, agree in ((None, False), (("n",), True), (("n", "x"), False)):
        found = [
            inspect_input(str(tmp_path / f"{name}.parquet"), SourceSpec("parquet", columns=columns))
            for name in "ab"
        ]
        assert (disagreement(layouts_of(found), results_have_types=False) is None) == agree


def test_floats_and_doubles_of_root_files_are_told_apart(tmp_path: Path) -> None:
    """In trees and RNTuples, in lists too."""
    for kind in ("mktree", "mkrntuple"):
        found = []
        for name, width in (("a", "float32"), ("b", "float64")):
            path = tmp_path / f"{kind}-{name}.root"
            made = {"x": np.zeros(3, width), "l": ak.values_astype(ak.Array([[1], [], [2, 3]]), width)}
            with uproot.recreate(path) as file:
                getattr(file, kind)("T", {"x": width, "l": f"var * {width}"}).extend(made)
            found.append(inspect_input(str(path), SourceSpec("root", columns=("x", "l"))))
        assert found[0].layout == (("x", "float32"), ("l", "list<float32>"))
        message = disagreement(layouts_of(found), results_have_types=False) or ""
        assert "'x' is float32 in" in message and "(list<float64> is the wider)" in message


def test_an_input_without_events_need_not_agree() -> None:
    """Nothing of it is read; and inputs that say no layout are none."""
    empty = NewInput("a", 0, "i", layout=(("n", "null"),))
    inputs = [empty, NewInput("b", 5, "i", layout=(("n", "int64"),)), NewInput("c", 5, "i")]
    assert layouts_of(inputs) == (SeenLayout("b", 1, (("n", "int64"),)),)


def test_the_ledger_keeps_each_layout_once(ledger: Ledger) -> None:
    """However many inputs have it; each campaign is told its own."""
    first, second = (("n", "int64"),), (("n", "int32"), ("x", "list<float64>"))
    campaign, other = new_campaign(ledger, (), name="one"), new_campaign(ledger, (), name="two")
    ledger.add_inputs(campaign.id, [NewInput(f"a{n}", 5, "i", layout=first) for n in range(50)])
    ledger.add_inputs(campaign.id, [NewInput("b", 5, "i", layout=second), NewInput("c", 0, "i", layout=())])
    ledger.add_inputs(campaign.id, [NewInput("a50", 5, "i", layout=first), NewInput("e", 0, "i", layout=second)])
    ledger.add_inputs(other.id, [NewInput("z", 5, "i", layout=second)])
    assert ledger.layouts(campaign.id) == (SeenLayout("a0", 51, first), SeenLayout("b", 1, second))
    assert ledger.layouts(other.id) == (SeenLayout("z", 1, second),)
    ledger.forget_campaign(campaign.id)
    assert ledger.layouts(other.id) == (SeenLayout("z", 1, second),)


def test_a_message_stays_short() -> None:
    """A thousand columns of a hundred inputs: the first few, and how many there are."""
    layouts = [tuple((f"c{n}", kind) for n in range(1000)) for kind in ("int32", "int64")]
    message = disagreement(
        [SeenLayout("a", 40, layouts[0]), SeenLayout("b", 60, layouts[1])], results_have_types=False
    )
    assert message is not None and len(message) < 1000 and "\n" not in message
    assert "int32 in a and 39 more, int64 in b and 59 more" in message and "1000 columns in all" in message


def test_columns_that_are_left_out_are_told_once() -> None:
    """With the first input that has them."""
    inputs = [NewInput(f"{n}.root", 5, "i", left_out=("h/who (TNamed*)",)) for n in range(3)]
    assert unreadable_columns([*inputs, NewInput("z", 5, "i")]) == (
        "columns that no array can hold: h/who (TNamed*), in 0.root and 2 more inputs",
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("null", "int64"),
        ("list<null>", "list<string>"),
        ("struct<a: null, b: int8>", "struct<b: int8, a: map<string, int64>>"),
        ("map<string, null>", "map<string, list<null>>"),
    ],
)
def test_a_column_of_missing_values_only_is_like_any(one: str, other: str) -> None:
    """Pandas writes it without a type where a file happens to have no value."""
    assert not told((("n", one),), (("n", other),))
    assert not told((("n", other),), (("n", one),), (("n", other),))
    assert "int32 is the wider" in told((("n", "int16"),), (("n", "null"),), (("n", "int32"),))
