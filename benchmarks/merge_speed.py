"""Merging to Parquet, beside a plain copy of the same range outputs as the store makes it: hashed, synced, named.

Both read the same files and both end with bytes on the disk, in turns, several times; the medians count.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from eventmill.core.work_order import FormatSpec
from eventmill.formats import Part, open_format
from eventmill.store import open_store

ROUNDS = 5
FORMAT = open_format(FormatSpec("parquet"))


def measure() -> dict[str, float]:
    """Seconds and bytes of both, and how fast the merge is against the copy, for few large and for many small."""
    found: dict[str, float] = {}
    for name, count, table in (("large", 40, partial(muons, 70_000)), ("small", 500, partial(wide, 110))):
        with tempfile.TemporaryDirectory() as folder:
            found |= {f"{name}_{key}": value for key, value in _compared(Path(folder), count, table).items()}
    return found


def muons(rows: int, seed: int) -> pa.Table:
    """Event numbers, masses and weights, and two muons on average with four properties: some 5 MB."""
    random = np.random.default_rng(seed)
    numbers = random.poisson(2, rows)
    offsets = pa.array(np.concatenate([[0], np.cumsum(numbers)]).astype(np.int32))
    total = int(numbers.sum())
    single = {
        "event": np.arange(rows),
        "mass": random.normal(91, 3, rows),
        "weight": random.normal(1, 0.1, rows),
        "met": random.exponential(20, rows).astype(np.float32),
    }
    each = {
        "pt": random.exponential(30, total).astype(np.float32),
        "eta": random.normal(0, 1, total).astype(np.float32),
        "phi": random.uniform(-3, 3, total).astype(np.float32),
        "charge": random.choice([-1, 1], total).astype(np.int32),
    }
    lists = {f"Muon_{name}": pa.ListArray.from_arrays(offsets, pa.array(values)) for name, values in each.items()}
    return pa.table({**single, **lists})


def wide(rows: int, seed: int) -> pa.Table:
    """50 columns: some 27 kB."""
    random = np.random.default_rng(seed)
    return pa.table({f"column_{n}": random.normal(0, 1, rows).astype(np.float32) for n in range(50)})


def _compared(folder: Path, count: int, table: Callable[[int], pa.Table]) -> dict[str, float]:
    store = open_store(str(folder / "store"))
    parts, first = [], 0
    for number in range(count):
        made = table(number)
        written = FORMAT.write_range(made, folder / "range", events=len(made), schema=None, declared=None)
        stored = store.put(f"_ranges/{number}.arrow", folder / "range")
        opened, stop = partial(store.open, stored.key), first + len(made)
        parts.append(
            Part(opened, stored.key, stored.bytes, stored.sha256, len(made), "a.root", first, stop, first)
        )
        first = stop

    def merge() -> None:
        FORMAT.merge(parts, schema=written.schema, path=folder / "merged")
        store.put("merged.parquet", folder / "merged")

    def copy() -> None:
        for number in range(count):
            store.put(f"copy/{number}.arrow", folder / "store" / "_ranges" / f"{number}.arrow")

    merging, copying = [], []
    for _ in range(ROUNDS):
        copying.append(_timed(copy))
        store.delete(f"copy/{number}.arrow" for number in range(count))
        merging.append(_timed(merge))
        merged = store.size("merged.parquet") or 0
        store.delete(["merged.parquet"])
    ratio = statistics.median(copying) / statistics.median(merging)
    return {
        "bytes": float(sum(part.bytes for part in parts)),
        "merged_bytes": float(merged),
        "merge_seconds": statistics.median(merging),
        "copy_seconds": statistics.median(copying),
        "ratio": ratio,
    }


def _timed(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def main() -> None:
    """Print the ratios."""
    found = measure()
    for name, what in (("large", "40 outputs of muons"), ("small", "500 outputs of 50 columns")):
        copied, merged = found[f"{name}_bytes"] / 1e6, found[f"{name}_merged_bytes"] / 1e6
        print(
            f"{what}: {copied:.0f} MB to {merged:.0f} MB merged in {found[f'{name}_merge_seconds']:.2f} s, "
            f"copied in {found[f'{name}_copy_seconds']:.2f} s: {found[f'{name}_ratio']:.2f} of the copy's speed"
        )


if __name__ == "__main__":
    main()
