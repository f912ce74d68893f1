"""Campaigns have an id of their own, inputs a layout, and code is told apart by its entry point, too."""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import zipfile

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"


def upgrade() -> None:
    """A new id for each campaign; layouts stay unknown; digests are computed anew from the code that is there."""
    op.add_column("campaign", sa.Column("uid", sa.String(32), nullable=False, server_default=""))
    tx = op.get_bind()
    for number in tx.execute(sa.text("SELECT id FROM campaign")).scalars().all():
        tx.execute(
            sa.text("UPDATE campaign SET uid = :uid WHERE id = :id"), {"uid": secrets.token_hex(16), "id": number}
        )
    op.create_index("campaign_by_uid", "campaign", ["uid"], unique=True)
    op.create_table(
        "layout",
        sa.Column("fingerprint", sa.String, primary_key=True),
        sa.Column("columns", sa.JSON, nullable=False),
    )
    op.execute("ALTER TABLE input ADD COLUMN layout VARCHAR REFERENCES layout (fingerprint)")
    for digest, entry, bundle in tx.execute(sa.text("SELECT digest, entry, bundle FROM code")).all():
        if bundle is not None:
            _rename(tx, old=digest, new=_digest(bundle, entry))


def _digest(bundle: bytes, entry: str) -> str:
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    total = hashlib.sha256(f"{len(entry)}\0{entry}".encode())
    for name, content in sorted(files.items()):
        written = os.fsencode(name)
        total.update(b"%d\0%b%d\0" % (len(written), written, len(content)))
        total.update(content)
    return total.hexdigest()[:16]


def _rename(tx: sa.Connection, *, old: str, new: str) -> None:
    names = {"old": old, "new": new}
    tx.execute(
        sa.text(
            "INSERT INTO code (digest, callable, entry, bundle) "
            "SELECT :new, callable, entry, bundle FROM code WHERE digest = :old"
        ),
        names,
    )
    tx.execute(sa.text("UPDATE campaign SET payload = :new WHERE payload = :old"), names)
    tx.execute(sa.text("UPDATE span SET payload = :new WHERE payload = :old"), names)
    tx.execute(sa.text("DELETE FROM code WHERE digest = :old"), {"old": old})
