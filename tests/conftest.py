"""Fixtures for all rooms. Every ledger that a test touched is audited when the test ends."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, settings

from eventmill.access.s3 import Bucket
from eventmill.core.ranges import NewInput
from eventmill.core.records import CampaignRow, Rules
from eventmill.core.work_order import PayloadCode
from eventmill.ledger import Ledger, create_ledger
from eventmill.ledger.memory import MemoryLedger
from tests.long_tests import LONG
from tests.servers import S3Server, environment, serve_moto, serve_rclone

settings.register_profile("busy machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")

# Where the tests are started by `nohup`, or behind a shell's `&`, these would be ignored, by our children too.
for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)

SHARED = Path(__file__).parents[2] / "shared" / "data"


MEMORY = Path("/dev/shm")
ALL_TESTS = 2_500
"""With so many, none was left out by the command line."""
ROOM_BYTES = 6_000_000_000
"""What all tests at once may fill; with less they use the disk."""


def pytest_configure(config: pytest.Config) -> None:
    """Folders of tests lie in memory where there is room: no power fails here, and a disk takes its time."""
    if hasattr(config, "workerinput") or config.option.basetemp is not None:
        return
    with suppress(OSError):
        if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM_BYTES:
            for left in MEMORY.glob(f"eventmill-tests-{os.getuid()}-*"):
                if not psutil.pid_exists(int(left.name.rpartition("-")[2])):
                    shutil.rmtree(left, ignore_errors=True)
            config.option.basetemp = MEMORY / f"eventmill-tests-{os.getuid()}-{os.getpid()}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `tests/long_tests.py` names; a name that is nobody's is refused where all tests are collected."""
    unknown = set(LONG)
    for item in items:
        name = item.nodeid.rpartition("/")[2]
        if name in LONG:
            item.add_marker(pytest.mark.long)
            unknown.discard(name)
    if unknown and len(items) >= ALL_TESTS:
        raise pytest.UsageError(f"tests/long_tests.py names tests that there are not: {sorted(unknown)}")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Memory is given back."""
    folder = config.option.basetemp
    if not hasattr(config, "workerinput") and folder is not None and Path(folder).parent == MEMORY:
        shutil.rmtree(folder, ignore_errors=True)


class SettableClock:
    """A clock that only tests move, in either direction."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture(autouse=True)
def every_ledger_is_audited(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a test did, each input of each campaign of each ledger is still partitioned exactly."""
    touched: list[Any] = []
    monkeypatch.setattr("eventmill.ledger.memory._OPEN", {})  # each test has its own
    for kind in (Ledger, MemoryLedger):
        _remember(monkeypatch, kind, touched)
    yield
    for ledger in touched:
        if isinstance(ledger, MemoryLedger) or _is_ledger(ledger):
            for campaign in ledger.campaigns():
                assert ledger.audit(campaign.id) == ()
        ledger.disconnect()


def _remember(monkeypatch: pytest.MonkeyPatch, kind: type, touched: list[Any]) -> None:
    original: Any = kind.__init__

    def remember(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        touched.append(self)

    monkeypatch.setattr(kind, "__init__", remember)


def _is_ledger(ledger: Ledger) -> bool:
    import sqlalchemy as sa

    from eventmill.errors import LedgerError
    from eventmill.ledger.database import schema

    database = ledger.engine.url.database
    if not database or not Path(database).is_file():
        return False
    try:
        with ledger.reading() as tx:
            if not sa.inspect(tx).has_table("about"):
                return False
            return tx.execute(sa.select(schema.about.c.version)).scalar() == schema.VERSION
    except LedgerError:
        return False


@pytest.fixture
def long_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lead lasts for an hour though nobody renews it: on a busy machine a test may outlast a real one."""
    monkeypatch.setattr("eventmill.ledger.commands.campaigns.LEADER_SECONDS", 3600.0)


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server that checks who one is; its buckets `data` and `out` are folders on the disk."""
    folder = tmp_path_factory.mktemp("rclone")
    for bucket in ("data", "out"):
        (folder / bucket).mkdir()
    with serve_rclone(folder) as server:
        yield server


@pytest.fixture(scope="session")
def moto_server() -> Iterator[S3Server]:
    """An S3 server that heeds conditions and lets everybody in, with buckets `data` and `out`."""
    with serve_moto() as server, environment(server.environment):
        for bucket in ("data", "out"):
            Bucket(bucket).call("create_bucket")
        yield server


@pytest.fixture
def clock() -> SettableClock:
    """A settable clock."""
    return SettableClock()


@pytest.fixture
def ledger(tmp_path: Path, clock: SettableClock) -> Ledger:
    """A fresh SQLite ledger under a settable clock."""
    return create_ledger(str(tmp_path / "ledger.sqlite"), clock=clock)


CODE = PayloadCode("payload.py:Name", "payload:Name", "0123456789abcdef", b"zip")


@pytest.fixture
def open_campaign(ledger: Ledger) -> Callable[..., CampaignRow]:
    """Opens a campaign with inputs of the given numbers of events."""

    def opened(*events: int, name: str = "c", **rules: Any) -> CampaignRow:
        return new_campaign(ledger, events, name=name, **rules)

    return opened


def new_campaign(ledger: Ledger, events: tuple[int, ...], *, name: str = "c", **rules: Any) -> CampaignRow:
    """A campaign with one input per number, merged at 1000 bytes unless said otherwise."""
    values: dict[str, Any] = {"failures": 3, "losses": 5, "lease": timedelta(seconds=60), "target": 1.0}
    values |= {"merge_bytes": 1000} if "merge_events" not in rules else {}
    campaign = ledger.open_campaign(
        name, spec={"name": name}, rules=Rules(**values | rules), code=CODE, store_url="store"
    )
    ledger.add_inputs(campaign.id, [NewInput(f"file{i}", n, f"id{i}") for i, n in enumerate(events)])
    return campaign
