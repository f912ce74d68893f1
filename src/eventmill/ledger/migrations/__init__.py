"""Upgrades the tables of an older ledger, step by step, in one transaction of the caller.

Each step is an Alembic revision in `versions/`, named by its new version. It has copies of code that may change
later.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from eventmill.ledger.database import schema


def upgrade(tx: sa.Connection, *, version: int) -> None:
    """Upgrade the tables from `version` to that of this Eventmill, and record the new version in the ledger."""
    scripts, config = _scripts()
    MigrationContext.configure(tx).stamp(scripts, str(version))

    def steps(revision: Any, context: MigrationContext) -> Any:
        return scripts._upgrade_revs("head", revision)

    with EnvironmentContext(config, scripts, fn=steps, as_sql=False) as environment:
        environment.configure(connection=tx, transactional_ddl=False)  # the transaction is the caller's
        environment.run_migrations()
    # An older Eventmill reads only this table, and must see that it cannot use the ledger any more.
    tx.execute(sa.text("UPDATE about SET version = :version"), {"version": newest()})


def newest() -> int:
    """The version after the last step."""
    return int(_scripts()[0].get_current_head() or schema.FIRST_VERSION)


def _scripts() -> tuple[ScriptDirectory, Config]:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config), config
