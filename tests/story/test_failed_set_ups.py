"""A worker that cannot work at all: its block goes back at once, and nobody is charged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.open import open_campaign
from eventmill.campaign.split_inputs import register, split
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.work_order import WorkOrder
from eventmill.errors import EventmillError, PayloadError
from eventmill.payloads.pool import stop_all
from eventmill.runtime import scratch
from eventmill.work import block
from eventmill.work.block import run_block


class Mill:
    """A campaign of 200 events, whose blocks are worked in this process."""

    def __init__(self, opened: CampaignHandle, coordinator: Coordinator) -> None:
        self.opened, self.coordinator = opened, coordinator
        self.ledger, self.id = opened.ledger, opened.record.id

    def work(self, order: WorkOrder | None = None, *, holder: str = "elsewhere:1:1") -> str:
        """Reserve a block and carry it out; the note of its report."""
        assert not self.coordinator.close_if_finished()
        block = self.coordinator.next_block(slots=1)
        assert block is not None
        return run_block(order or self.opened.order, block.id, holder=holder).note

    def assert_all_is_back(self) -> None:
        """Nothing is leased, lost, or charged."""
        assert self.ledger.block_ids(self.id) == frozenset()
        assert self.ledger.counts(self.id).ready == 200
        assert not self.ledger.journal(self.id, "loss", "failure")
        assert all(not span.losses and not span.failures for _, span in self.ledger.spans(self.id))


@pytest.fixture
def mill(campaign: Callable[..., CampaignSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mill]:
    monkeypatch.setattr(block, "QUARANTINE_SECONDS", 0.0)
    made = campaign("number", events=200, ranges={"events": 50})
    opened = open_campaign(made, folder=tmp_path)
    with Coordinator(opened, made) as coordinator:
        found, _ = split(coordinator.unsplit(), opened.order.source, folder=opened.order.folder)
        register(opened, made, found, ())
        yield Mill(opened, coordinator)
    stop_all()


def test_a_worker_without_scratch_is_as_one_without_its_payload(
    mill: Mill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal says what is wrong with which worker; where all are so, the campaign stops and says it, too."""
    monkeypatch.setattr(scratch, "choose_scratch", lambda: tmp_path / "nowhere")
    for _ in range(3):
        mill.coordinator.record_block_end(None)
        assert "cannot be written: No such file or directory" in mill.work()
        mill.assert_all_is_back()
    setups = mill.ledger.journal(mill.id, "setup")
    assert {(setup.holder, "TMPDIR" in setup.reason) for setup in setups} == {("elsewhere:1:1", True)}
    with pytest.raises(PayloadError, match=r"could not be set up, 3 times in a row: the scratch folder .*nowhere"):
        mill.coordinator.record_block_end(None)


def test_a_worker_without_scratch_is_sent_away_where_others_work(
    mill: Mill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like any other on which what succeeds elsewhere fails time and again."""
    assert mill.work(holder="elsewhere:2:2") == ""
    with monkeypatch.context() as patch:
        patch.setattr(scratch, "choose_scratch", lambda: tmp_path / "nowhere")
        for _ in range(3):
            mill.work()
    assert mill.ledger.quarantined(mill.id) == {"elsewhere:1:1"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"store_url": "nonsense://store"}, "nonsense"),
        ({"payload": "0123456789abcdef"}, "holds no payload code"),
        ({"columns": 7}, "not iterable"),
    ],
)
def test_what_goes_wrong_before_the_first_range_gives_the_block_back(
    mill: Mill, change: dict[str, object], said: str
) -> None:
    """Whatever it is: a store that cannot be opened, code that is gone, or a defect of ours."""
    order = mill.opened.order
    if "payload" in change:
        change = {"payload": replace(order.payload, digest=change["payload"])}
    with pytest.raises((EventmillError, TypeError), match=said):
        mill.work(replace(order, **change))  # type: ignore[arg-type]
    mill.assert_all_is_back()
