"""The command line in this process, and a small campaign that the test drives by hand."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from eventmill.campaign import progress
from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.merge_queue import begin_due
from eventmill.campaign.open import open_campaign
from eventmill.campaign.split_inputs import register, split
from eventmill.cli import main
from eventmill.config.campaign_spec import CampaignSpec, read_campaign
from eventmill.core.leases import Block
from eventmill.runtime.process_id import this_process
from eventmill.work.block import run_block
from eventmill.work.merge import run_merge

PAYLOAD = """\
import pyarrow as pa


def square(events, where, *, poison=()):
    '''Each number and its square; the poisonous ones cannot be had.'''
    for number in events.tolist():
        if number in poison:
            print(f"looking at {number}")
            raise ValueError("negative mass")
    return pa.Table.from_arrays([pa.array(events), pa.array(events * events)], names=["event", "square"])


def untouched(events, where):
    return events
"""

CAMPAIGN: dict[str, Any] = {
    "name": "squares",
    "inputs": {"generated": {"events": 60, "files": 2}},
    "payload": {"callable": "payload.py:square"},
    "output": {"store": "out", "merge": {"events": 20}},
    "ranges": {"events": 5},
    "limits": {"failures": 2},
}


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


CommandLine = Callable[..., Ended]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory; what was imported from it is forgotten in the end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


A_MOMENT = 60.0
"""What a command may take until it says what it is doing: half a second, where the tests do not share cores."""


@pytest.fixture
def command_line(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """`eventmill` with these words, in this process. On a busy machine, too, a refusal takes but a moment."""
    monkeypatch.setattr(progress, "MOMENT_SECONDS", A_MOMENT)

    def run(*words: str) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            main(words)
        printed = capsys.readouterr()
        return Ended(int(ending.value.code or 0), printed.out, printed.err)

    return run


def write_campaign(folder: Path, data: Any = None, *, payload: str = PAYLOAD) -> Path:
    """`campaign.yaml` (the small one unless `data` says otherwise) and its payload, in `folder`."""
    (folder / "payload.py").write_text(payload)
    path = folder / "campaign.yaml"
    path.write_text(yaml.safe_dump(CAMPAIGN if data is None else data, sort_keys=False))
    return path


@dataclass
class Mill:
    """A campaign that the test drives through the engine's verbs: no cluster, no Prefect."""

    campaign: CampaignSpec
    opened: CampaignHandle

    @contextlib.contextmanager
    def driven(self) -> Iterator[Coordinator]:
        """Take the lead and split; at the end what was handed out is taken back."""
        with Coordinator(self.opened, self.campaign) as coordinator:
            found, unreadable = split(
                coordinator.unsplit(), self.opened.order.source, folder=self.opened.order.folder
            )
            register(self.opened, self.campaign, found, unreadable)
            coordinator.close_if_finished()
            yield coordinator

    def work(self, coordinator: Coordinator) -> Block | None:
        """Process the next block."""
        block = coordinator.next_block(slots=1)
        if block is not None:
            run_block(self.opened.order, block.id, holder=str(this_process()))
        return block

    def run(self) -> None:
        """From the beginning to the end, as `eventmill run` does."""
        with self.driven() as coordinator:
            while not coordinator.close_if_finished():
                self.work(coordinator)
            for number in begin_due(self.opened):
                run_merge(self.opened.order, number, holder=str(this_process()))
            coordinator.finish()


def begin(folder: Path, **changes: Any) -> Mill:
    """Open the small campaign in `folder`, the working directory, with other top-level keys if some are given."""
    campaign = read_campaign(write_campaign(folder, CAMPAIGN | changes))
    return Mill(campaign, open_campaign(campaign, folder=folder))


@pytest.fixture
def new_campaign(folder: Path) -> Callable[..., Mill]:
    """Begins the small campaign in the working directory."""
    return functools.partial(begin, folder)


POISONED: dict[str, Any] = {
    "payload": {"callable": "payload.py:square", "parameters": {"poison": [7, 31, 32]}},
    "target": 0.9,
}


@pytest.fixture(scope="session")
def processed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a processed campaign that all tests look at and none changes."""
    folder = tmp_path_factory.mktemp("processed")
    with contextlib.chdir(folder):
        begin(folder, **POISONED).run()
    return folder


@pytest.fixture
def processed_campaign(folder: Path, processed_once: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of one that is done: 60 events in 2 inputs, of which 7, 31 and 32 are poisonous
    and abandoned, and the rest are in 3 merged files. Only to be looked at.
    """
    monkeypatch.chdir(processed_once)
    return processed_once
