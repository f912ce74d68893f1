"""A store that is away: dispatch rests until it answers, or until patience ends."""

from __future__ import annotations

import queue
import threading

import pytest

from eventmill.errors import LedgerError, StoreError
from eventmill.runtime.outage import Outage

GONE = StoreError("no answer.")


class Store:
    """Answers as told, each question once."""

    def __init__(self) -> None:
        self.answers: queue.Queue[StoreError | None] = queue.Queue()
        self.lines: list[str] = []

    def ask(self) -> None:
        answer = self.answers.get(timeout=30)
        if answer is not None:
            raise answer

    def outage(self, timeout_seconds: float = 600) -> Outage:
        return Outage(
            self.ask, timeout_seconds=timeout_seconds, on_change=self.lines.append, first_wait_seconds=0.001
        )


def wait_for_the_end(outage: Outage) -> None:
    while outage.is_active():
        outage.raise_if_expired()
        threading.Event().wait(0.001)


def test_a_store_that_comes_back_is_waited_for() -> None:
    """It is asked until it answers; meanwhile further errors are no news."""
    store = Store()
    outage = store.outage()
    assert not outage.is_active()
    assert outage.report_error(GONE)
    assert outage.is_active()
    assert not outage.report_error(GONE)
    for answer in (GONE, GONE, None):
        store.answers.put(answer)
    wait_for_the_end(outage)
    assert store.lines == ["unreachable: no answer.", "is back"]
    assert outage.outages == 1


def test_who_cannot_be_told_does_not_end_the_asking() -> None:
    """The ledger, which keeps a journal of it, may lie on the same full disk."""
    store = Store()

    def full(line: str) -> None:
        raise LedgerError("the disk is full")

    outage = Outage(store.ask, timeout_seconds=60, on_change=full, first_wait_seconds=0.001)
    assert outage.report_error(GONE)
    for answer in (GONE, None):
        store.answers.put(answer)
    wait_for_the_end(outage)
    assert outage.outages == 1


def test_a_store_that_answers_at_once_is_not_away() -> None:
    """The error was another one: the next one is news again."""
    store = Store()
    outage = store.outage()
    for _ in range(2):
        assert outage.report_error(GONE)
        store.answers.put(None)
        wait_for_the_end(outage)
    assert outage.outages == 0
    assert store.lines == []


def test_patience_ends_with_the_stores_own_words() -> None:
    """Also when the store neither answers nor refuses."""
    store = Store()
    outage = store.outage(timeout_seconds=0)
    outage.report_error(GONE)
    with pytest.raises(StoreError, match=r"0 s \(limits.store_timeout\): no answer. Nothing is lost"):
        wait_for_the_end(outage)
    store.answers.put(None)  # for the thread that asks
