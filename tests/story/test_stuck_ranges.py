"""A worker that is stuck in a range and says nothing of it: another one tries that range as well, at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.open import open_campaign
from eventmill.campaign.split_inputs import register, split
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.outputs import RangeOutput
from eventmill.core.ranges import EventRange
from eventmill.ledger.memory import MemoryLedger
from tests.conftest import SettableClock


@pytest.mark.parametrize("committed", [1, 2, 3], ids=lambda n: f"{n} of 4 ranges")
def test_what_a_silent_worker_may_have_begun_is_tried_twice(
    committed: int,
    campaign: Callable[..., CampaignSpec],
    tmp_path: Path,
    clock: SettableClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a lease of ten minutes it would report in three what it has begun; nobody waits for that."""
    made = campaign(
        "number",
        inputs={"generated": {"events": 500, "files": 1}},
        ranges={"events": 50},
        limits={"lease": "10m"},
        ledger=f"memory://{tmp_path.name}",
    )
    monkeypatch.setattr(MemoryLedger, "_now", lambda ledger: clock())
    opened = open_campaign(made, folder=tmp_path)
    ledger = opened.ledger
    found, unreadable = split(opened.urls, opened.order.source, folder=opened.order.folder)
    register(opened, made, found, unreadable)
    with Coordinator(opened, made) as coordinator:
        assert not coordinator.close_if_finished()
        block = coordinator.next_block(slots=1)
        assert block is not None and (block.start, block.stop) == (0, 200)
        claim = ledger.claim(block.id, holder="stuck:1:1", nonce="n")
        assert claim is not None
        for number in range(committed):
            piece = EventRange(50 * number, 50 * number + 50)
            output = RangeOutput(piece, f"key{number}", 10, "0" * 64, 50, cpu_seconds=0.05, wall_seconds=0.05)
            ledger.commit(claim.lease, [output], payload=opened.order.payload.digest)
        clock.move(100)

        others = []
        while (given := coordinator.next_block(slots=10)) is not None:
            others.append(given)
        covered = sorted({n for given in others for n in range(given.start, given.stop)})
        assert covered == list(range(50 * committed, 500))  # what it may be at, too
        assert others[-1].avoid == ("stuck:1:1",)
