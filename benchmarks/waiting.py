"""What a person waits for: commands, a small campaign, and the same rows with pandas and dask.dataframe.

`python -m benchmarks.waiting` prints a table, `python -m benchmarks.waiting 2` one that was measured while two
processes beside it wanted a core each. Each time is of a process, from its start to its end; the best and worst
of `REPEATS`. At first the home folder is empty: that run is the first one on its machine.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from eventmill import LedgerError, open_campaign

ROWS = 200_000
REPEATS = 3

EVENTMILL = [sys.executable, "-m", "eventmill"]

GOALS = {
    "`eventmill --help`": 0.3,
    "`status`": 0.4,
    "run again of a finished campaign": 1.0,
    "refusal, its campaign differs": 1.0,
    "first event of 200,000 rows": 6.0,
    "200,000 rows, all": 8.0,
}

PAYLOAD = """
def same(events, where):
    return events
"""

PANDAS = "import pandas as pd; pd.read_parquet('rows.parquet').to_parquet('pandas.parquet')"
DASK = "import dask.dataframe as dd; dd.read_parquet('rows.parquet').to_parquet('dask')"


def measure() -> dict[str, list[float]]:
    """Seconds of each, by its name, `REPEATS` times."""
    times: dict[str, list[float]] = {name: [] for name in GOALS}
    times |= {"pandas reads and writes them": [], "dask.dataframe reads and writes them": []}
    with tempfile.TemporaryDirectory(prefix="eventmill-waiting-") as made:
        home = Path(made) / "home"
        home.mkdir()
        environment = os.environ | {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
        for number in range(REPEATS):
            folder = Path(made) / str(number)
            folder.mkdir()
            _write(folder)
            first, whole = _run(folder, environment)
            times["first event of 200,000 rows"].append(first)
            times["200,000 rows, all"].append(whole)
            for name, words, code in (
                ("`eventmill --help`", ["--help"], 0),
                ("`status`", ["status", "campaign.yaml"], 0),
                ("run again of a finished campaign", ["run", "campaign.yaml"], 0),
                ("refusal, its campaign differs", ["run", "changed.yaml"], 5),
            ):
                times[name].append(_seconds([*EVENTMILL, *words], folder, environment, code=code))
            for name, program in (("pandas", PANDAS), ("dask.dataframe", DASK)):
                seconds = _seconds([sys.executable, "-c", program], folder, environment)
                times[f"{name} reads and writes them"].append(seconds)
    return times


def _write(folder: Path) -> None:
    values = np.random.default_rng(1).normal(size=ROWS)
    pq.write_table(pa.table({"id": np.arange(ROWS), "x": values}), folder / "rows.parquet")
    (folder / "payload.py").write_text(PAYLOAD)
    campaign = {
        "name": "waiting",
        "inputs": {"files": ["rows.parquet"]},
        "payload": {"callable": "payload.py:same"},
        "output": {"store": "results"},
    }
    (folder / "campaign.yaml").write_text(yaml.safe_dump(campaign))
    (folder / "changed.yaml").write_text(yaml.safe_dump(campaign | {"target": 0.9}))


def _run(folder: Path, environment: Mapping[str, str]) -> tuple[float, float]:
    """Seconds from the command to the first committed event, and to the end of the process."""
    begun = time.monotonic()
    running = subprocess.Popen(
        [*EVENTMILL, "run", "campaign.yaml"],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    first = None
    while running.poll() is None:
        if first is None and _has_output(folder):
            first = time.monotonic() - begun
        time.sleep(0.05)
    if running.returncode != 0 or _events(folder) != ROWS:
        raise SystemExit(f"the run ended with exit code {running.returncode} and {_events(folder):,} events")
    whole = time.monotonic() - begun
    return (whole if first is None else first), whole


def _has_output(folder: Path) -> bool:
    """Whether an event is committed; looked up without what would take a core from the run."""
    address = f"file:{folder / '.eventmill/ledger.sqlite'}?mode=ro"
    with suppress(sqlite3.Error), closing(sqlite3.connect(address, uri=True)) as ledger:
        return ledger.execute("SELECT 1 FROM output LIMIT 1").fetchone() is not None
    return False


def _events(folder: Path) -> int:
    with suppress(LedgerError):
        return open_campaign("waiting", ledger=folder / ".eventmill/ledger.sqlite").counts().done
    return 0


def _seconds(command: Sequence[str], folder: Path, environment: Mapping[str, str], *, code: int = 0) -> float:
    begun = time.monotonic()
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - begun
    if ended.returncode != code:
        raise SystemExit(f"{command} ended with exit code {ended.returncode}: {ended.stderr}")
    return seconds


@contextmanager
def beside(number: int) -> Iterator[None]:
    """During the `with` block, so many processes want a core each."""
    burning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for process in burning:
            process.send_signal(signal.SIGKILL)
            process.wait()


def main(number: int) -> None:
    """Print the table."""
    with beside(number):
        times = measure()
    told = f"{number} processes beside it" if number else "nothing beside it"
    print(f"| {os.cpu_count()} cores, {told} | best, s | worst, s | goal, s |\n|---|---|---|---|")
    for name, seconds in times.items():
        print(f"| {name} | {min(seconds):.2f} | {max(seconds):.2f} | {GOALS.get(name, '')} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
