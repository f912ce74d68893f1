"""Types that Eventmill chooses for text columns: each value that is read is the one that was written."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eventmill.core.ranges import Description
from eventmill.core.work_order import SourceSpec
from eventmill.errors import CampaignError, InputError
from eventmill.formats.schemas import schema_from_columns
from eventmill.sources import find_inputs, inspect_input, open_source, text_rows
from eventmill.sources.layouts import disagreement, layouts_of
from eventmill.sources.text_types import with_common_types

BIG = 10376293541461622785


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a few rows have many pieces."""
    monkeypatch.setattr(text_rows, "PIECE_BYTES", 40)
    monkeypatch.setattr(text_rows, "LEAST_STEP_BYTES", 12)


def written(folder: Path, values: list[str], kind: str, name: str = "in") -> str:
    path = folder / f"{name}.{kind}"
    lines = ["x", *values] if kind == "csv" else [f'{{"x": {value}}}' for value in values]
    path.write_text("\n".join(lines))
    return str(path)


def column(url: str, *types: tuple[str, str]) -> pa.ChunkedArray:
    """The values as a worker reads them, with the index as the ledger keeps it."""
    spec = SourceSpec(url.rpartition(".")[2], types=types)
    found = inspect_input(url, spec)
    index = json.loads(json.dumps(found.index))
    return open_source(url, spec, index=index).read(0, found.events)["x"]


NUMBERS = st.one_of(
    st.integers(-(2**64), 2**65), st.integers(0, 99), st.integers(2**63 - 3, 2**63 + 3), st.integers(2**53, 2**64)
)


@settings(max_examples=150, deadline=None)
@given(
    numbers=st.lists(NUMBERS, min_size=1, max_size=12),
    kind=st.sampled_from(["csv", "jsonl"]),
    fractions=st.booleans(),
)
@example(numbers=[BIG, BIG + 1, BIG + 2], kind="csv", fractions=False)
@example(numbers=[2**53, 2**53 + 1], kind="jsonl", fractions=True)
@example(numbers=[*range(30), BIG], kind="csv", fractions=False)
@example(numbers=[BIG, *range(30)], kind="jsonl", fractions=False)
def test_every_whole_number_that_is_read_is_the_one_that_was_written(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int], kind: str, fractions: bool
) -> None:
    """Within one file, beside fractions or not; otherwise the file is refused with row and column."""
    url = written(tmp_path_factory.mktemp("n"), [*map(str, numbers), *["0.5"] * fractions], kind)
    as_int = min(numbers) >= -(2**63) and max(numbers) < 2**63
    as_uint = min(numbers) >= 0 and max(numbers) < 2**64
    exact = all(abs(number) <= 2**53 for number in numbers)
    if exact if fractions else (as_int or as_uint):
        assert column(url).to_pylist() == [*numbers, *[0.5] * fractions]
    else:
        with pytest.raises(InputError, match=r"row [\d,]+, column 'x': .*inputs\.types") as error:
            column(url)
        assert "\n" not in str(error.value)


@settings(max_examples=100, deadline=None)
@given(files=st.lists(st.lists(NUMBERS, min_size=1, max_size=4), min_size=1, max_size=3), fractions=st.booleans())
@example(files=[[2**53 + 1]], fractions=True)
@example(files=[[-1], [2**63]], fractions=False)
def test_a_common_type_of_files_changes_no_whole_number(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[int]], fractions: bool
) -> None:
    """Files that have no such type keep their own, and are told apart."""
    folder = tmp_path_factory.mktemp("n")
    texts = [[str(n) for n in numbers] for numbers in files] + [["0.5"]] * fractions
    found = []
    for number, text in enumerate(texts):
        try:
            found.append(inspect_input(written(folder, text, "csv", f"f{number}"), SourceSpec("csv")))
        except InputError:
            return
    common = with_common_types(found)
    for item, text in zip(common, texts, strict=True):
        values = open_source(item.url, SourceSpec("csv"), index=item.index).read(0, item.events)["x"].to_pylist()
        assert values == [float(each) if "." in each else int(each) for each in text]
    if len({item.layout for item in common}) > 1:
        assert "column 'x'" in (disagreement(layouts_of(common), results_have_types=False) or "")


@pytest.mark.parametrize(
    ("values", "kind", "said"),
    [
        (["1", "1e400"], "csv", "row 2, column 'x': 1e400 is too large for float64"),
        (["1"] * 30 + ["1e39"], "csv", "row 31, column 'x': 1e39 is too large for float32"),
        (["1", "1e39"], "jsonl", r"row 2, column 'x': 1e\+39 is too large for float32"),
        (["1", "1e400"], "jsonl", "row 2 cannot be read: .*too big"),
    ],
)
def test_a_number_that_is_too_large_for_its_type_is_refused(
    tmp_path: Path, values: list[str], kind: str, said: str
) -> None:
    """With its row; it never becomes infinite."""
    types = (("x", "float32"),) if "float32" in said else ()
    with pytest.raises(InputError, match=said):
        column(written(tmp_path, values, kind), *types)


def test_infinite_numbers_that_are_written_stay(tmp_path: Path) -> None:
    """And so do large fractions."""
    url = written(tmp_path, ["inf", "-inf", "1e300", "NaN"], "csv")
    assert column(url).to_pylist() == [float("inf"), float("-inf"), 1e300, None]


FAR, HALF = "9999-12-31 00:00:00", "2020-01-01 00:00:00.5"


@pytest.mark.parametrize(
    "values",
    [[FAR, HALF], [HALF, FAR], ["9999-12-31", HALF], [HALF, "0001-01-01"], ["0x10", "1.5"], ["1.5", "0x10"]],
)
@pytest.mark.parametrize("between", [0, 9])
def test_a_type_that_is_chosen_fits_each_value(tmp_path: Path, values: list[str], between: int) -> None:
    """A day that nanoseconds do not reach, and 0x10 beside a fraction: in one piece of a file, and in several."""
    first, last = values
    rows = [*[first] * (between + 1), *[last] * (between + 1)]
    assert column(written(tmp_path, rows, "csv")).to_pylist() == rows
    urls = [written(tmp_path, [value], "csv", f"f{number}") for number, value in enumerate(values)]
    common = with_common_types([inspect_input(url, SourceSpec("csv")) for url in urls])
    for item in common:  # each row can be read, whatever the files have in common
        open_source(item.url, SourceSpec("csv"), index=item.index).read(0, 1)
    assert disagreement(layouts_of(common), results_have_types=False) is not None


def test_times_of_different_units_are_times(tmp_path: Path) -> None:
    """As far as nanoseconds reach."""
    rows: list[Any] = ["2020-01-01", HALF] * 9
    found = column(written(tmp_path, rows, "csv"))
    assert pa.types.is_timestamp(found.type) and found[0].as_py() == datetime(2020, 1, 1)


def test_an_unknown_type_is_told_by_its_key_in_the_campaign() -> None:
    """Which is where it is corrected."""
    with pytest.raises(CampaignError, match=r"inputs\.types, column 'flux': unknown type 'flaot32'"):
        schema_from_columns({"flux": "flaot32"}, key="inputs.types")


def test_one_and_true_are_different_parameters() -> None:
    """Though Python has them equal; the order of names is nothing."""
    one, real, yes = (Description(parameters={"k": value}) for value in (1, 1.0, True))
    assert one != real and one != yes and real != yes and one == Description(parameters={"k": 1})
    assert Description("a", {"k": 1, "l": 2}) == Description("a", {"l": 2, "k": 1})


def test_one_input_with_parameters_that_differ_in_kind_is_refused(tmp_path: Path) -> None:
    """As any other two things that are said of it."""
    url = written(tmp_path, ["1"], "csv")
    said = [(url, Description(parameters={"k": value})) for value in (1, True)]
    with pytest.raises(InputError, match="says two things of"):
        find_inputs(said)
