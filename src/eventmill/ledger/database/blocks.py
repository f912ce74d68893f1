"""Two claims on the same events: a block, and at most one copy of it. For verbs, inside their transaction.

Spans carry the number of the block alone. The copy's row names the block, and its claim may commit what is
still leased to it. A loss of one leaves the other: a copy that outlives its block takes its place.
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
    """A block's row, or a copy's; None once none of its events is LEASED."""
    return tx.execute(_SELECT_BLOCK, {"b_block": block_id}).first()


def span_owner_id(block: sa.Row[Any]) -> int:
    """The number that the spans of this claim carry."""
    return int(block.id if block.copy_of is None else block.copy_of)


def duplicate_claim_of(tx: sa.Connection, block: sa.Row[Any]) -> sa.Row[Any] | None:
    """The other claim on the same events, None if there is none that somebody has claimed."""
    if block.copy_of is not None:
        return read_block(tx, block.copy_of)
    copy = tx.execute(_SELECT_COPY, {"b_block": block.id}).first()
    return copy if copy is not None and copy.attempt is not None else None


def hand_over(tx: sa.Connection, campaign_id: int, block: sa.Row[Any], twin: sa.Row[Any]) -> None:
    """End one of two claims; all that is LEASED stays so, for the other one."""
    if block.copy_of is None:
        held = read_spans_of_block(tx, block.id)
        replace_spans(tx, Verb.RELEASE, campaign_id, old=held, new=[replace(s, block_id=twin.id) for s in held])
        tx.execute(sa.update(schema.block).where(_BLOCK.id == twin.id).values(copy_of=None))
    tx.execute(_DROP_BLOCK, {"b_block": block.id})


def drop_block(tx: sa.Connection, owner: int) -> None:
    """After the last of its events is settled: a block and its copy are over."""
    tx.execute(_DROP_BOTH, {"b_block": owner})
