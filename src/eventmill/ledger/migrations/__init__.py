"""From the tables of an older Eventmill to those of this one, step by step, in one transaction of the caller.

Each step is an Alembic revision in `versions/`, named for the version that it leads to. It repeats what it needs
of code that may change later.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

FIRST_VERSION = 2
"""The oldest ledger that can be upgraded."""


def upgrade(tx: sa.Connection, *, version: int) -> None:
    """Bring the tables from `version` to this Eventmill's, and say so in the ledger."""
    scripts, config = _scripts()
    MigrationContext.configure(tx).stamp(scripts, str(version))

    def steps(revision: Any, context: MigrationContext) -> Any:
        return scripts._upgrade_revs("head", revision)

    with EnvironmentContext(config, scripts, fn=steps, as_sql=False) as environment:
        environment.configure(connection=tx, transactional_ddl=False)  # the transaction is the caller's
        environment.run_migrations()
    # An older Eventmill reads this table alone, and must see that the ledger is none of its own any more.
    tx.execute(sa.text("UPDATE about SET version = :version"), {"version": newest()})


def newest() -> int:
    """The version that the steps lead to."""
    return int(_scripts()[0].get_current_head() or FIRST_VERSION)


def _scripts() -> tuple[ScriptDirectory, Config]:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config), config
