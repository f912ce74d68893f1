"""The pilots that are here for a campaign: those that fit count; if none does, that is said once, and why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eventmill.campaign.doing import Board, written_on
from eventmill.campaign.present_pilots import COUNT_SECONDS, NOBODY_SECONDS, PresentPilots
from eventmill.core.access_tokens import Role
from tests.engine.service_lab import Lab, new_lab


class Scene:
    """A campaign that wants a GPU, and a clock."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.now = lab, 0.0
        self.campaign = lab.begin("gpu", payload={"needs": {"gpus": 1}})
        self.present = PresentPilots(self.campaign, monotonic=lambda: self.now)
        self.token = lab.token(Role.PILOT).split("_")[1]

    def comes(self, name: str, *, slots: int = 1, **offers: Any) -> None:
        """A pilot begins."""
        self.lab.ledger.begin_session(
            f"{name:0>16}", token_id=self.token, name=name, slots=slots, offers=offers, campaigns=None
        )

    def slots(self, *, after: float = COUNT_SECONDS, ready: int = 60, **speed: Any) -> int:
        """The slots, some time later."""
        self.now += after
        measured = {"seconds_per_event": None, "range_events": None, **speed}
        return self.present.count(ready=ready, **measured)


@pytest.fixture
def scene(tmp_path: Path, long_lead: None) -> Iterator[Scene]:
    with new_lab(tmp_path) as lab:
        yield Scene(lab)


def test_only_pilots_that_fit_have_slots(scene: Scene) -> None:
    """Others are here, and get nothing."""
    assert scene.slots() == 0 and scene.present.why_nobody is None
    scene.comes("plain", slots=8)
    assert scene.slots() == 0
    scene.comes("big", slots=2, gpus=2)
    assert scene.slots() == 2 and scene.present.why_nobody is None


def test_that_none_fits_is_said_once_and_why(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """Not at once: who just came may not have said what it has. Not if nothing waits. Again, after one fitted."""
    scene.comes("one")
    scene.comes("two")
    board = Board()
    with written_on(board):
        scene.slots()
        assert scene.slots(after=NOBODY_SECONDS / 2) == 0 and not board.remarks
        scene.slots(after=NOBODY_SECONDS, ready=0)
        assert not board.remarks
        scene.slots()
        scene.slots()
    (remark,) = board.remarks
    said = (
        "none of the 2 pilots that are here fits: it wants 1 GPU for each slot, and this pilot has 0 for 1 slot "
        "(one and 1 more pilot)"
    )
    assert remark == said and scene.present.why_nobody == said
    assert [r.message for r in caplog.records if "has work" in r.message][:1] == [
        f"campaign 'gpu' has work, and {said}"
    ]
    scene.comes("big", gpus=1)
    assert scene.slots() == 1
    scene.lab.ledger.end_session(f"{'big':0>16}", reason="over")
    with written_on(board):
        scene.slots()
        scene.slots(after=NOBODY_SECONDS)
    assert len(board.remarks) == 2


def test_too_little_time_is_a_reason_too(scene: Scene) -> None:
    """Such pilots keep their slots: they leave by themselves, and ranges may become shorter."""
    scene.comes("late", gpus=1, seconds_left=30.0)
    assert scene.slots(seconds_per_event=1.0, range_events=10) == 1 and scene.present.why_nobody is None
    assert scene.slots(seconds_per_event=1.0, range_events=100) == 1
    assert "an event takes some 1 s, so 19 events would (late)" in str(scene.present.why_nobody)
