"""The ledger in memory: the same verbs as in a database, within one process."""

from __future__ import annotations

import inspect
import multiprocessing
import pickle
import threading
from collections.abc import Callable

import pytest

from eventmill.core.leases import Outcome
from eventmill.errors import LedgerError
from eventmill.ledger import Ledger, create_ledger, open_ledger, shared_ledger
from eventmill.ledger.database.transactions import Database
from eventmill.ledger.drilling import DrillReadings
from eventmill.ledger.memory import MemoryLedger
from tests.conftest import new_campaign
from tests.engine.ledger_actions import begin, commit, lead


def verbs_of(kind: type) -> dict[str, Callable[..., object]]:
    """Public methods by name."""
    return dict(inspect.getmembers(kind, lambda it: inspect.isfunction(it) and not it.__name__.startswith("_")))


def test_it_has_every_verb_of_the_ledger_in_a_database() -> None:
    """With the same arguments and answers; but for what is a database's alone, and what only a drill asks."""
    theirs = verbs_of(Ledger).keys() - verbs_of(Database).keys() - verbs_of(DrillReadings).keys() | {"time"}
    ours = verbs_of(MemoryLedger)
    assert ours.keys() - {"disconnect"} == theirs
    for name in theirs:
        assert inspect.signature(ours[name]) == inspect.signature(verbs_of(Ledger)[name]), name


def test_whoever_opens_it_by_its_url_has_the_same_one() -> None:
    """As with a file: made once, opened by its name."""
    with pytest.raises(LedgerError, match="no ledger memory://here in this process"):
        open_ledger("memory://here")
    ledger = create_ledger("memory://here")
    assert (
        ledger is create_ledger("memory://here") is open_ledger("memory://here") is shared_ledger("memory://here")
    )
    assert create_ledger("memory://there") is not ledger


def test_no_other_process_has_it() -> None:
    """Not even a fork, which has a copy of all that is in memory: what is written there would be lost."""
    ledger = create_ledger("memory://mine")
    with pytest.raises(LedgerError, match="no other process can open it"):
        pickle.dumps(ledger)
    fork = multiprocessing.get_context("fork")
    answers = fork.SimpleQueue()
    child = fork.Process(target=_open_elsewhere, args=(answers,))
    child.start()
    assert "serves the one process that made it" in answers.get()
    child.join()


def _open_elsewhere(answers: multiprocessing.SimpleQueue[str]) -> None:
    try:
        open_ledger("memory://mine")
    except LedgerError as error:
        answers.put(str(error))
    else:
        answers.put("it was opened")


def test_many_threads_share_it() -> None:
    """Whoever claims has its block alone, and each event is committed once."""
    ledger = create_ledger("memory://threads")
    campaign = new_campaign(ledger, (1000,))
    leadership, accepted = lead(ledger, campaign), []

    def work(holder: str) -> None:
        for _ in range(25):
            claim = begin(ledger, leadership, events=5, size=5, holder=holder)
            place = claim.missing[0]
            accepted.extend(commit(ledger, claim, (place.start, place.stop)).outcomes)

    workers = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert accepted == [Outcome.ACCEPTED] * 200
    assert ledger.counts(campaign.id).committed == 1000
