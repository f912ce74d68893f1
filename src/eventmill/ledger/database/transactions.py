"""The database of the ledger: opening, clock, transactions, and the only function that replaces spans."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa
from sqlalchemy import event, exc

from eventmill.core.ledger_url import check_not_behind_service
from eventmill.core.partition import check_replacement, in_order
from eventmill.core.ranges import Span
from eventmill.core.states import State, Verb
from eventmill.errors import LedgerError
from eventmill.ledger.database import schema
from eventmill.runtime.durable_files import make_private_folder

Clock = Callable[[], datetime]

KEPT_CONNECTIONS = 20
"""Of one process. More are opened where more threads read at once, and closed again."""

BUSY_SECONDS = 60.0
"""How long a writer waits for SQLite's only write lock. Measured with eight writers and full sync: 3.8 s."""

NETWORK_FILESYSTEMS = frozenset(
    [
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "lustre",
        "gpfs",
        "beegfs",
        "ceph",
        "glusterfs",
        "afs",
        "fuse.sshfs",
        "fuse.s3fs",
        "9p",
    ]
)
"""File systems on which SQLite's locks or shared memory do not work."""

SPAN_FIELDS = tuple(field.name for field in fields(Span))

# Statements that are created once are also compiled and cached once; creating them was half of a commit.
_NEXT_ATTEMPT = (
    sa.update(schema.counter)
    .where(schema.counter.c.name == "attempt")
    .values(value=schema.counter.c.value + 1)
    .returning(schema.counter.c.value)
)
_REMOVE_SPAN = sa.delete(schema.span).where(
    schema.span.c.input_id == sa.bindparam("b_input"),
    schema.span.c.start == sa.bindparam("b_start"),
    schema.span.c.stop == sa.bindparam("b_stop"),
)
_INSERT_SPAN = sa.insert(schema.span)
_SELECT_SPANS = sa.select(*(schema.span.c[name] for name in SPAN_FIELDS)).order_by(
    schema.span.c.input_id, schema.span.c.start
)
_SPANS_OF_BLOCK = _SELECT_SPANS.where(schema.span.c.block_id == sa.bindparam("b_block"))


class Database:
    """An open ledger database. One instance serves all threads of a process."""

    def __init__(self, engine: sa.Engine, clock: Clock | None) -> None:
        """`clock` can be set for tests; the default is the clock of the database."""
        self.engine = engine
        self.url = engine.url.render_as_string()
        self._clock = clock

    @property
    def address(self) -> str:
        """The same as `url`, for people: there is never a password in it."""
        return self.url

    def disconnect(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One transaction that may write: everything or nothing."""
        with _told_clearly(self.engine), _turn_of(self.engine), self.engine.begin() as tx:
            yield tx

    def write_ahead(self) -> None:
        """Switch on the write-ahead log, so that readers do not block a writer. The file keeps this setting.

        While another process is changing the setting, SQLite reports at once that the file is locked.
        """
        if self.engine.dialect.name == "sqlite":
            import stamina  # 30 ms, which readers need not wait

            with _told_clearly(self.engine):
                for attempt in stamina.retry_context(
                    on=sqlite3.OperationalError, timeout=BUSY_SECONDS, attempts=None
                ):
                    with attempt, closing(self.engine.raw_connection()) as connection:
                        connection.cursor().execute("PRAGMA journal_mode=WAL")

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One consistent view; never waits for writers."""
        engine = self.engine.execution_options(eventmill_reads=True)
        with _told_clearly(self.engine), engine.begin() as tx:
            yield tx

    def now(self, tx: sa.Connection) -> datetime:
        """The time of the ledger, by the clock of the database; for SQLite that is this machine."""
        here = self._time_here()
        if here is not None:
            return here
        now: datetime = tx.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        return now.astimezone(UTC)

    def time(self) -> datetime:
        """Now, by the clock of the ledger."""
        here = self._time_here()
        if here is not None:
            return here
        with self.reading() as tx:
            return self.now(tx)

    def _time_here(self) -> datetime | None:
        """Now, if no server has to be asked."""
        if self._clock is not None:
            return self._clock()
        return datetime.now(UTC) if self.engine.dialect.name == "sqlite" else None

    def next_attempt(self, tx: sa.Connection) -> int:
        """The next number of the ledger-wide sequence of attempts."""
        return int(tx.execute(_NEXT_ATTEMPT).scalar_one())


def replace_spans(
    tx: sa.Connection, verb: Verb, campaign_id: int, *, old: Sequence[Span], new: Iterable[Span]
) -> None:
    """Replace spans by spans that cover the same events: the only statement that ever changes a span.

    Raises `PartitionBroken` or `IllegalMove`, and `LedgerError` if the ledger does not have `old`.
    """
    after = list(new)
    check_replacement(verb, old, after)
    before_set, after_set = set(old), set(after)
    gone = [span for span in in_order(old) if span not in after_set]
    come = [span for span in in_order(after) if span not in before_set]
    if gone:
        keys = [{"b_input": s.input_id, "b_start": s.start, "b_stop": s.stop} for s in gone]
        result = tx.execute(_REMOVE_SPAN, keys)
        if result.rowcount != len(gone):
            raise LedgerError(f"'{verb}' met {result.rowcount} of {len(gone)} spans; nothing was changed.")
    insert_spans(tx, campaign_id, come)


def insert_spans(tx: sa.Connection, campaign_id: int, spans: Sequence[Span]) -> None:
    """Insert spans of events that are new in the ledger."""
    if spans:
        rows = [{name: getattr(s, name) for name in SPAN_FIELDS} | {"campaign_id": campaign_id} for s in spans]
        tx.execute(_INSERT_SPAN, rows)


def read_spans(tx: sa.Connection, *conditions: Any) -> list[Span]:
    """The spans that meet all conditions, in campaign order."""
    return [_span_from(row) for row in tx.execute(_SELECT_SPANS.where(*conditions))]


def read_spans_of_block(tx: sa.Connection, block_id: int) -> list[Span]:
    """The LEASED spans of one block, in order."""
    return [_span_from(row) for row in tx.execute(_SPANS_OF_BLOCK, {"b_block": block_id})]


def _span_from(row: Any) -> Span:
    input_id, start, stop, state, *more = row  # in the order of SPAN_FIELDS
    return Span(input_id, start, stop, State(state), *more)


def open_engine(url: str, *, exist: bool) -> sa.Engine:
    """An engine for `sqlite:///path` (or a plain path) or `postgresql+psycopg://…`; `LedgerError` if unusable."""
    parsed = _parse(url)
    if parsed.get_backend_name() != "sqlite":
        try:
            return sa.create_engine(parsed, pool_pre_ping=True)
        except (exc.NoSuchModuleError, ModuleNotFoundError) as error:
            raise LedgerError(f"no driver for the ledger {parsed!r}: {error}.") from None
    path = _path_of(parsed)
    _check_place(path, exist=exist)
    engine = sa.create_engine(
        parsed.set(database=str(path)),
        connect_args={"timeout": BUSY_SECONDS},
        pool_size=KEPT_CONNECTIONS,
        max_overflow=-1,  # one connection for each thread, so that no thread waits for another
    )
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def file_of(url: str) -> tuple[int, int] | None:
    """Which file a SQLite ledger is (device and inode), None while there is none, and for other databases.

    Raises `LedgerError` for what is no url.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() != "sqlite":
        return None
    try:
        found = _path_of(parsed).stat()
    except OSError:  # whoever opens it says what is wrong
        return None
    return found.st_dev, found.st_ino


def _parse(url: str) -> sa.URL:
    check_not_behind_service(url)  # also raises for a password, before anything else could repeat the url
    if "://" not in url:
        url = f"sqlite:///{url}"
    try:
        return sa.make_url(url)
    except (exc.ArgumentError, ValueError):  # the latter for a port that is no number
        raise LedgerError(f"'{url}' is not the address of a ledger: give a path or sqlite:///path.") from None


def _path_of(parsed: sa.URL) -> Path:
    return Path(parsed.database or "").absolute()


def _check_place(path: Path, *, exist: bool) -> None:
    try:
        if exist and not path.is_file():
            raise LedgerError(
                f"there is no ledger at {path}. Give the path of another one, or begin a campaign with "
                "'eventmill run CAMPAIGN.yaml'."
            )
        make_private_folder(path.parent)
    except OSError as error:
        raise LedgerError(f"the ledger's folder {path.parent} cannot be used: {error.strerror}.") from None
    if path.exists() and not path.is_file() and not path.is_dir():
        raise LedgerError(f"{path} is not a regular file, so it cannot be a ledger; choose another path.")
    kind = filesystem_kind(path.parent)
    if kind in NETWORK_FILESYSTEMS:
        raise LedgerError(
            f"{path} is on {kind}, where SQLite's locks do not hold; put the ledger on a local disk."
        )
    if not exist:
        with suppress(OSError):  # it is there; or it cannot be made, which SQLite will say better
            # For this user alone, and so is what SQLite puts beside it. Never one that is there: the kernel drops
            # the locks that this process has on a file, SQLite's too, when any handle of it is closed.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def filesystem_kind(folder: Path) -> str:
    """The type of the filesystem that holds `folder` (`ext4`, `nfs4`, …), empty if it cannot be told."""
    resolved = folder.resolve()
    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    for place in (resolved, *resolved.parents):
        if place in mounts:
            return mounts[place]
    return ""


def _on_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by _on_begin and by nobody else
    cursor = connection.cursor()
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "cache_size=-16000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _on_begin(connection: sa.Connection) -> None:
    reads = connection.get_execution_options().get("eventmill_reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


_turns: dict[str, threading.Lock] = {}
"""For each SQLite file: held by the thread of this process that writes."""


@contextmanager
def _turn_of(engine: sa.Engine) -> Iterator[None]:
    """Wait until no other thread of this process writes.

    SQLite has one writer, too, but who waits for it sleeps, up to 0.1 s each time, and looks again: of ten threads
    that write, most slept while nobody wrote. After `BUSY_SECONDS` it is left to SQLite to say what is wrong, and
    nobody waits for that thread again: an interrupt may have ended it between two steps, and it writes no more.
    """
    if engine.dialect.name != "sqlite":
        yield
        return
    file = str(engine.url.database)
    turn = _turns.setdefault(file, threading.Lock())
    is_mine = turn.acquire(timeout=BUSY_SECONDS)
    if not is_mine and _turns.get(file) is turn:
        _turns.pop(file, None)
    try:
        yield
    finally:
        if is_mine:
            turn.release()


os.register_at_fork(after_in_child=_turns.clear)  # the threads that hold them are not in the child


@contextmanager
def _told_clearly(engine: sa.Engine) -> Iterator[None]:
    try:
        yield
    except exc.IntegrityError:
        raise  # a constraint of ours: a defect, to be seen whole
    except (exc.SQLAlchemyError, sqlite3.Error) as error:  # the latter from listeners, and between two statements
        text = " ".join(str(getattr(error, "orig", None) or error).split())
        raise LedgerError(f"the ledger {engine.url!r} cannot be used: {text}.") from error
