"""The five states and their moves, as one table; the picture in the docs is made from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventmill.core.states import MOVES, State, check_move, diagram
from eventmill.errors import IllegalMove

ARCHITECTURE = Path(__file__).parents[2] / "docs" / "architecture.md"


@pytest.mark.parametrize("verb", MOVES)
@pytest.mark.parametrize("before", State)
@pytest.mark.parametrize("after", State)
def test_only_the_tables_moves_are_legal(verb: str, before: State, after: State) -> None:
    """Every verb, from every state, to every state: legal if it is in the table or changes nothing."""
    if before is after or after in MOVES[verb].get(before, ()):
        check_move(verb, before, after)
    else:
        with pytest.raises(IllegalMove, match=f"'{verb}' does not lead from {before} to {after}"):
            check_move(verb, before, after)


def test_the_table_is_what_was_designed() -> None:
    """Results are given up only when their object is lost, and nothing becomes MERGED but from COMMITTED."""
    arrows = {
        (before, after): {v for v, moves in MOVES.items() if after in moves.get(before, ())}
        for before in State
        for after in State
    }
    assert {pair: verbs for pair, verbs in arrows.items() if verbs} == {
        (State.READY, State.LEASED): {"reserve"},
        (State.READY, State.ABANDONED): {"close"},
        (State.LEASED, State.COMMITTED): {"commit"},
        (State.LEASED, State.READY): {"release", "shorten", "expire", "fail"},
        (State.LEASED, State.ABANDONED): {"expire", "fail", "close"},
        (State.COMMITTED, State.MERGED): {"merge"},
        (State.COMMITTED, State.READY): {"corrupt"},
        (State.MERGED, State.READY): {"invalidate"},
        (State.ABANDONED, State.READY): {"reopen"},
    }


def test_every_state_can_be_left_and_reached() -> None:
    """No state is a trap: from each one events can still end merged."""
    after: dict[State, set[State]] = {state: {state} for state in State}
    for _ in State:
        for moves in MOVES.values():
            for before, afters in moves.items():
                after[before] |= {end for step in afters for end in after[step]}
    assert all(after[state] == set(State) for state in State)


def test_the_diagram_has_every_arrow_once() -> None:
    """One line for each pair of states, with all verbs that lead along it."""
    lines = diagram().splitlines()
    assert lines[:2] == ["stateDiagram-v2", "    [*] --> ready"]
    assert "    leased --> ready: release, shorten, expire, fail" in lines
    assert len(lines) == len(set(lines)) == 2 + 9


def test_the_docs_show_the_table() -> None:
    """The Mermaid block in docs/architecture.md is exactly what the table draws."""
    assert ARCHITECTURE.is_file(), "docs/architecture.md is missing; it holds eventmill.core.states.diagram()"
    text = ARCHITECTURE.read_text(encoding="utf-8")
    assert f"```mermaid\n{diagram()}\n```" in text, "put eventmill.core.states.diagram() into docs/architecture.md"
