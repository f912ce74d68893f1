"""Inputs have labels, parameters and an index; the code that reads inputs may be the user's own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "5"
down_revision = "4"


def upgrade() -> None:
    """New columns: no input has a label, parameters or an index, and no campaign has a reader of its own."""
    op.execute("ALTER TABLE campaign ADD COLUMN reader VARCHAR REFERENCES code (digest)")
    op.add_column("input", sa.Column("label", sa.Text))
    op.add_column("input", sa.Column("parameters", sa.JSON, nullable=False, server_default="{}"))
    op.add_column("input", sa.Column("find", sa.JSON))
