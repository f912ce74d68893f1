"""Claims and reports may be repeated; keys of campaigns have the names of today."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"

RENAMED = {
    "limits": {
        "no_worker": "no_worker_timeout",
        "input_patience": "input_timeout",
        "setup_patience": "setup_timeout",
        "store_patience": "store_timeout",
    },
    "cluster": {"profile": "type", "notices": "preemption_notices"},
}


def upgrade() -> None:
    """New columns, empty; the campaign files that the ledger holds are as if they had been written today."""
    op.add_column("block", sa.Column("nonce", sa.String))
    op.add_column("merge", sa.Column("nonce", sa.String))
    op.add_column("journal", sa.Column("report_id", sa.String))
    # Ledgers that were made with version 3 have a constraint for it; those that came to it have the index.
    op.create_index("campaign_by_uid", "campaign", ["uid"], unique=True, if_not_exists=True)
    op.create_index("journal_by_report", "journal", ["report_id"], unique=True)
    campaign = sa.table("campaign", sa.column("id"), sa.column("spec", sa.JSON))
    tx = op.get_bind()
    _tell_what_was_left_out(tx)
    for number, spec in tx.execute(sa.select(campaign.c.id, campaign.c.spec)).all():
        tx.execute(sa.update(campaign).where(campaign.c.id == number).values(spec=_renamed(spec)))


def _tell_what_was_left_out(tx: sa.Connection) -> None:
    """Columns have a kind of line of their own. The url of an input stays in the reason alone, where it began."""
    journal = sa.table("journal", sa.column("id"), sa.column("kind"), sa.column("reason"), sa.column("detail"))
    lines = sa.select(journal.c.id, journal.c.reason).where(journal.c.kind == "left out")
    for number, reason in tx.execute(lines).all():
        if reason.startswith("columns that no array can hold: "):
            tx.execute(sa.update(journal).where(journal.c.id == number).values(kind="columns left out"))


def _renamed(spec: dict[str, Any]) -> dict[str, Any]:
    spec = json.loads(json.dumps(spec))
    for part, names in RENAMED.items():
        if isinstance(spec.get(part), dict):
            spec[part] = {names.get(key, key): value for key, value in spec[part].items()}
    if isinstance(spec.get("inputs"), dict):
        spec["inputs"].setdefault("duplicates", "refuse")
    return spec
