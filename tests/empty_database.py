"""Writes the empty database that comes with Eventmill: `make empty-database`, for each new version of Prefect."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from eventmill.prefect_api.empty_database import shipped_database

MIGRATE = "from eventmill.prefect_api.server_process import migrate; migrate()"


def migrated(folder: Path) -> Path:
    """A database that the installed Prefect has made itself, in some six seconds."""
    database = folder / "prefect.db"
    environment = {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{database}",
        "PREFECT_HOME": str(folder / "home"),
        "DO_NOT_TRACK": "1",
        "PYTHONHASHSEED": "0",  # the order of some constraints is that of a set
    }
    subprocess.run([sys.executable, "-c", MIGRATE], env=os.environ | environment, check=True)
    return database


def written(database: Path) -> str:
    """All that is in it, as SQL."""
    with closing(sqlite3.connect(database)) as read:
        return "\n".join(read.iterdump()) + "\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        shipped_database().write_text(written(migrated(Path(made))))
    print(f"wrote {shipped_database()}")
