"""Opening a ledger: what is refused, and how it is said."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from eventmill.core.records import CampaignRow
from eventmill.errors import LedgerError
from eventmill.ledger import Ledger, create_ledger, open_ledger, shared_ledger
from eventmill.ledger.database import transactions
from tests.conftest import new_campaign

CampaignHandle = Callable[..., CampaignRow]


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A folder as it is for a user who may look into it and change nothing; root becomes such a user."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are shut to everybody else
        Path(name).chmod(0o755)
        folder = Path(name) / "locked"
        folder.mkdir()
        create_ledger(str(folder / "ledger.sqlite")).disconnect()
        is_root = os.geteuid() == 0
        (folder / "ledger.sqlite").chmod(0o444)
        folder.chmod(0o555)
        if is_root:  # permissions do not bind root
            os.seteuid(65534)
        yield folder
        if is_root:
            os.seteuid(0)
        folder.chmod(0o755)


def test_workers_open_only_what_exists(tmp_path: Path) -> None:
    """A wrong path is an error, not a new and empty ledger."""
    with pytest.raises(LedgerError, match=r"there is no ledger at .*nothing"):
        open_ledger(str(tmp_path / "nothing"))
    assert list(tmp_path.iterdir()) == []


def test_opening_a_ledger_again_drops_no_lock_of_this_process(tmp_path: Path) -> None:
    """A process that leaves takes the log for its own, and removes it, unless somebody has the ledger locked."""
    path = str(tmp_path / "ledger.sqlite")
    ours = create_ledger(path)
    assert ours.campaigns() == ()
    create_ledger(path).disconnect()  # as a flow does in the process of 'eventmill run'
    assert _seen_elsewhere(path) == ""
    campaign = new_campaign(ours, (10,))
    assert _seen_elsewhere(path) == campaign.name


def _seen_elsewhere(path: str) -> str:
    """The names of all campaigns, as another process reads them that comes and goes."""
    code = (
        "import sys; from eventmill.ledger import open_ledger; ledger = open_ledger(sys.argv[1]); "
        "print(*(record.name for record in ledger.campaigns())); ledger.disconnect()"
    )
    answer = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    return answer.stdout.strip()


def test_a_ledger_is_created_once(tmp_path: Path) -> None:
    """Creating one that is there opens it, by its path or by its url; folders are made on the way."""
    path = tmp_path / "a" / "b" / "ledger.sqlite"
    with_campaign = create_ledger(str(path))
    campaign = new_campaign(with_campaign, (10,))
    for again in (create_ledger(str(path)), open_ledger(f"sqlite:///{path}"), shared_ledger(str(path))):
        assert [known.name for known in again.campaigns()] == [campaign.name]
    assert shared_ledger(str(path)) is shared_ledger(str(path))


def test_a_shared_ledger_that_was_made_anew_is_opened_anew(tmp_path: Path) -> None:
    """A worker outlives `rm -rf .eventmill`: its connections are to a file that nobody else sees any more."""
    path = tmp_path / "ledger.sqlite"
    new_campaign(create_ledger(str(path)), (10,), name="old")
    assert [known.name for known in shared_ledger(str(path)).campaigns()] == ["old"]
    for file in tmp_path.iterdir():
        file.unlink()
    with pytest.raises(LedgerError, match="there is no ledger at"):
        shared_ledger(str(path))
    new_campaign(create_ledger(str(path)), (10,), name="new")
    assert [known.name for known in shared_ledger(str(path)).campaigns()] == ["new"]


def test_a_folder_is_no_ledger(tmp_path: Path) -> None:
    """A folder where a file is expected is refused by both, with the path."""
    for use in (open_ledger, create_ledger):
        with pytest.raises(LedgerError, match=tmp_path.name):
            use(str(tmp_path))


def test_a_text_file_is_no_ledger(tmp_path: Path) -> None:
    """What is no database is said to be none, and stays as it is."""
    path = tmp_path / "notes.txt"
    path.write_text("a plain text file\n" * 100)
    for use in (open_ledger, create_ledger):
        with pytest.raises(LedgerError, match="file is not a database"):
            use(str(path))
    assert path.read_text() == "a plain text file\n" * 100


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    """A ledger cannot lie below a file."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match=r"folder .*file cannot be used"):
        create_ledger(str(tmp_path / "file" / "ledger.sqlite"))


def test_somebody_elses_database_is_left_alone(tmp_path: Path) -> None:
    """A database that is no ledger is refused by both, and gets no tables."""
    path = tmp_path / "other.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x INTEGER)")
    connection.commit()
    with pytest.raises(LedgerError, match="not an Eventmill ledger"):
        open_ledger(str(path))
    with pytest.raises(LedgerError, match="database of another program"):
        create_ledger(str(path))
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]
    connection.close()


def test_an_empty_file_is_no_ledger_yet(tmp_path: Path) -> None:
    """An empty file holds no tables: a worker refuses it, a coordinator makes a ledger of it."""
    path = tmp_path / "empty"
    path.touch()
    with pytest.raises(LedgerError, match="not an Eventmill ledger"):
        open_ledger(str(path))
    assert create_ledger(str(path)).campaigns() == ()


def test_a_ledger_of_another_version_is_refused_by_name(tmp_path: Path) -> None:
    """Older and newer ledgers are not guessed at: what was begun with one is finished with it."""
    path = tmp_path / "ledger.sqlite"
    create_ledger(str(path)).disconnect()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE about SET version = 99")
    connection.close()
    for use in (open_ledger, create_ledger):
        with pytest.raises(LedgerError, match=r"has version 99, this Eventmill reads version 6\. A newer"):
            use(str(path))
    with sqlite3.connect(path) as connection:  # so that it can be audited like all others
        connection.execute("UPDATE about SET version = 5")
    connection.close()


def test_a_network_filesystem_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where SQLite's locks do not hold there is no ledger; the filesystem under it is named."""
    kind = transactions.filesystem_kind(tmp_path)
    monkeypatch.setattr(transactions, "NETWORK_FILESYSTEMS", frozenset([kind]))
    with pytest.raises(LedgerError, match=f"is on {kind}.*put the ledger on a local disk"):
        create_ledger(str(tmp_path / "ledger.sqlite"))
    assert list(tmp_path.iterdir()) == []


def test_the_network_filesystems_are_known_by_name() -> None:
    """The usual ones on clusters are in the list, local ones are not."""
    assert {"nfs", "nfs4", "lustre", "gpfs", "cifs", "ceph", "fuse.sshfs"} <= transactions.NETWORK_FILESYSTEMS
    assert not {"ext4", "xfs", "btrfs", "tmpfs", "overlay", ""} & transactions.NETWORK_FILESYSTEMS


def test_a_ledger_that_may_not_be_written_is_named(nobody: Path) -> None:
    """Neither a new ledger in a shut folder nor an existing one that is read-only can be used."""
    with pytest.raises(LedgerError, match=r"new.sqlite cannot be used: unable to open"):
        create_ledger(str(nobody / "new.sqlite"))
    with pytest.raises(LedgerError, match="deeper cannot be used: Permission denied"):
        create_ledger(str(nobody / "deeper" / "new.sqlite"))
    with pytest.raises(LedgerError, match=r"cannot be used: .*(readonly|unable to open)"):
        open_ledger(str(nobody / "ledger.sqlite"))


def test_a_folder_that_may_not_be_entered_is_named(nobody: Path) -> None:
    """Not being allowed to look is not the same as not being there."""
    if os.geteuid() == 65534:
        os.seteuid(0)
        nobody.chmod(0o700)
        os.seteuid(65534)
    else:
        nobody.chmod(0o000)
    with pytest.raises(LedgerError, match=r"folder .*locked cannot be used: Permission denied"):
        open_ledger(str(nobody / "ledger.sqlite"))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense://x", "no driver for the ledger"),
        ("://", "give a path or sqlite:///path"),
        ("sqlite://", "there is no ledger at"),
    ],
)
def test_an_address_that_is_none_is_refused(url: str, message: str) -> None:
    """A typing error in the address is one clear line."""
    with pytest.raises(LedgerError, match=message):
        open_ledger(url)


def test_a_password_in_the_address_is_not_told(tmp_path: Path) -> None:
    """Errors go to logs and screens."""
    with pytest.raises(LedgerError) as error:
        open_ledger("nonsense://me:secret@host/ledger")
    assert "secret" not in str(error.value)


def test_it_is_a_full_sync_write_ahead_ledger(ledger: Ledger) -> None:
    """What was answered with 'accepted' survives a power cut; foreign keys hold."""
    with ledger.reading() as tx:
        pragmas = [
            tx.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert pragmas == ["wal", 2, 1]


def test_the_ledgers_time_is_its_machines_unless_set(tmp_path: Path) -> None:
    """Without a clock of its own a ledger tells aware UTC time."""
    ledger = create_ledger(str(tmp_path / "ledger.sqlite"))
    created = new_campaign(ledger, (1,)).created_at
    assert created.tzinfo is UTC
    assert abs(datetime.now(UTC) - created) < timedelta(hours=1)


def test_a_reader_never_waits_for_a_writer(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """While a verb writes, questions are answered from before it."""
    campaign = open_campaign(10)
    with ledger.writing():
        assert ledger.counts(campaign.id).ready == 10


def test_a_broken_transaction_changes_nothing(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Whatever goes wrong inside a verb, the ledger is as it was before."""
    campaign = open_campaign(10)
    with pytest.raises(ZeroDivisionError), ledger.writing() as tx:
        tx.exec_driver_sql("DELETE FROM span")
        raise ZeroDivisionError
    assert ledger.counts(campaign.id).ready == 10


@pytest.mark.parametrize(
    "error",
    [
        sqlite3.OperationalError("disk I/O error"),
        sa.exc.OperationalError("SELECT", {}, sqlite3.OperationalError("disk I/O error")),
        sa.exc.TimeoutError("disk I/O error"),
        sa.exc.PendingRollbackError("disk I/O error"),
    ],
)
def test_whatever_the_database_says_is_an_error_of_ours(ledger: Ledger, error: Exception) -> None:
    """Who goes on when the ledger is out of reach, as the thread that renews a lease, asks for one kind."""
    for use in (ledger.reading, ledger.writing):
        with pytest.raises(LedgerError, match=r"cannot be used: disk I/O error\.$"), use():
            raise error


def test_a_driver_that_speaks_for_itself_is_heard_too(ledger: Ledger) -> None:
    """What is done past SQLAlchemy, as when a connection is set up, raises what SQLite's module raises."""
    with pytest.raises(LedgerError, match="cannot be used: near"), ledger.reading() as tx:
        assert tx.connection.driver_connection is not None
        tx.connection.driver_connection.execute("NONSENSE")


def test_nobody_waits_for_a_connection(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """However many threads of a worker ask at once."""
    campaign = open_campaign(10)
    with ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(ledger.reading())
        assert ledger.counts(campaign.id).ready == 10
