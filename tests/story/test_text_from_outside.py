"""What a payload raises and prints, and how files are called, keeps nothing from coming to its end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from eventmill.campaign.inputs import list_inputs
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.states import State
from eventmill.errors import InputError
from tests.crew import Crew

PAYLOAD = """
class Odd(Exception):
    def __init__(self, words):
        self.words = words

    def __str__(self):
        if self.words is None:
            raise RuntimeError("cannot say it")
        return self.words


WORDS = {1: "half \\udce9 and \\x00", 2: "\\x1b]0;title\\x07\\x1b[2J", 3: "x" * 100_000_000, 4: None, 5: "\\n\\n"}


def odd(events, where):
    import pyarrow as pa

    for event in events.tolist():
        if event in WORDS:
            print("\\x1b[31mred\\udce9")
            raise Odd(WORDS[event])
        if event == 6:
            raise type("", (Exception,), {})()
    return pa.Table.from_arrays([pa.array(events)], names=["event"])
"""


def test_whatever_a_payload_raises_its_event_is_given_up(
    campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """Half a character, NUL, orders to the terminal, 100 MB, an exception that cannot say anything, no name."""
    (tmp_path / "odd.py").write_text(PAYLOAD)
    story = campaign(f"{tmp_path}/odd.py:odd", events=40, ranges={"events": 10}, limits={"failures": 1})
    with Crew(story, tmp_path) as crew:
        counts = crew.run()
        assert (counts.merged, counts.abandoned) == (34, 6)
        spans = {
            item.first + span.start: span.reason
            for item, span in crew.ledger.spans(crew.record.id, State.ABANDONED)
        }
        assert set(spans) == {1, 2, 3, 4, 5, 6}
        assert "half \\udce9 and \\x00" in str(spans[1])
        assert spans[2] == "payload: odd.Odd: \\x1b]0;title\\x07\\x1b[2J"
        assert "characters left out" in str(spans[3]) and len(str(spans[3])) < 3_000
        assert "cannot" in str(spans[4]) or "failed" in str(spans[4])
        for line in crew.journal("failure", "abandoned"):
            assert not set(line.reason + line.detail) & {"\x1b", "\x00", "\x07"}
            assert len(line.detail) < 20_000
        assert crew.audit().is_exact


def test_an_input_that_is_not_called_in_utf8_is_refused_in_one_line(
    campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """By name, before anything is begun."""
    (tmp_path / "in").mkdir()
    for name in (b"good.parquet", b"caf\xe9.parquet"):
        os.close(os.open(os.fsencode(tmp_path / "in") + b"/" + name, os.O_CREAT))
    story = campaign("copy", inputs={"files": [f"{tmp_path}/in/*.parquet"]})
    with pytest.raises(InputError, match=r"caf\\udce9\.parquet.* is not UTF-8.* Rename") as told:
        list_inputs(story)
    assert "\n" not in str(told.value)
