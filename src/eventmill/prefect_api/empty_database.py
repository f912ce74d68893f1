"""An empty database of a Prefect server, which a start copies: Prefect's migrations take six seconds.

It has Prefect's types of blocks, which a server would otherwise register at each start: a second or two of CPU.

For the version of Prefect in the lock it comes with Eventmill, as SQL (`make empty-database` writes it). For
others it is kept from the first start on, in the user's cache folder (`$XDG_CACHE_HOME/eventmill`, else
`~/.cache/eventmill`). Where it cannot be kept or read, Prefect makes its database itself, as it always does.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

from eventmill.runtime.durable_files import make_private_folder

LEFT_SECONDS = 600.0
"""A copy that is unfinished for so long will not be finished."""


def kept_database() -> Path:
    """Where the empty database of the installed Prefect is kept."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "eventmill" / f"prefect-{version('prefect')}-with-blocks.sqlite"


def shipped_database() -> Path:
    """Where the empty database of the installed Prefect would be if it came with Eventmill."""
    return Path(__file__).with_name(f"prefect-{version('prefect')}.sql")


def has_block_types(database: Path) -> bool:
    """Whether Prefect's types of blocks are in a database. False if it cannot be read."""
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as read:
            return bool(read.execute("SELECT 1 FROM block_type LIMIT 1").fetchall())
    except sqlite3.Error:
        return False


def provide_database(database: Path, migrate: Callable[[], None]) -> None:
    """Make `database` from the one that was shipped, or from the kept one. If there is neither, `migrate`.

    That makes `database`, which is kept. Does nothing if `database` exists. Call it before a server uses it.
    """
    if database.exists() or _write(shipped_database(), database):
        return
    with suppress(OSError, RuntimeError):  # the kept one cannot be read, or there is no home folder
        kept = kept_database()
        if _is_ours_alone(kept.parent) and _is_ours_alone(kept) and _copy(kept, database):
            return
    migrate()
    with suppress(OSError, RuntimeError):  # it cannot be kept
        kept = kept_database()
        make_private_folder(kept.parent)
        for left in kept.parent.glob("*.new"):  # by a server that was killed while it copied
            if time.time() - left.stat().st_mtime > LEFT_SECONDS:
                left.unlink(missing_ok=True)
        _copy(database, kept)


def _write(shipped: Path, target: Path) -> bool:
    """Make a database from SQL, at once or not at all. Whether it was made."""
    try:
        with _beside(target) as new:
            with closing(sqlite3.connect(new)) as made:
                made.executescript(shipped.read_text())
                made.execute("SELECT version_num FROM alembic_version")
            new.replace(target)
        return True
    except (OSError, sqlite3.Error):
        return False


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """Where a database is made that then replaces `target` at once; what is left there in the end is removed."""
    new = target.with_name(f"{target.name}.{os.getpid()}.new")
    try:
        yield new
    finally:
        new.unlink(missing_ok=True)


def _is_ours_alone(path: Path) -> bool:
    """Whether it belongs to this user, and nobody else can write it. `OSError` if it does not exist."""
    status = path.stat()
    return status.st_uid == os.getuid() and not status.st_mode & 0o022


def _copy(source: Path, target: Path) -> bool:
    """Copy an undamaged database, at once or not at all. Whether it was copied."""
    try:
        with _beside(target) as new:
            with closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as old:
                if old.execute("PRAGMA quick_check").fetchall() != [("ok",)]:
                    return False
                if not old.execute("SELECT version_num FROM alembic_version").fetchall():
                    return False
                with closing(sqlite3.connect(new)) as copy:
                    old.backup(copy)
                    copy.execute("PRAGMA journal_mode = DELETE")  # one file; a server sets its own mode
            new.replace(target)
        return True
    except sqlite3.Error:
        return False
