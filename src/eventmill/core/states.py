"""The five states of a span and every move between them, as one table. No I/O."""

from __future__ import annotations

from enum import StrEnum

from eventmill.errors import IllegalMove


class State(StrEnum):
    """Where a span of events is on its way."""

    READY = "ready"
    LEASED = "leased"
    COMMITTED = "committed"
    MERGED = "merged"
    ABANDONED = "abandoned"


MOVES: dict[str, dict[State, tuple[State, ...]]] = {
    "reserve": {State.READY: (State.LEASED,)},
    "commit": {State.LEASED: (State.COMMITTED,)},
    "release": {State.LEASED: (State.READY,)},
    "shorten": {State.LEASED: (State.READY,)},
    "expire": {State.LEASED: (State.READY, State.ABANDONED)},
    "fail": {State.LEASED: (State.READY, State.ABANDONED)},
    "merge": {State.COMMITTED: (State.MERGED,)},
    "corrupt": {State.COMMITTED: (State.READY,)},
    "invalidate": {State.MERGED: (State.READY,)},
    "close": {State.READY: (State.ABANDONED,), State.LEASED: (State.ABANDONED,)},
    "reopen": {State.ABANDONED: (State.READY,)},
}
"""verb -> {from -> allowed to}. Whatever is not here is illegal."""


def check_move(verb: str, before: State, after: State) -> None:
    """Raise `IllegalMove` unless `verb` may leave events of state `before` in state `after`.

    Staying where one is, is always allowed: a verb splits spans and leaves the rest as it was.
    """
    if before is after:
        return
    if after not in MOVES[verb].get(before, ()):
        raise IllegalMove(f"'{verb}' does not lead from {before} to {after}; nothing was changed.")


def diagram() -> str:
    """The table as a Mermaid state diagram; `docs/architecture.md` holds exactly this text."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.READY}"]
    arrows: dict[tuple[State, State], list[str]] = {}
    for verb, moves in MOVES.items():
        for before, afters in moves.items():
            for after in afters:
                arrows.setdefault((before, after), []).append(verb)
    lines += [f"    {a} --> {b}: {', '.join(verbs)}" for (a, b), verbs in arrows.items()]
    return "\n".join(lines)
