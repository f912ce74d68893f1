"""Two claims on the same events: a block, and at most one duplicate claim. For verbs, inside their transaction.

Spans carry only the number of the block. The row of the duplicate claim names the block, and it may commit what
is still leased to the block. If one claim ends, the other remains: a duplicate claim that outlives its block
takes its place.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from eventmill.core.states import Verb
from eventmill.ledger.database import schema
from eventmill.ledger.database.transactions import read_spans_of_block, replace_spans

_BLOCK = schema.block.c
_SELECT_BLOCK = sa.select(schema.block).where(_BLOCK.id == sa.bindparam("b_block"))
_SELECT_COPY = sa.select(schema.block).where(_BLOCK.copy_of == sa.bindparam("b_block"))
_DROP_BLOCK = sa.delete(schema.block).where(_BLOCK.id == sa.bindparam("b_block"))
_DROP_BOTH = sa.delete(schema.block).where(
    sa.or_(_BLOCK.id == sa.bindparam("b_block"), _BLOCK.copy_of == sa.bindparam("b_block"))
)


def read_block(tx: sa.Connection, block_id: int) -> sa.Row[Any] | None:
    """The row of a block or duplicate claim; None if none of its events is LEASED."""
    return tx.execute(_SELECT_BLOCK, {"b_block": block_id}).first()


def span_owner_id(block: sa.Row[Any]) -> int:
    """The number that the spans of this claim carry."""
    return int(block.id if block.copy_of is None else block.copy_of)


def duplicate_claim_of(tx: sa.Connection, block: sa.Row[Any]) -> sa.Row[Any] | None:
    """The other claim on the same events; None if there is none or it was not claimed."""
    if block.copy_of is not None:
        return read_block(tx, block.copy_of)
    copy = tx.execute(_SELECT_COPY, {"b_block": block.id}).first()
    return copy if copy is not None and copy.attempt is not None else None


def hand_over(tx: sa.Connection, campaign_id: int, block: sa.Row[Any], twin: sa.Row[Any]) -> None:
    """End one of two claims; LEASED events stay leased to the other."""
    if block.copy_of is None:
        held = read_spans_of_block(tx, block.id)
        replace_spans(tx, Verb.RELEASE, campaign_id, old=held, new=[replace(s, block_id=twin.id) for s in held])
        tx.execute(sa.update(schema.block).where(_BLOCK.id == twin.id).values(copy_of=None))
    tx.execute(_DROP_BLOCK, {"b_block": block.id})


def drop_block(tx: sa.Connection, owner: int) -> None:
    """Delete a block and its duplicate claim, after the last of its events has left LEASED."""
    tx.execute(_DROP_BOTH, {"b_block": owner})
