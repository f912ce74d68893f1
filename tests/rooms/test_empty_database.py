"""The database of a run's own Prefect server: migrated once for each version of Prefect, copied ever after."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from eventmill.prefect_api import empty_database
from eventmill.prefect_api.empty_database import (
    has_block_types,
    kept_database,
    provide_database,
    shipped_database,
)
from tests.empty_database import migrated

NOT_SHIPPED = Path("prefect-0.sql")


class Migration:
    """Makes a database with one row, and counts how often."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        with closing(sqlite3.connect(self.database)) as made:
            made.execute("PRAGMA journal_mode = WAL")
            made.execute("CREATE TABLE alembic_version (version_num TEXT)")
            made.execute("INSERT INTO alembic_version VALUES ('newest')")
            made.commit()


def versions(database: Path) -> list[tuple[str]]:
    """What stands in a database."""
    with closing(sqlite3.connect(database)) as read:
        return read.execute("SELECT version_num FROM alembic_version").fetchall()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and a version of Prefect whose database does not come with Eventmill."""
    monkeypatch.setattr(empty_database, "shipped_database", lambda: NOT_SHIPPED)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_only_the_first_one_is_migrated(tmp_path: Path) -> None:
    """The second has the same rows, and is private as the first."""
    for number in (1, 2):
        database = tmp_path / f"{number}.db"
        migrate = Migration(database)
        provide_database(database, migrate)
        assert migrate.calls == (1 if number == 1 else 0)
        assert versions(database) == [("newest",)]
    assert kept_database().parent.stat().st_mode & 0o077 == 0
    assert [file.name for file in kept_database().parent.iterdir()] == [kept_database().name]


def test_a_database_that_is_there_is_left_alone(tmp_path: Path) -> None:
    """A server that is started again goes on with its own."""
    database = tmp_path / "here.db"
    database.write_bytes(b"not looked at")
    migrate = Migration(database)
    provide_database(database, migrate)
    assert migrate.calls == 0
    assert database.read_bytes() == b"not looked at"


@pytest.mark.parametrize("damage", [b"", b"SQLite format 3\x00 and then nothing", b"x" * 10_000])
def test_a_kept_one_that_is_damaged_is_replaced(damage: bytes, tmp_path: Path) -> None:
    """It is made anew, and the next one is a copy again."""
    kept_database().parent.mkdir(parents=True)
    kept_database().write_bytes(damage)
    for number, calls in ((1, 1), (2, 0)):
        database = tmp_path / f"{number}.db"
        migrate = Migration(database)
        provide_database(database, migrate)
        assert migrate.calls == calls
        assert versions(database) == [("newest",)]


@pytest.mark.parametrize("whose", ["the folder", "the file"])
def test_a_kept_one_that_others_can_write_is_not_used(whose: str, tmp_path: Path) -> None:
    """They could have put anything into it."""
    provide_database(tmp_path / "1.db", Migration(tmp_path / "1.db"))
    (kept_database().parent if whose == "the folder" else kept_database()).chmod(0o777)
    migrate = Migration(tmp_path / "2.db")
    provide_database(tmp_path / "2.db", migrate)
    assert migrate.calls == 1


def test_what_a_killed_server_left_is_swept(tmp_path: Path) -> None:
    """Not what another one may be writing."""
    provide_database(tmp_path / "1.db", Migration(tmp_path / "1.db"))
    old, new = (kept_database().with_name(f"{kept_database().name}.{pid}.new") for pid in (1, 2))
    for left in (old, new):
        left.touch()
    os.utime(old, (0, 0))
    kept_database().unlink()
    provide_database(tmp_path / "2.db", Migration(tmp_path / "2.db"))
    assert not old.exists() and new.exists()


def test_a_cache_that_cannot_be_used_costs_time_and_nothing_else(tmp_path: Path, cache: Path) -> None:
    """A file where the folder should be: every database is migrated."""
    cache.write_text("a file")
    for number in (1, 2):
        database = tmp_path / f"{number}.db"
        migrate = Migration(database)
        provide_database(database, migrate)
        assert migrate.calls == 1
        assert versions(database) == [("newest",)]
    assert cache.read_text() == "a file"


def test_types_of_blocks_are_known_where_they_are(tmp_path: Path) -> None:
    """A server registers them itself in a database that has none, or that cannot be read."""
    database = tmp_path / "here.db"
    assert not has_block_types(database)
    Migration(database)()
    assert not has_block_types(database)
    with closing(sqlite3.connect(database)) as made:
        made.execute("CREATE TABLE block_type (name TEXT)")
        made.commit()
        assert not has_block_types(database)
        made.execute("INSERT INTO block_type VALUES ('Secret')")
        made.commit()
    assert has_block_types(database)


def described(database: Path) -> tuple[list[object], ...]:
    """Tables, indexes and triggers; the version; types of blocks and their fields. No ids and no times.

    The lines of each table are sorted: the order of constraints is that of addresses in memory.
    """
    questions = (
        "SELECT version_num FROM alembic_version",
        "SELECT slug, name, code_example, is_protected FROM block_type ORDER BY slug",
        "SELECT checksum, capabilities, version FROM block_schema ORDER BY checksum",
        "SELECT count(*) FROM block_schema_reference",
    )
    with closing(sqlite3.connect(database)) as read:
        made = read.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").fetchall()
        schema = [
            (*named, sorted(line.strip(" \t,") for line in (sql or "").splitlines())) for *named, sql in made
        ]
        return schema, *(read.execute(question).fetchall() for question in questions)


def test_the_database_that_is_shipped_is_what_prefect_makes_itself(tmp_path: Path) -> None:
    """Of the Prefect in the lock. If this fails with a newer one: `make empty-database`."""
    ours = tmp_path / "ours.db"
    assert shipped_database().is_file()
    assert empty_database._write(shipped_database(), ours)
    theirs = migrated(tmp_path)
    assert described(ours) == described(theirs)
    assert has_block_types(ours)


def test_a_start_writes_the_database_that_was_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is migrated, and nothing is kept."""
    monkeypatch.setattr(empty_database, "shipped_database", shipped_database)
    database = tmp_path / "first.db"
    migrate = Migration(database)
    provide_database(database, migrate)
    assert migrate.calls == 0 and has_block_types(database)
    assert not kept_database().exists()


@pytest.mark.parametrize("damage", ["", "CREATE TABLE half (", "no SQL"])
def test_a_shipped_one_that_is_damaged_is_passed_over(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefect makes its own."""
    shipped = tmp_path / "shipped.sql"
    shipped.write_text(damage)
    monkeypatch.setattr(empty_database, "shipped_database", lambda: shipped)
    migrate = Migration(tmp_path / "1.db")
    provide_database(tmp_path / "1.db", migrate)
    assert migrate.calls == 1
