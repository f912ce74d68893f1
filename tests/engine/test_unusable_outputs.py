"""An output that is unusable again and again ends the run: nothing is computed for ever."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventmill.campaign.merge_queue import UNUSABLE_TIMES, Losses
from eventmill.core.access_tokens import Role
from eventmill.errors import CampaignAborted
from tests.engine.service_lab import Lab, RawPilot, served_lab


@pytest.fixture
def lab(tmp_path: Path, long_lead: None) -> Iterator[Lab]:
    with served_lab(tmp_path) as made:
        yield made


def test_a_liar_that_is_alone_ends_the_run(lab: Lab) -> None:
    """Nobody else lives, so it is not quarantined: the run ends, names it, and keeps what is done."""
    liar, opened = RawPilot(lab, lab.token(Role.PILOT, "c")), lab.campaigns["c"]
    losses = Losses(opened)
    with pytest.raises(
        CampaignAborted, match=rf"computed {UNUSABLE_TIMES} times.*pilot/host/{liar.session}.*revoke"
    ):
        for _ in range(UNUSABLE_TIMES + 3):
            lab.offer_all("c")
            for claim in liar.acquire(blocks=8):
                pieces = [(each["start"], each["stop"]) for each in claim["ranges"]]
                liar.report(*(liar.stored(claim, piece, b"no table") for piece in pieces))
            lab.merge("c")
            losses.check()
    assert lab.ledger.audit(opened.id) == () and opened.counts().merged == 0
    again = Losses(opened)  # the next run begins to count anew
    again.check()
    lab.is_finished_by(RawPilot(lab, lab.token(Role.PILOT, "c")), "c")
    again.check()


def test_damage_to_many_outputs_at_once_is_no_reason_to_end(lab: Lab) -> None:
    """Each event of them is computed again, once."""
    opened = lab.campaigns["c"]
    losses, pilot = Losses(opened), RawPilot(lab, lab.token(Role.PILOT, "c"))
    lab.offer_all("c")
    for claim in pilot.acquire(blocks=8):
        pilot.do(claim)
    for output in lab.ledger.committed_outputs(opened.id):
        (Path(opened.record.store_url) / output.key).write_bytes(b"")
    lab.merge("c")
    losses.check()
    assert dataclasses.asdict(opened.counts())["ready"] == 120
    lab.is_finished_by(pilot, "c")
    losses.check()
