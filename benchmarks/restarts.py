"""How soon a campaign goes on when who coordinates it is killed at a random moment; what is computed again.

Real runs of the real command. A killed flow process or Dask scheduler is followed by `eventmill run` again; a
killed Prefect server is started again by the run itself. And how soon a worker that joins begins its first event.
Times are seconds, medians over the seeds.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

import distributed
import httpx
import sqlalchemy as sa

from eventmill.ledger import Ledger
from eventmill.ledger.database import schema
from eventmill.prefect_api.server import api_server
from tests.chaos.conftest import Run
from tests.chaos.foreign_cluster import Elsewhere

EVENTS, SIZE = 240, 4
SEEDS = (11, 12, 13)
LOOK_SECONDS = 0.02

Figures = dict[str, float]


def measure() -> Figures:
    """For each that is killed: seconds until the campaign goes on, and what was computed again."""
    found: Figures = {}
    with tempfile.TemporaryDirectory(prefix="restarts-", ignore_cleanup_errors=True) as top:
        folder = Path(top)
        with api_server(folder / "prefect"):
            found |= _median("flow process", [_flow_process(folder / f"flow-{seed}", seed) for seed in SEEDS])
            found["joining seconds"] = median(_joining(folder / "joining"))
            found |= _median("Dask scheduler", [_scheduler(folder / f"dask-{seed}", seed) for seed in SEEDS])
        found |= _median("Prefect server", [_server(folder / f"server-{seed}", seed) for seed in SEEDS])
    return found


def _median(what: str, runs: list[Figures]) -> Figures:
    """Medians of seconds, sums of the rest."""
    return {
        f"{what} {name}": (median if name.endswith("seconds") else sum)([run[name] for run in runs])
        for name in runs[0]
    } | {f"{what} kills": float(len(runs))}


def _flow_process(folder: Path, seed: int) -> Figures:
    with _a_run(folder) as run:
        run.write(events=EVENTS, merge=60)
        run.start()
        run.until_done(random.Random(seed).randrange(4, 160))
        assert run.process is not None
        run.process.kill()
        run.process.wait()
        run.until(lambda: not run.processes())
        return _again(run)


def _scheduler(folder: Path, seed: int) -> Figures:
    folder.mkdir()
    elsewhere = Elsewhere(folder)
    try:
        with _a_run(folder) as run:
            _cluster(run, elsewhere)
            run.start()
            run.until_done(random.Random(seed).randrange(4, 160))
            elsewhere.scheduler.kill()
            run.wait()
            elsewhere.start_scheduler()
            _cluster(run, elsewhere)
            return _again(run, "--changed", "accept")
    finally:
        elsewhere.end()


def _joining(folder: Path) -> list[float]:
    """From a worker's registration to its first call of the payload, with one worker more each time."""
    folder.mkdir()
    elsewhere = Elsewhere(folder)
    seconds = []
    try:
        with _a_run(folder / "run") as run:
            _cluster(run, elsewhere)
            run.write(events=2000, merge=1000, cluster={"type": "address", "address": elsewhere.address})
            run.start()
            run.until_done(8)
            with distributed.Client(elsewhere.address, set_as_default=False) as client:
                for _ in SEEDS:
                    workers, callers = len(client.nthreads()), _callers(run)
                    elsewhere.start_worker("--preload", "eventmill.preload")
                    run.until(lambda workers=workers: len(client.nthreads()) > workers)
                    registered = time.monotonic()
                    run.until(lambda callers=callers: len(_callers(run)) > len(callers))
                    seconds.append(time.monotonic() - registered)
    finally:
        elsewhere.end()
    return seconds


def _callers(run: Run) -> set[str]:
    return {line.split()[0] for line in (run.folder / "calls.log").read_text().splitlines()}


def _cluster(run: Run, elsewhere: Elsewhere) -> None:
    run.until(lambda: elsewhere.is_listening)
    elsewhere.start_worker()
    run.write(events=EVENTS, merge=60, cluster={"type": "address", "address": elsewhere.address})


def _server(folder: Path, seed: int) -> Figures:
    with _a_run(folder, own_server=True) as run:
        run.write(events=EVENTS, merge=60)
        run.start()
        run.until_done(random.Random(seed).randrange(4, 100))
        (server,) = [p for p in run.processes() if "eventmill.prefect_api.server_process" in p.cmdline()]
        port = server.cmdline()[-1]
        server.kill()
        killed = time.monotonic()
        run.until(lambda: _answers(f"http://127.0.0.1:{port}/api/health"))
        back = time.monotonic() - killed
        assert run.wait() == 0, run.said
        return {"back seconds": back, **_computed_again(run, Counter(), committed=set())}


def _again(run: Run, *arguments: str) -> Figures:
    """Run again, and see how soon it leads, hands out its first block, and computes."""
    committed, before = run.committed(), _calls(run)
    (run.folder / "calls.log").unlink()
    ledger, record = run.ledger()
    leads = ledger.last_lead(record.id) or 0
    reserved = sa.select(sa.func.count()).select_from(schema.block).where(schema.block.c.leader_attempt > leads)
    begun = time.monotonic()
    run.start(*arguments)
    marks: dict[str, Callable[[], bool]] = {
        "lead seconds": lambda: (ledger.last_lead(record.id) or 0) > leads,
        "dispatch seconds": lambda: bool(_scalar(ledger, reserved)),
        "first call seconds": lambda: bool(run.calls()),
    }
    seen: Figures = {}
    while len(seen) < len(marks):
        for name, is_there in marks.items():
            if name not in seen and is_there():
                seen[name] = time.monotonic() - begun
        time.sleep(LOOK_SECONDS)
    assert run.wait() == 0, run.said
    return seen | _computed_again(run, before, committed=committed)


def _calls(run: Run) -> Counter[int]:
    return Counter(event for start, stop in run.calls() for event in range(start, stop))


def _computed_again(run: Run, before: Counter[int], *, committed: set[int]) -> Figures:
    """Events that were committed and computed again, events computed more than once in all, and wrong files."""
    now = _calls(run)
    times, files = before + now, run.events_in_files()
    return {
        "committed events again": float(sum(now[event] for event in committed)),
        "ranges again": sum(number - 1 for number in times.values()) / SIZE,
        "events not exact": float(sum(abs(files[event] - 1) for event in range(EVENTS))),
    }


def _scalar(ledger: Ledger, statement: sa.Select[tuple[int]]) -> int:
    with ledger.reading() as tx:
        return int(tx.execute(statement).scalar_one())


def _answers(url: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(url, timeout=2).is_success
    return False


@contextmanager
def _a_run(folder: Path, *, own_server: bool = False) -> Iterator[Run]:
    run = Run(folder, own_server=own_server)
    try:
        yield run
    finally:
        run.end()
