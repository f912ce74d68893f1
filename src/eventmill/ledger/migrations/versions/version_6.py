"""Blocks may be offered to pilots; their sessions, and tokens for the event service; who made an output."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "6"
down_revision = "5"

_TOKEN = """
CREATE TABLE token (
    id VARCHAR NOT NULL PRIMARY KEY,
    sha256 VARCHAR(64) NOT NULL,
    role VARCHAR NOT NULL CHECK (role IN ('operator', 'pilot', 'reader')),
    campaigns JSON,
    label TEXT NOT NULL,
    created_at VARCHAR(32) NOT NULL,
    expires_at VARCHAR(32),
    revoked_at VARCHAR(32)
)"""

_SESSION = """
CREATE TABLE session (
    id VARCHAR NOT NULL PRIMARY KEY,
    token_id VARCHAR NOT NULL REFERENCES token (id),
    name VARCHAR NOT NULL,
    slots INTEGER NOT NULL,
    offers JSON NOT NULL,
    campaigns JSON,
    began_at VARCHAR(32) NOT NULL,
    seen_at VARCHAR(32) NOT NULL,
    ended_at VARCHAR(32),
    end_reason TEXT,
    CONSTRAINT a_session_has_slots CHECK (slots >= 1)
)"""


def upgrade() -> None:
    """Two new columns, and two new tables: no block was offered, and no token was given out."""
    op.add_column("output", sa.Column("holder", sa.String))
    op.add_column("block", sa.Column("offered", sa.Boolean, nullable=False, server_default=sa.false()))
    op.execute(_TOKEN)
    op.execute(_SESSION)
    op.create_index("session_by_seen", "session", ["ended_at", "seen_at"])
