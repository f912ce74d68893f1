"""A ledger behind an event service is the same ledger: each verb, also repeated, is answered the same.

The service serves a ledger in a file; a twin of it in memory is asked directly. Whatever a pilot does, both answer
the same, and in the end both say the same of the campaign.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.open import open_campaign
from eventmill.campaign.split_inputs import register, split
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.access_tokens import Role
from eventmill.core.leases import Claim, FailureKind, FailureReport, Lease, Outcome
from eventmill.core.outputs import RangeOutput
from eventmill.core.ranges import EventRange
from eventmill.core.records import DesiredState
from eventmill.ledger import Ledger, create_ledger
from eventmill.rules.block_spans import FENCED
from eventmill.service.server import served_beside
from eventmill.service.tokens import make_token
from eventmill.service_client.connection import Connection
from eventmill.service_client.session import Session
from tests.conftest import SettableClock
from tests.engine.ledger_actions import layout, ranges_of, watch_for

SAID_NO = FailureReport(FailureKind.PAYLOAD, "no", "Traceback: no", "printed", cpu_seconds=2.0)
EVENTS, MERGE_EVENTS = 40, 15
_numbers = count()


class Pair:
    """A session at a service, and the twin of the service's ledger."""

    def __init__(self, folder: Path, session: Session, served: CampaignHandle, twin: CampaignHandle) -> None:
        self.folder, self.session, self.served, self.twin = folder, session, served, twin
        self.leads = [
            handle.ledger.acquire_leadership(handle.id, "coordinator", is_gone=lambda holder: True)
            for handle in (served, twin)
        ]
        self.claims: list[Claim] = []
        self.sent: list[tuple[Lease, RangeOutput]] = []

    def ledgers(self) -> Iterator[tuple[Ledger, Any]]:
        """Both, with their leaders."""
        return zip((self.served.ledger, self.twin.ledger), self.leads, strict=True)

    def offer(self, events: int) -> None:
        """The coordinator offers a block."""
        for ledger, lead in self.ledgers():
            block = ledger.reserve(lead, events=events, range_events=4)
            if block is not None:
                assert ledger.offer(block.id)

    def acquire(self) -> None:
        """The pilot asks for a block."""
        works = self.session.acquire(1, wait_seconds=0)
        if self.twin.desired_state() is not DesiredState.RUN:  # the service does not even ask
            assert works == []
            return
        twin = self.twin.ledger.acquire(
            [self.twin.id], holder=self.session.worker, nonce=f"nonce-{next(_numbers)}"
        )
        assert len(works) == (twin is not None)
        for work in works:
            assert twin is not None
            assert (work.claim.block, work.claim.missing) == (twin.block, twin.missing)
            assert work.claim.lease.attempt == twin.lease.attempt
            self.session.ledger.claim(twin.block.id, holder="", nonce="")
            self.claims.append(twin)

    def commit(self, number: int, which: int) -> None:
        """The pilot stores an output and commits it."""
        claim = self.claims[number]
        pieces = ranges_of(claim, MERGE_EVENTS)
        piece = pieces[which % len(pieces)]
        source = self.folder / "output"
        source.write_bytes(f"{piece}".encode())
        stored = self.session.outputs.put(claim.lease, claim.input.ordinal, piece, source)
        if stored is None:  # the service takes no bytes that nobody wants
            assert self.twin.ledger.ask(claim.lease).outcomes == (Outcome.FENCED,)
            return
        output = RangeOutput(piece, stored.key, stored.bytes, stored.sha256, len(piece), cpu_seconds=1.0)
        self.sent.append((claim.lease, output))
        self._commit(claim.lease, output)

    def commit_again(self, which: int) -> None:
        """The answer was lost, and the pilot says it again."""
        self._commit(*self.sent[which % len(self.sent)])

    def _commit(self, lease: Lease, output: RangeOutput) -> None:
        self.same("commit", lease, [output], payload=self.served.record.payload, begun=output.range.stop)

    def same(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        """Both answer the same."""
        there = getattr(self.session.ledger, verb)(*args, **kwargs)
        here = getattr(self.twin.ledger, verb)(*args, **kwargs)
        assert there == here, verb
        return here

    def tells_the_same(self) -> None:
        """What both say of the campaign."""
        for what in ("counts", "leased", "holders", "journal", "used", "live_workers", "dropped_outputs"):
            one, other = (getattr(handle.ledger, what)(handle.id) for handle in (self.served, self.twin))
            assert one == other, what
        assert layout(self.served.ledger, self.served.record) == layout(self.twin.ledger, self.twin.record)
        assert self.served.ledger.audit(self.served.id) == ()


@contextmanager
def pair(folder: Path) -> Iterator[tuple[Pair, SettableClock]]:
    """A small campaign, twice."""
    clock = SettableClock()
    (folder / "p.py").write_text("def f(events, where):\n    return None\n")
    ledgers = [str(folder / "ledger.sqlite"), f"memory://service-{next(_numbers)}"]
    handles = []
    for number, url in enumerate(ledgers):
        create_ledger(url, clock=clock)
        spec = CampaignSpec(
            name="c",
            inputs={"generated": {"events": EVENTS, "files": 2}},
            payload=f"{folder}/p.py:f",
            output={"store": str(folder / f"out{number}"), "merge": {"events": MERGE_EVENTS}},
            limits={"lease": "60s", "failures": 2, "losses": 2},
            ledger=url,
        )
        with patch("eventmill.campaign.open.create_ledger", partial(create_ledger, clock=clock)):
            handle = open_campaign(spec, folder=folder)
        found, refused = split(handle.urls, handle.order.source, folder=str(folder))
        register(handle, spec, found, refused)
        handles.append(handle)
    served, twin = handles
    ledger = served.ledger
    token = make_token(ledger, Role.PILOT, campaigns=["c"], label="", lasts=None)
    with served_beside(ledger, ledgers[0], folder=folder) as url:
        connection = Connection(url, token=token, patience_seconds=0)
        session = Session(connection, name="host", slots=2)
        yield Pair(folder, session, served, twin), clock
        session.end()
        connection.close()


@pytest.fixture(autouse=True)
def nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change counts at once."""
    monkeypatch.setattr("eventmill.service.campaigns.KEPT_SECONDS", 0.0)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("offer", "offer", "acquire", "acquire", "commit", "commit", "commit", "again"),
                *("fail", "renew", "ask", "release", "setup failed", "setup", "expire", "pause", "run"),
            ]
        ),
        st.integers(0, 5),
        st.integers(0, 5),
    ),
    min_size=5,
    max_size=30,
)


@settings(max_examples=12, phases=[Phase.generate])
@given(STEPS)
def test_a_service_answers_as_its_ledger_would(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]]
) -> None:
    """Any history of a pilot, with answers that were lost, leases that ended, and a campaign that was paused."""
    with pair(tmp_path_factory.mktemp("pair")) as (both, clock):
        for step, number, which in steps:
            carry_out(both, clock, step, number, which)
        both.tells_the_same()


def carry_out(both: Pair, clock: SettableClock, step: str, number: int, which: int) -> None:
    """One step; of the claims so far, that number."""
    match step:
        case "offer":
            both.offer(1 + 3 * which)
        case "acquire":
            both.acquire()
        case "pause" | "run":
            wanted = DesiredState.PAUSED if step == "pause" else DesiredState.RUN
            for handle in (both.served, both.twin):
                handle.set_desired_state(wanted)
        case "expire":
            clock.move(20.0 * (1 + which))
            for handle in (both.served, both.twin):
                handle.expire()
        case "again":
            if both.sent:
                both.commit_again(which)
    if not both.claims:
        return
    claim = both.claims[number % len(both.claims)]
    pieces = ranges_of(claim, MERGE_EVENTS)
    piece = pieces[which % len(pieces)]
    match step:
        case "commit":
            both.commit(number % len(both.claims), which)
        case "fail":
            both.same("fail", claim.lease, piece, SAID_NO, report_id=f"report-{number}-{which}")
        case "renew":
            both.same("renew", claim.lease, begun=piece.stop)
        case "ask":
            both.same("ask", claim.lease)
        case "release":
            both.same("release", claim.lease, drained="SIGTERM" if which % 2 else None)
        case "setup failed":
            both.same("setup_failed", claim.lease, SAID_NO)
        case "setup":
            both.session.ledger.keep(claim)
            both.session.ledger.claim(claim.block.id, holder="", nonce="")
            both.same("account_setup", claim.lease.campaign_id, 1.5)


def test_many_slots_travel_in_one_report(tmp_path: Path) -> None:
    """Commits, a failure and a renewal at once: one call, a reply for each in its order."""
    with pair(tmp_path) as (both, _clock):
        both.offer(40)
        both.acquire()
        claim, calls = both.claims[0], []
        ledger = both.session.ledger
        ask = both.session.connection.ask

        def counted(method: str, path: str, *args: Any, **kwargs: Any) -> Any:
            calls.append(path)
            return ask(method, path, *args, **kwargs)

        both.session.connection.ask = counted  # type: ignore[method-assign]
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda begun: ledger.renew(claim.lease, begun=begun), range(1, 40)))
        assert {reply.outcomes for reply in replies} == {(Outcome.ACCEPTED,)}
        assert 1 <= len(calls) < len(replies)


def test_an_output_that_is_not_there_does_not_count(tmp_path: Path) -> None:
    """The service looks before it believes: nothing is committed, and the pilot is told why."""
    from eventmill.errors import StoreError

    with pair(tmp_path) as (both, _clock):
        both.offer(20)
        both.acquire()
        claim = both.claims[0]
        piece = EventRange(0, 4)
        (tmp_path / "output").write_bytes(b"1234")
        stored = both.session.outputs.put(claim.lease, 0, piece, tmp_path / "output")
        assert stored is not None
        (tmp_path / "out0" / stored.key).unlink()
        output = RangeOutput(piece, stored.key, stored.bytes, stored.sha256, 4, cpu_seconds=1.0)
        with pytest.raises(StoreError, match="is not in the store; upload it again"):
            both.session.ledger.commit(claim.lease, [output], payload=both.served.record.payload)
        assert both.served.counts().committed == 0
        again = both.session.outputs.put(claim.lease, 0, piece, tmp_path / "output")
        assert again == stored
        reply = both.session.ledger.commit(claim.lease, [output], payload=both.served.record.payload)
        assert reply.outcomes == (Outcome.ACCEPTED,) and both.served.counts().committed == 4


def test_the_same_call_again_is_the_same_claim(tmp_path: Path) -> None:
    """The answer to `acquire` was lost: the pilot that asks again is given the same block, and nothing is lost."""
    from eventmill.messages import v1

    with pair(tmp_path) as (both, clock):
        both.offer(20)
        both.offer(20)
        request = v1.AcquireRequest(blocks=2, nonce="0123456789")
        path = f"/v1/sessions/{both.session.id}/acquire"
        first, second = (
            both.session.connection.ask("POST", path, v1.AcquireReply, message=request) for _ in range(2)
        )
        assert [claim.lease for claim in first.claims] == [claim.lease for claim in second.claims]
        assert len(first.claims) == 2 and both.served.count_incidents() == {}
        assert len(watch_for(both.served.ledger, both.served.id, clock, 61)) == 2
        third = both.session.connection.ask("POST", path, v1.AcquireReply, message=request)
        assert third.claims == []


def test_a_reply_of_a_session_that_ended_is_fenced(tmp_path: Path) -> None:
    """What it held goes to others at once; a late word changes nothing."""
    with pair(tmp_path) as (both, _clock):
        both.offer(20)
        both.acquire()
        claim = both.claims[0]
        assert both.served.ledger.end_session(both.session.id, reason="test") == 1
        assert both.served.counts().ready == EVENTS
        assert both.session.ledger.renew(claim.lease) == FENCED
        assert both.served.ledger.sessions(seen_within=timedelta(hours=1)) == ()
