"""A shared machine: while a campaign runs, another user tries to run code in it, to read it, and to hang it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from eventmill.runtime.scratch import choose_scratch
from tests.chaos.conftest import PAYLOAD, Run

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user, too"),
]

GATE = """
        while events[-1] >= 40 and not os.path.exists(os.path.join(os.path.dirname(self.log), "go")):
            time.sleep(0.05)
"""
"""The campaign lasts until the test says so."""

OPEN_PAGES = {
    *("", "health", "metrics", "status", "json/counts.json", "json/identity.json", "sitemap.json"),
    *("workers", "tasks", "system", "groups", "open", "api/health"),
}
"""Pages that docs/security.md names: Dask's numbers, and of Prefect the programs of its pages."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may look into, unlike pytest's own."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def stranger(**request: Any) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.other_user", json.dumps(request)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout else None


@pytest.fixture
def trap() -> Iterator[None]:
    """What hung all workers: a pipe that somebody else put where scratch folders are."""
    places = {str(choose_scratch()), tempfile.gettempdir()}
    for place in places:
        shutil.rmtree(Path(place) / f"eventmill-{os.getuid()}-stranger", ignore_errors=True)  # of a killed test
        stranger(do="plant", folder=place, uid=os.getuid())
    yield
    for place in places:
        shutil.rmtree(Path(place) / f"eventmill-{os.getuid()}-stranger", ignore_errors=True)


@pytest.mark.usefixtures("trap")
def test_another_user_runs_nothing_reads_nothing_and_hangs_nobody(folder: Path) -> None:
    """Only the pages that are named in docs/security.md answer him, and all listen on loopback alone."""
    run = Run(folder, own_server=True)
    run.write(events=240)
    (folder / "payload.py").write_text(PAYLOAD.replace("time.sleep(self.seconds)", GATE))
    try:
        run.start()
        run.until_done(20)
        connections = [c for process in run.processes() for c in process.net_connections()]
        listening = [c.laddr for c in connections if c.status == psutil.CONN_LISTEN]
        assert {address.ip for address in listening} == {"127.0.0.1"}
        parents = {choose_scratch(), Path(tempfile.gettempdir())}
        shared = [str(path) for parent in parents for path in parent.glob("eventmill-*")]
        assert any("eventmill-code" in path for path in shared) and len(shared) > 2
        got = stranger(
            do="attack",
            ports=sorted({address.port for address in listening}),
            places=[str(folder / ".eventmill"), str(folder / "out"), *shared],
            mark=str(folder / "mark"),
        )
        assert got["uid"] != os.getuid()
        assert got["ran"] == []
        assert not (folder / "mark").exists()
        assert [path for path in got["read"] if "stranger" not in path] == []
        open_pages = {page.partition("/")[2] for page, status in got["pages"].items() if status == 200}
        assert open_pages <= OPEN_PAGES
        closed = {page.partition("/")[2]: status for page, status in got["pages"].items() if status == 401}
        assert {"api/flow_runs/filter", "api/block_documents/filter", "api/admin/settings"} <= set(closed)

        (folder / "go").touch()
        assert run.wait() == 0, run.said
        assert run.events_in_files() == dict.fromkeys(range(240), 1)
        for path in (folder / ".eventmill").rglob("*"):
            assert path.stat().st_mode & 0o077 == 0, path
        assert "Traceback" not in run.said
    finally:
        run.end()
