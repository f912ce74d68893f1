"""The laws of the merge: the bytes depend on the rows alone, and memory does not depend on their number."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventmill.formats.arrow_ranges import BATCH_BYTES
from eventmill.formats.parquet import ROW_GROUP_BYTES, ROW_GROUP_ROWS, write_merged
from eventmill.formats.range_outputs import IN_MEMORY_BYTES
from tests.engine.parquet_parts import digest, muons, parts_of, stored

LARGE = muons(2 * ROW_GROUP_ROWS + 1000)
columns = {
    "float": pa.float32(),
    "flag": pa.bool_(),
    "text": pa.string(),
    "list": pa.list_(pa.float64()),
    "texts": pa.list_(pa.string()),
    "record": pa.struct([("x", pa.int8()), ("y", pa.list_(pa.int16()))]),
    "time": pa.timestamp("us", "UTC"),
    "blob": pa.large_binary(),
}
rows_of_all_kinds = st.lists(
    st.fixed_dictionaries(
        {
            "float": st.none() | st.floats(width=32),
            "flag": st.none() | st.booleans(),
            "text": st.none() | st.sampled_from(["", "mu", "ee"]) | st.text(max_size=4),
            "list": st.none() | st.lists(st.none() | st.floats(), max_size=3),
            "texts": st.none() | st.lists(st.none() | st.text(max_size=3), max_size=3),
            "record": st.none() | st.fixed_dictionaries(
                {"x": st.none() | st.integers(0, 9), "y": st.none() | st.lists(st.integers(0, 9), max_size=2)}
            ),
            "time": st.none() | st.integers(0, 2**50),
            "blob": st.none() | st.binary(max_size=5),
        }
    ),
    max_size=40,
)  # fmt: skip
options_of_parts = st.fixed_dictionaries(
    {
        "compression": st.sampled_from([None, "lz4", "zstd"]),
        "batch_rows": st.sampled_from([1, 7, 30_000, 1 << 20]),
    }
)


def same_values(one: pa.Table, other: pa.Table) -> bool:
    """Equal to the last bit: NaN equals NaN."""
    return bool(one.schema.equals(other.schema)) and str(one.to_pylist()) == str(other.to_pylist())


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=rows_of_all_kinds, options=options_of_parts, data=st.data())
def test_the_bytes_depend_on_the_rows_alone(
    tmp_path: Path, rows: list[dict[str, object]], options: dict[str, object], data: st.DataObject
) -> None:
    """However the rows were cut into parts, and however these were stored: one sha256, and the same rows."""
    table = pa.Table.from_pylist(rows, schema=pa.schema(columns.items()))
    stops = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=6)))
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    count = write_merged(parts_of(table, []), schema=table.schema, path=whole)
    write_merged(parts_of(table, stops, **options), schema=table.schema, path=cut)
    assert digest(whole) == digest(cut)
    assert count == len(rows)
    assert same_values(pq.read_table(cut).replace_schema_metadata(None), table)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stops=st.lists(st.integers(0, len(LARGE)), max_size=5).map(sorted),
    batch_rows=st.sampled_from([50_000, 65_536, 1 << 20]),
)
def test_the_bytes_are_the_same_over_many_pages_and_row_groups(
    tmp_path: Path, stops: list[int], batch_rows: int
) -> None:
    """Pages, dictionaries and row groups end where the output says, not where a part ends."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    write_merged(parts_of(LARGE, []), schema=LARGE.schema, path=whole)
    write_merged(parts_of(LARGE, stops, batch_rows=batch_rows), schema=LARGE.schema, path=cut)
    assert digest(whole) == digest(cut)
    metadata = pq.read_metadata(cut)
    sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert sizes == [ROW_GROUP_ROWS, ROW_GROUP_ROWS, 1000]


def test_ranges_of_one_event_merge_to_the_same_bytes(tmp_path: Path) -> None:
    """The extreme of cutting: every row is a part."""
    table = muons(300)
    write_merged(parts_of(table, []), schema=table.schema, path=tmp_path / "whole")
    write_merged(parts_of(table, range(1, 300)), schema=table.schema, path=tmp_path / "cut")
    assert digest(tmp_path / "whole") == digest(tmp_path / "cut")


def test_wide_rows_make_short_row_groups_of_the_same_bytes(tmp_path: Path) -> None:
    """Rows of 100 kB: 65,536 of them would be 6.5 GB, so a group has 1,024."""
    wide = pa.table({"image": pa.array([bytes([i % 7]) * 100_000 for i in range(1500)])})
    write_merged(parts_of(wide, []), schema=wide.schema, path=tmp_path / "whole")
    write_merged(parts_of(wide, [1, 999, 1400]), schema=wide.schema, path=tmp_path / "cut")
    assert digest(tmp_path / "whole") == digest(tmp_path / "cut")
    metadata = pq.read_metadata(tmp_path / "cut")
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [1024, 476]


MERGE_MUCH = """
import sys
from functools import partial
from pathlib import Path
import pyarrow as pa
from eventmill.formats import Part
from eventmill.formats.parquet import write_merged

stored, rows, times, merged, sha256 = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:]
part = Part(partial(open, stored, "rb"), "part", stored.stat().st_size, sha256, rows, "a.root", 0, rows, 0)
schema = pa.ipc.open_file(str(stored)).schema

def resident():
    status = Path("/proc/self/status")  # elsewhere than on Linux only Arrow's own peak is checked
    peaks = [line.split()[1] for line in status.open() if "VmHWM" in line] if status.exists() else [0]
    return 1024 * int(peaks[0])

before = resident()
write_merged([part] * times, schema=schema, path=Path(merged))
print(pa.default_memory_pool().max_memory(), resident() - before)
"""


@pytest.mark.parametrize(("compression", "small"), [(None, False), ("zstd", True)])
def test_memory_does_not_depend_on_how_much_is_merged(
    tmp_path: Path, compression: str | None, small: bool
) -> None:
    """Merging 640 MB of rows in parts of 160 MB takes a row group and what is fetched ahead.

    Measured in a process of its own, for parts copied to disk and for parts held in memory.
    """
    rows, times = 160_000, 4
    table = pa.table({"event": np.arange(rows), "noise": pa.array([bytes(1000)] * rows)})
    content = stored(table, compression=compression, batch_rows=BATCH_BYTES // 1000)
    assert (len(content) <= IN_MEMORY_BYTES) is small
    (tmp_path / "part").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    arguments = [str(tmp_path / "part"), str(rows), str(times), str(tmp_path / "merged"), sha256]
    ran = subprocess.run(
        [sys.executable, "-c", MERGE_MUCH, *arguments], capture_output=True, text=True, check=True
    )
    bound = ROW_GROUP_BYTES + 2 * BATCH_BYTES
    assert times * table.nbytes > 3 * bound
    in_arrow, in_process = map(int, ran.stdout.split())
    assert in_arrow < bound
    # Bytes read through Python are not Arrow's, and its allocator keeps what was freed.
    assert in_process < 2.5 * bound
    assert pq.read_metadata(tmp_path / "merged").num_rows == times * rows
