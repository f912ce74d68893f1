"""A whole campaign with a ledger in memory: processed, merged, reported and audited within one process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from eventmill.campaign.audit import audit
from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.merge_queue import begin_due
from eventmill.campaign.open import open_campaign
from eventmill.campaign.split_inputs import register, split
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.records import Counts
from eventmill.ledger import open_ledger
from eventmill.runtime.process_id import this_process
from eventmill.store import open_store
from eventmill.work.block import run_block
from eventmill.work.merge import run_merge


@pytest.mark.parametrize("merge", [{"events": 500}, {"bytes": "10kB"}])
def test_a_campaign_needs_no_database(
    merge: dict[str, object], campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """Its worker and its merger know of a ledger only what the protocol says."""
    made = campaign("number", events=2000, merge=merge, ledger=f"memory://{tmp_path.name}")
    opened, me = open_campaign(made, folder=tmp_path), str(this_process())
    found, unreadable = split(opened.urls, opened.order.source, folder=opened.order.folder)
    register(opened, made, found, unreadable)
    with Coordinator(opened, made) as coordinator:
        while not coordinator.close_if_finished():
            block = coordinator.next_block(slots=1)
            assert block is not None
            run_block(opened.order, block.id, holder=me)
            coordinator.watch()
        for merge_id in begin_due(opened):
            run_merge(opened.order, merge_id, holder=me)
        assert (tmp_path / "merged" / coordinator.finish()).is_file()
    ledger = open_ledger(made.ledger_url)
    assert ledger.counts(opened.record.id) == Counts(merged=2000)
    assert audit(ledger, open_store(opened.record.store_url), opened.record).is_exact
    assert not list(tmp_path.glob("*.sqlite"))
