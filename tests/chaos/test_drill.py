"""The real command `eventmill drill`, on a real Dask cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.system


def test_a_drill_on_a_dask_cluster_is_exact(tmp_path: Path, prefect_server: str) -> None:
    """Whatever a seed decides is done to workers, outputs and commits; the files hold each event once."""
    command = [
        str(Path(sys.executable).with_name("eventmill")),
        "drill",
        "--json",
        "--seed",
        "5",
        "--workers",
        "2",
    ]
    done = subprocess.run(
        [*command, "--events", "600", "--seconds-per-event", "0.02"],
        cwd=tmp_path,
        env=os.environ | {"PREFECT_API_URL": prefect_server},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["exact"]
    assert (answer["missing"], answer["duplicates"], answer["wrong"], answer["accepted_twice"]) == (0, 0, 0, 0)
    assert answer["harmed"] >= 2
    assert answer["losses"] >= 1
    assert len(answer["faults"]) == 7
    (verdict,) = tmp_path.glob(".eventmill/drills/*/out/_drill-5-report.json")
    assert json.loads(verdict.read_text())["losses"] == answer["losses"]
