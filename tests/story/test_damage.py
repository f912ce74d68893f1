"""Stored objects that are damaged or lost: named, and made again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from eventmill.config.campaign_spec import CampaignSpec
from tests.crew import Crew


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_damaged_range_outputs_are_made_again(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """One is cut off, one changed in place, one deleted before they are merged: the merge never uses them."""
    story = campaign("number", events=2000, merge={"events": 2000}, ranges={"events": 100})

    with Crew(story, tmp_path) as crew:
        crew.run(until=lambda counts: counts.committed >= 1000)
        cut, changed, deleted = crew.ledger.committed_outputs(crew.record.id)[2:5]
        folder = tmp_path / "merged"
        os.truncate(folder / cut.key, cut.bytes - 1)
        flip_a_bit(folder / changed.key)
        (folder / deleted.key).unlink()
        assert len(crew.audit().problems) == 3

        crew.run()

        corrupt = crew.journal("corrupt")
        assert [(i.start, i.stop) for i in corrupt] == [tuple(o.range) for o in (cut, changed, deleted)]
        assert f"{deleted.key} is missing" in corrupt[0].reason
        assert crew.rows()["event"].to_pylist() == list(range(2000))
        assert crew.audit().is_exact


def test_a_merged_file_that_was_lost_is_made_again(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """The audit names it; the next run finds that out, and makes just its events again, to the same bytes."""
    diary = tmp_path / "diary"
    story = campaign("number", events=2000, parameters={"diary": str(diary)}, ranges={"events": 100})
    with Crew(story, tmp_path) as crew:
        crew.run()
        lost = crew.ledger.merged_outputs(crew.record.id)[1]
        (tmp_path / "merged" / lost.key).unlink()
        assert [lost.key in problem for problem in crew.audit().problems] == [True]
    diary.unlink()

    with Crew(story, tmp_path) as crew:
        assert crew.ledger.counts(crew.record.id).ready == 500
        crew.run()

        # A range that seems slow at the end may be given to another worker, too.
        assert set(diary.read_text().splitlines()) == {f"{n} {n + 100}" for n in range(500, 1000, 100)}
        assert hashlib.sha256((tmp_path / "merged" / lost.key).read_bytes()).hexdigest() == lost.sha256
        assert crew.audit().is_exact


def test_a_merged_file_that_was_changed_in_place(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """Only the audit reads every byte: it names the file, which an operator removes and has made again."""
    with Crew(campaign("number", events=2000, ranges={"events": 100}), tmp_path) as crew:
        crew.run()
        changed = crew.ledger.merged_outputs(crew.record.id)[1]
        flip_a_bit(tmp_path / "merged" / changed.key)
        (problem,) = crew.audit().problems
        assert changed.key in problem
        assert "SHA-256" in problem

        (tmp_path / "merged" / changed.key).unlink()
        assert crew.ledger.invalidate(changed.merge_id, reason="its checksum was wrong") == 500
        crew.run()

        assert crew.rows()["event"].to_pylist() == list(range(2000))
        assert crew.audit().is_exact
