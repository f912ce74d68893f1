"""The first version that can be upgraded."""

revision = "2"
down_revision = None


def upgrade() -> None:
    """Nothing: ledgers begin here."""
