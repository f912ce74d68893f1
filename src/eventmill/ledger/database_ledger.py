"""The ledger in a database: all verbs; opened, created, upgraded."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import cast

import sqlalchemy as sa

from eventmill.core.ledger_url import DEFAULT_LEDGER, as_option, scheme_of
from eventmill.errors import LedgerError
from eventmill.ledger.commands.campaigns import CampaignVerbs
from eventmill.ledger.commands.commits import CommitVerbs
from eventmill.ledger.commands.merge_leases import MergerVerbs
from eventmill.ledger.commands.merges import MergeVerbs
from eventmill.ledger.commands.pilots import PilotVerbs
from eventmill.ledger.commands.samples import SampleVerbs
from eventmill.ledger.commands.stragglers import TailVerbs
from eventmill.ledger.commands.workers import HolderVerbs
from eventmill.ledger.database import schema
from eventmill.ledger.database.transactions import Clock, file_of, open_engine
from eventmill.ledger.drilling import DrillReadings
from eventmill.ledger.exploration import Exploration
from eventmill.ledger.protocol import WorkLedger
from eventmill.ledger.queries import Readings
from eventmill.runtime.process_id import is_gone

__all__ = ["Clock", "Ledger", "create_ledger", "is_begun", "open_ledger", "shared_database", "upgrade_ledger"]


class Ledger(
    CampaignVerbs,
    TailVerbs,
    PilotVerbs,
    CommitVerbs,
    HolderVerbs,
    MergeVerbs,
    MergerVerbs,
    SampleVerbs,
    DrillReadings,
    Exploration,
    Readings,
):
    """All verbs. One verb is one transaction; several processes on one machine may use a ledger at once."""


def open_ledger(url: str, *, clock: Clock | None = None) -> Ledger:
    """Open an existing ledger: a path, `sqlite:///path`, a PostgreSQL url without a password, or `memory://name`.

    Raises `LedgerError` if there is none, if it is not a ledger, or if it has another version.
    """
    if scheme_of(url) == "memory":
        from eventmill.ledger.memory import open_memory_ledger

        return cast(Ledger, open_memory_ledger(url))  # the same verbs: tests/engine/contract
    ledger = Ledger(open_engine(url, exist=True), clock)
    with ledger.reading() as tx:
        version = _version_of(tx, url)
    if version != schema.VERSION:
        raise LedgerError(_other_version(url, version))
    return ledger


def is_begun(url: str) -> bool:
    """False where the default ledger is not there yet: no campaign was begun in this folder.

    Of any other ledger that is not there the name may be wrong, which `open_ledger` says.
    """
    return url != DEFAULT_LEDGER or Path(url).exists()


def _version_of(tx: sa.Connection, url: str) -> int:
    if not sa.inspect(tx).has_table("about"):
        raise LedgerError(f"{url} is a database but not an Eventmill ledger.")
    return tx.execute(sa.select(schema.about.c.version)).scalar() or 0


def _other_version(url: str, version: int) -> str:
    told = f"the ledger {url} has version {version}, this Eventmill reads version {schema.VERSION}."
    if version > schema.VERSION:
        return f"{told} A newer Eventmill wrote it: use that version here, too."
    if version < schema.FIRST_VERSION:
        return f"{told} It is too old to be upgraded: finish its campaigns with the Eventmill that began them."
    return f"{told} 'eventmill upgrade{as_option(url)}' upgrades it, as the next run would; no result is lost."


def create_ledger(url: str, *, clock: Clock | None = None) -> Ledger:
    """Open a ledger, and create its tables if there are none. For the coordinator, never for workers."""
    if scheme_of(url) == "memory":
        from eventmill.ledger.memory import create_memory_ledger

        return cast(Ledger, create_memory_ledger(url, clock=clock))
    ledger = Ledger(open_engine(url, exist=False), clock)
    with ledger.writing() as tx:
        tables = set(sa.inspect(tx).get_table_names())
        if tables and "about" not in tables:
            raise LedgerError(f"{url} is the database of another program; give the ledger a file of its own.")
        if not tables:
            schema.metadata.create_all(tx)
            tx.execute(sa.insert(schema.about).values(version=schema.VERSION))
            tx.execute(sa.insert(schema.alembic_version).values(version_num=str(schema.VERSION)))
            tx.execute(sa.insert(schema.counter).values(name="attempt", value=0))
        else:
            _bring_up_to_date(ledger, tx, url)
    ledger.write_ahead()  # each time: the process that created the tables may have died before this line
    ledger.disconnect()
    return open_ledger(url, clock=clock)


def upgrade_ledger(url: str) -> int:
    """Upgrade an existing ledger to the version of this Eventmill; returns its previous version. Harmless twice.

    Raises `LedgerError` if there is none, if a newer Eventmill wrote it, or while processes are using it.
    """
    if scheme_of(url) == "memory":
        return schema.VERSION
    ledger = Ledger(open_engine(url, exist=True), None)
    with ledger.writing() as tx:
        version = _bring_up_to_date(ledger, tx, url)
    ledger.disconnect()
    return version


def _bring_up_to_date(ledger: Ledger, tx: sa.Connection, url: str) -> int:
    """Upgrade the tables if they are older; returns the version that they had."""
    version = _version_of(tx, url)
    if version == schema.VERSION:
        return version
    if not schema.FIRST_VERSION <= version < schema.VERSION:
        raise LedgerError(_other_version(url, version))
    if names := _at_work(ledger, tx):
        raise LedgerError(
            f"the ledger {url} has version {version} and cannot be upgraded to {schema.VERSION} now: processes of "
            f"an older Eventmill are at work on {', '.join(names)}. End them, wait for a minute, and try again."
        )
    from eventmill.ledger.migrations import upgrade  # Alembic takes a while to import

    upgrade(tx, version=version)
    return version


def _at_work(ledger: Ledger, tx: sa.Connection) -> list[str]:
    """Campaigns that a coordinator, worker or merger holds something of, and is not known to be gone.

    Reads what all versions have.
    """
    c, b, m, now = schema.campaign.c, schema.block.c, schema.merge.c, ledger.now(tx)
    held = (
        sa.select(c.name, c.leader).where(c.leader_expires_at > now),
        sa.select(c.name, b.holder).where(b.campaign_id == c.id, b.expires_at > now),
        sa.select(c.name, m.holder).where(m.campaign_id == c.id, m.expires_at > now, m.published_at.is_(None)),
    )
    found = [tuple(row) for statement in held for row in tx.execute(statement)]
    return list(dict.fromkeys(name for name, holder in found if not is_gone(holder or "")))


def shared_database(url: str) -> WorkLedger:
    """The ledger at `url`, opened once in this process, and again if the file was replaced.

    An open connection would stay with a deleted file, which is no longer the ledger.
    """
    return _opened(url, file_of(url))


@lru_cache(maxsize=8)
def _opened(url: str, _file: tuple[int, int] | None) -> Ledger:
    return open_ledger(url)
