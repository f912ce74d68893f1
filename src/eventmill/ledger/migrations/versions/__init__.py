"""Alembic revisions: one for each version of the ledger."""
