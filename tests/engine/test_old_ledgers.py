"""Ledgers that older Eventmills wrote: upgraded, and what they hold goes on to its end."""

from __future__ import annotations

import sqlite3
import zipfile
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
import yaml
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from eventmill.campaign.audit import audit
from eventmill.campaign.handle import load_campaign, store_of
from eventmill.campaign.open import open_campaign
from eventmill.config.campaign_spec import parse_campaign
from eventmill.errors import LedgerError
from eventmill.ledger import create_ledger, open_ledger, upgrade_ledger
from eventmill.ledger.database import schema
from eventmill.ledger.migrations import newest
from tests.crew import Crew

OLD = sorted((Path(__file__).parent / "old_ledgers").glob("version-*.zip"))
"""Each with its campaign file, payload and store: 2,000 numbers, some merged, 333 refused, and interrupted."""


@pytest.fixture(params=OLD, ids=lambda path: path.stem)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as it was left; its ledger is made to believe that its store was always here."""
    with zipfile.ZipFile(request.param) as archive:
        archive.extractall(tmp_path)
    with sqlite3.connect(tmp_path / ".eventmill/ledger.sqlite") as tx:
        tx.execute("UPDATE campaign SET store_url = ?", [str(tmp_path / "out")])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def numbers(store: Path) -> list[int]:
    """What stands in the merged files."""
    return sorted(n for path in store.glob("*.parquet") for n in pq.read_table(path).column("event").to_pylist())


def test_an_old_ledger_is_named_before_it_is_upgraded(place: Path) -> None:
    """Nothing is changed by looking; whoever upgrades it twice does it once."""
    path = str(place / ".eventmill/ledger.sqlite")
    with pytest.raises(LedgerError, match=r"has version [2345], this Eventmill reads version \d+\..*upgrade"):
        open_ledger(path)
    assert upgrade_ledger(path) < schema.VERSION
    assert upgrade_ledger(path) == schema.VERSION
    open_ledger(path)


def test_an_upgraded_ledger_has_the_tables_of_a_new_one(place: Path, tmp_path: Path) -> None:
    """Column by column, constraint by constraint, as far as Alembic compares."""
    assert newest() == schema.VERSION
    old, new = create_ledger(str(place / ".eventmill/ledger.sqlite")), create_ledger(str(tmp_path / "new.sqlite"))
    for ledger in (old, new):
        with ledger.reading() as tx:
            context = MigrationContext.configure(tx, opts={"compare_type": False})
            differences = compare_metadata(context, schema.metadata)
            assert [d for d in differences if d[0] != "remove_constraint"] == []  # one too many does no harm
            assert tx.execute(sa.text("SELECT version_num FROM alembic_version")).scalars().all() == [
                str(schema.VERSION)
            ]


def test_a_campaign_of_an_old_ledger_goes_on_as_if_nothing_had_happened(place: Path) -> None:
    """The same file with today's keys: nothing differs from what was begun, and each number is there once."""
    text = (place / "campaign.yaml").read_text()
    for old, new in (
        ("no_worker:", "no_worker_timeout:"),
        ("_patience", "_timeout"),
        ("profile", "type"),
    ):
        text = text.replace(old, new)
    (place / "campaign.yaml").write_text(text)
    spec = parse_campaign(yaml.safe_load(text), source="campaign.yaml")
    before = upgrade_ledger(spec.ledger)
    assert before < schema.VERSION
    opened = open_campaign(spec, folder=place)  # 'changed: stop' would name a difference
    done = opened.ledger.counts(opened.record.id).done
    assert 900 <= done < 2000
    assert opened.order.input_seconds == timedelta(minutes=9).total_seconds()
    with Crew(spec, place) as crew:
        counts = crew.run()
    assert (counts.merged, counts.abandoned) == (1999, 1)
    assert numbers(place / "out") == [number for number in range(2000) if number != 333]
    ledger = open_ledger(spec.ledger)
    record = ledger.campaign("old")
    assert audit(ledger, store_of(record), record).is_exact
    assert load_campaign(spec.ledger, "old", folder=place).record.uid == record.uid


def test_a_ledger_that_old_processes_are_at_work_on_is_left_alone(place: Path) -> None:
    """They would go on by the old rules: the campaign is named, and nothing is changed."""
    path = str(place / ".eventmill/ledger.sqlite")
    with sqlite3.connect(path) as tx:
        tx.execute("UPDATE campaign SET leader = 'x:1:1', leader_expires_at = '2999-01-01T00:00:00.000000'")
        (version,) = tx.execute("SELECT version FROM about").fetchone()
    for upgrade in (upgrade_ledger, create_ledger):
        with pytest.raises(LedgerError, match=r"cannot be upgraded .* now: .*at work on old\. End them"):
            upgrade(path)
    with sqlite3.connect(path) as tx:
        assert tx.execute("SELECT version FROM about").fetchone() == (version,)


def test_a_ledger_of_a_newer_eventmill_is_refused(tmp_path: Path) -> None:
    """By everybody, and in one line."""
    path = str(tmp_path / "ledger.sqlite")
    create_ledger(path).disconnect()
    with sqlite3.connect(path) as tx:
        tx.execute("UPDATE about SET version = version + 1")
    for opened in (open_ledger, create_ledger, upgrade_ledger):
        with pytest.raises(LedgerError, match="A newer Eventmill wrote it"):
            opened(path)
