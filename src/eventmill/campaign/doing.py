"""What a run is doing now, in words, for who watches it. Decides nothing, and costs nothing if nobody watches."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Board:
    """The words of one run: what it says last counts, until that is over. Any thread may read and write."""

    def __init__(self) -> None:
        self._said: list[list[str]] = []
        self._last = ""
        self._lock = threading.Lock()
        self.watch_url: str | None = None
        self.remarks: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """What the run is doing now; empty if nothing is said."""
        with self._lock:
            return self._said[-1][0] if self._said else ""

    @property
    def last_words(self) -> str:
        """What the run does now, or else did last: between two steps it is not idle."""
        with self._lock:
            return self._said[-1][0] if self._said else self._last

    def begin(self, words: str) -> list[str]:
        """Say this from now on."""
        step = [words]
        with self._lock:
            self._said.append(step)
            self._last = words
        return step

    def end(self, step: list[str]) -> None:
        """This is over."""
        with self._lock:
            self._said = [other for other in self._said if other is not step]


_board: ContextVar[Board | None] = ContextVar("board", default=None)


@contextmanager
def written_on(board: Board) -> Iterator[None]:
    """What is done in this context, also by flows that it calls, is written on this board."""
    token = _board.set(board)
    try:
        yield
    finally:
        _board.reset(token)


@contextmanager
def doing(words: str) -> Iterator[None]:
    """During the `with` block, this is what the run is doing, such as `starting 2 workers`."""
    board = _board.get()
    if board is None:
        yield
        return
    step = board.begin(words)
    try:
        yield
    finally:
        board.end(step)


def remark(told: str) -> None:
    """Say something that people should read, and that is no error."""
    if (board := _board.get()) is not None:
        board.remarks += (told,)
