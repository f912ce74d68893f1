"""The five states of a span and every move between them, as one table. No I/O.

An input's events are cut into spans, and each event is in exactly one span, so it is in exactly one state. All
that changes a state is a verb of this table: `core.partition` checks each move before spans are replaced, so no
other module can add one. What a verb decides (how long a lease lasts, when a range is halved) stands in
`eventmill.rules`.
"""

from __future__ import annotations

from enum import StrEnum

from eventmill.errors import IllegalMove


class State(StrEnum):
    """The state of a span of events."""

    READY = "ready"
    """Nobody has these events, and somebody should."""
    LEASED = "leased"
    """One block has them, and perhaps a duplicate claim too, until the lease ends."""
    COMMITTED = "committed"
    """Their output is stored and waits for its merge."""
    MERGED = "merged"
    """They are in one merged file. Only its loss takes them out."""
    ABANDONED = "abandoned"
    """They are given up; the journal has the reason. Only `reopen` brings them back."""


class Verb(StrEnum):
    """What may change the state of events."""

    RESERVE = "reserve"
    COMMIT = "commit"
    RELEASE = "release"
    SHORTEN = "shorten"
    EXPIRE = "expire"
    FAIL = "fail"
    MERGE = "merge"
    CORRUPT = "corrupt"
    INVALIDATE = "invalidate"
    CLOSE = "close"
    REOPEN = "reopen"


MOVES: dict[Verb, dict[State, tuple[State, ...]]] = {
    Verb.RESERVE: {State.READY: (State.LEASED,)},
    Verb.COMMIT: {State.LEASED: (State.COMMITTED,)},
    Verb.RELEASE: {State.LEASED: (State.READY,)},
    Verb.SHORTEN: {State.LEASED: (State.READY,)},
    Verb.EXPIRE: {State.LEASED: (State.READY, State.ABANDONED)},
    Verb.FAIL: {State.LEASED: (State.READY, State.ABANDONED)},
    Verb.MERGE: {State.COMMITTED: (State.MERGED,)},
    Verb.CORRUPT: {State.COMMITTED: (State.READY,)},
    Verb.INVALIDATE: {State.MERGED: (State.READY,)},
    Verb.CLOSE: {State.READY: (State.ABANDONED,), State.LEASED: (State.ABANDONED,)},
    Verb.REOPEN: {State.ABANDONED: (State.READY,)},
}
"""verb -> {from -> allowed to}. Everything else is illegal."""


def check_move(verb: Verb, before: State, after: State) -> None:
    """Raise `IllegalMove` unless `verb` may leave events of state `before` in state `after`.

    Staying in a state is always allowed: a verb splits spans and leaves the rest unchanged.
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
