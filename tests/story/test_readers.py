"""A reader beside the campaign: its events reach the payload, its faults cost events only, its code is known."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eventmill.api import try_payload
from eventmill.campaign.changes import Changed
from eventmill.campaign.handle import load_campaign
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.records import JournalKind
from eventmill.errors import CampaignChanged, InputError, PayloadError
from eventmill.payloads.pool import stop_all
from tests.crew import Crew

READER = '''
import json
import os
import re
import time
from pathlib import Path

import pandas as pd

SCALE = json.loads((Path(__file__).parent / "scale.json").read_text())


class Numbers:
    """Numbers, one in a line."""

    def __init__(self, url, offset=0, columns=None):
        self.numbers = [int(line) + offset for line in Path(url).read_text().split()]
        self.events, self.boundaries = len(self.numbers), [10, 20]
        print("opened by", os.getpid())

    def read(self, start, stop):
        chosen = self.numbers[start:stop]
        if 13 in chosen:
            raise ValueError("thirteen")
        if 14 in chosen:
            os.abort()
        if 15 in chosen:
            time.sleep(600)
        if 16 in chosen:
            return chosen[1:]
        if 17 in chosen:
            os._exit(0)
        if 18 in chosen:
            bytearray(10**11)
        return pd.DataFrame({"event": [SCALE * number for number in chosen]})


def never(url):
    os.abort()


def slow(url):
    time.sleep(600)


def nothing(url):
    return [1, 2, 3]


def wrong(url, missing):
    """Needs a parameter."""


class OfNoFile:
    """An input without a file."""

    def __init__(self, url):
        self.events, self.identity = 7, (Path(url).parent / "version").read_text()

    def read(self, start, stop):
        return pd.DataFrame({"event": range(start, stop)})
'''

COPY = "def copy(events, where):\n    return events\n"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A reader, a payload, and three inputs."""
    (tmp_path / "reader.py").write_text(READER)
    (tmp_path / "copying.py").write_text(COPY)
    (tmp_path / "scale.json").write_text("1")
    (tmp_path / "version").write_text("1")
    for number, edges in enumerate([(100, 130), (200, 205), (300, 300)]):
        write(tmp_path, number, range(*edges))
    yield tmp_path
    stop_all()


def write(home: Path, number: int, events: Any) -> None:
    """An input with these numbers."""
    (home / f"{number}.txt").write_text("\n".join(map(str, events)))


@pytest.fixture
def reading(campaign: Callable[..., CampaignSpec], home: Path) -> Callable[..., CampaignSpec]:
    """Campaigns with a reader of this folder."""

    def made(name: str = "Numbers", files: str = "*.txt", limits: Any = None, **parameters: Any) -> CampaignSpec:
        reader = {"callable": f"{home}/reader.py:{name}", "parameters": parameters, "files": "scale.json"}
        return campaign(
            f"{home}/copying.py:copy",
            inputs={"files": f"{home}/{files}", "reader": reader},
            ranges={"events": 4},
            limits={"abandoned": "100%", **(limits or {})},
        )

    return made


def test_a_readers_events_reach_the_payload(reading: Callable[..., CampaignSpec], home: Path) -> None:
    """Each once, in order, from files with events and without; in a process of its own."""
    with Crew(reading(offset=1000), home) as crew:
        assert crew.run().merged == 35
        rows = crew.rows()["event"].to_pylist()
        assert rows == [*range(1100, 1130), *range(1200, 1205)]
        assert [item.boundaries for item in crew.opened.inputs()] == [(10, 20), (), ()]
        assert crew.audit().is_exact


@pytest.mark.parametrize(
    ("number", "limits", "said"),
    [
        (13, {}, "ValueError: thirteen"),
        (14, {}, "reader process died with signal SIGABRT"),
        (15, {"input_timeout": "1s"}, r"reader was killed because .* 1 s \(limits.input_timeout\)"),
        (16, {}, r"reader Numbers gave a list of 0 for the 1 events \[4, 5\) of .*3\.txt"),
        (17, {}, "reader process died with exit code 0"),
        (18, {"memory": "2GB"}, "MemoryError"),
    ],
    ids=["raises", "crashes", "hangs", "lies", "exits", "takes memory"],
)
def test_a_reader_that_fails_costs_the_events_that_it_fails_for(
    reading: Callable[..., CampaignSpec], home: Path, number: int, limits: dict[str, Any], said: str
) -> None:
    """It raises, crashes, hangs, lies, exits or takes too much memory: no worker is lost, and no other event."""
    write(home, 3, [1, 2, 3, 4, number, 5])
    with Crew(reading(files="3.txt", limits=limits), home, workers=1) as crew:
        counts = crew.run()
        assert (counts.merged, counts.abandoned) == (5, 1)
        assert crew.rows()["event"].to_pylist() == [1, 2, 3, 4, 5]
        (lost,) = crew.opened.abandoned_spans()
        assert (lost.start, lost.stop) == (4, 5)
        (incident,) = crew.opened.journal(JournalKind.ABANDONED)

        assert re.search(said, incident.reason), incident.reason
        assert not crew.opened.journal(JournalKind.LOSS)


@pytest.mark.parametrize(
    ("name", "limits", "error", "said"),
    [
        (
            "never",
            {},
            InputError,
            r"3 inputs cannot be read: .*signal SIGABRT \(6\) \(reader\.py, line \d+\)\.; /",
        ),
        ("slow", {"input_timeout": "500ms"}, InputError, r"reader was killed because .*limits\.input_timeout"),
        (
            "nothing",
            {},
            InputError,
            r"reader nothing returned \[1, 2, 3\] for .*; it must return a source: an",
        ),
        ("wrong", {}, PayloadError, r"reader wrong cannot be called with these parameters .*: it needs "),
        ("missing", {}, PayloadError, r"has no top-level class or function 'missing'"),
    ],
    ids=["crashes", "hangs", "no source", "parameters", "no such name"],
)
def test_a_reader_that_opens_nothing_stops_the_campaign(
    reading: Callable[..., CampaignSpec], home: Path, name: str, limits: dict[str, Any], error: Any, said: str
) -> None:
    """With its name, before anything is done."""
    with pytest.raises(error, match=said) as told:
        Crew(reading(name, limits=limits), home).__enter__()
    assert "\n" not in str(told.value)


def test_a_changed_reader_is_a_difference(reading: Callable[..., CampaignSpec], home: Path) -> None:
    """Its code, its data and its parameters; what was shipped goes on with 'keep', the new one with 'accept'."""
    with Crew(reading(), home) as crew:
        crew.run(until=lambda counts: counts.done > 0)
        before = crew.opened.record.reader
    (home / "scale.json").write_text("-1")
    with pytest.raises(
        CampaignChanged, match=r"the code of reader .*py:Numbers: scale\.json changed.*\. Choose.*keep"
    ):
        Crew(reading(), home)
    with pytest.raises(CampaignChanged, match=r"inputs\.reader\.parameters\.offset: not set -> 5"):
        Crew(reading(offset=5), home)
    with Crew(reading(), home, changed=Changed.KEEP) as crew:
        kept = crew.opened.order.source.reader
        assert kept is not None and kept.digest == before
        crew.run(until=lambda counts: counts.done >= 10)
    with Crew(reading(), home, changed=Changed.ACCEPT) as crew:
        assert crew.run().merged == 35
        rows = crew.rows()["event"].to_pylist()
        assert sorted(map(abs, rows)) == [*range(100, 130), *range(200, 205)] and min(rows) < 0 < max(rows)
    (home / "reader.py").write_text(READER.replace("len(self.numbers), [10", "len(self.numbers) - 1, [10"))
    with pytest.raises(CampaignChanged, match=r"0\.txt changed: it had 30 events, now 29; .*cannot change this"):
        Crew(reading(), home, changed=Changed.STOP)


def test_a_changed_input_is_noticed(reading: Callable[..., CampaignSpec], home: Path) -> None:
    """By its file; or, if the reader says what identifies it, by that."""
    with Crew(reading(), home) as crew:
        crew.run(until=lambda counts: counts.done > 0)
    write(home, 0, range(40))
    os.utime(home / "0.txt", ns=(1, 1))
    with pytest.raises(CampaignChanged, match=r"input .*0\.txt changed: it had 30 events, now 40"):
        Crew(reading(), home)


def test_a_source_may_say_what_identifies_it(reading: Callable[..., CampaignSpec], home: Path) -> None:
    """Then the file may change, and the text must not."""
    with Crew(reading("OfNoFile", files="0.txt"), home) as crew:
        assert crew.run().merged == 7
    write(home, 0, range(99))
    with Crew(reading("OfNoFile", files="0.txt"), home) as crew:
        assert crew.run().merged == 7
    (home / "version").write_text("2")
    with pytest.raises(CampaignChanged, match=r"0\.txt changed: it still has 7 events, but another content"):
        Crew(reading("OfNoFile", files="0.txt"), home)


def test_a_campaign_with_a_reader_goes_on_without_its_files(
    reading: Callable[..., CampaignSpec], home: Path
) -> None:
    """A rescue has the ledger alone: the shipped reader is run, from any folder."""
    spec = reading()
    with Crew(spec, home) as crew:
        crew.run(until=lambda counts: counts.done > 0)
    (home / "reader.py").unlink()
    opened = load_campaign(spec.ledger, spec.name, folder=home)
    reader = opened.order.source.reader
    assert reader is not None and reader.digest == opened.record.reader
    with Crew(spec, home, changed=Changed.KEEP) as crew:
        assert crew.run().merged == 35


def test_try_runs_the_reader_in_this_process(reading: Callable[..., CampaignSpec], home: Path) -> None:
    """So that it can be debugged; its errors have the lines of the user's own file."""
    assert try_payload(reading(), events=3, start=2).result["event"].tolist() == [102, 103, 104]
    write(home, 3, [13])
    with pytest.raises(PayloadError, match=r"reader .* failed for .*3\.txt: ValueError: thirteen") as error:
        try_payload(reading(files="3.txt"))
    assert f'File "{home}/reader.py", line' in str(error.value)


def test_columns_are_given_to_a_reader_that_takes_them(campaign: Callable[..., CampaignSpec], home: Path) -> None:
    """Others are refused, before they would give more than was asked for."""
    for name, refused in (("Numbers", False), ("OfNoFile", True)):
        inputs = {"files": f"{home}/1.txt", "columns": ["event"], "reader": f"{home}/reader.py:{name}"}
        inputs["reader"] = {"callable": inputs["reader"], "files": ["scale.json"]}
        spec = campaign(f"{home}/copying.py:copy", inputs=inputs, name=name)
        if refused:
            with pytest.raises(PayloadError, match="reader OfNoFile has no parameter 'columns'"):
                Crew(spec, home).__enter__()
        else:
            with Crew(spec, home) as crew:
                assert crew.run().merged == 5
