"""A campaign that asks for software: before a run, on a worker that lacks it, and when its lock file changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from eventmill.campaign.choice import Changed
from eventmill.campaign.doing import Board, written_on
from eventmill.campaign.open import open_campaign
from eventmill.config.campaign_spec import read_campaign
from eventmill.errors import CampaignChanged, PayloadError
from eventmill.payloads.pool import stop_all
from eventmill.runtime import software
from eventmill.work.block import run_block
from tests.story.command_line.conftest import CAMPAIGN, CommandLine, Mill, write_campaign

NewCampaign = Callable[..., Mill]

HERE = f"numpy=={version('numpy')}\n"
LACKS = "lacks what payload.environment asks for: numpy 0.1 (found "


@pytest.fixture(autouse=True)
def each_test_looks_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(software, "_found", set())
    monkeypatch.setattr("eventmill.work.block.QUARANTINE_SECONDS", 0.0)
    yield
    stop_all()


def asking(environment: Any) -> dict[str, Any]:
    """The small campaign, which asks for this."""
    return CAMPAIGN | {"payload": {"callable": "payload.py:square", "environment": environment}}


def test_what_is_here_is_said_to_be(command_line: CommandLine, folder: Path) -> None:
    """And the campaign is processed."""
    (folder / "requirements.lock").write_text(HERE)
    few = {"inputs": {"generated": {"events": 20}}}
    write_campaign(folder, asking({"packages": "requirements.lock", "path": str(folder)}) | few)
    said = command_line("validate", "campaign.yaml")
    assert said.code == 0 and "payload.environment is here" in said.out
    campaign = read_campaign(Path("campaign.yaml"))
    mill = Mill(campaign, open_campaign(campaign, folder=folder))
    mill.run()
    assert mill.opened.counts().merged == 20
    stored = mill.opened.record.spec["payload"]["environment"]
    assert stored == {"packages": [HERE.strip()], "path": str(folder), "image": None}


def test_what_is_not_here_is_an_error_where_workers_run_here(command_line: CommandLine, folder: Path) -> None:
    """A warning, if they run elsewhere. `try` warns, and tries."""
    (folder / "requirements.lock").write_text("numpy==0.1\n")
    write_campaign(folder, asking("requirements.lock"))
    said = command_line("validate", "campaign.yaml")
    assert said.code != 0 and LACKS in said.err and "Install it here" in said.err and "\n" not in said.err.strip()
    tried = command_line("try", "campaign.yaml", "--events", "3")
    assert tried.code == 0 and "warning: " in tried.out and LACKS in " ".join(tried.out.split())
    for cluster in ({"type": "address", "address": "tcp://127.0.0.1:1"}, "pilots"):
        write_campaign(folder, asking("requirements.lock") | {"cluster": cluster})
        said = command_line("validate", "campaign.yaml")
        assert said.code == 0 and LACKS in " ".join(said.out.split()) and "must be where workers run" in said.out


def test_needs_of_pilots_where_there_are_none_are_warned_of(command_line: CommandLine, folder: Path) -> None:
    """They would decide nothing."""
    for cluster, is_warned in (("local", True), ("pilots", False), ({"type": "local", "pilots": 2}, False)):
        payload = {"callable": "payload.py:square", "needs": {"gpus": 1}}
        write_campaign(folder, CAMPAIGN | {"payload": payload, "cluster": cluster})
        said = command_line("validate", "campaign.yaml")
        assert said.code == 0 and ("payload.needs is for pilots" in " ".join(said.out.split())) is is_warned


@pytest.mark.parametrize("command", ["validate", "run", "try"])
def test_a_lock_file_that_cannot_be_used_is_refused_at_once(
    command: str, command_line: CommandLine, folder: Path
) -> None:
    """With its line; or where it is, if it lies beside the campaign file and not in the working folder."""
    write_campaign(folder, asking("requirements.lock"))
    said = command_line(command, "campaign.yaml")
    assert said.code != 0 and "the lock file" in said.err and "requirements.lock does not exist" in said.err
    (folder / "requirements.lock").write_text("numpy==1\n\npandas>=2\n")
    said = command_line(command, "campaign.yaml")
    assert said.code != 0 and "requirements.lock:3: 'pandas>=2' does not pin one version" in said.err
    assert not (folder / ".eventmill").exists()


def test_a_worker_without_the_software_costs_nothing(new_campaign: NewCampaign, folder: Path) -> None:
    """Its blocks go back, and no event is charged; where no worker has it, the campaign stops and says what."""
    mill = new_campaign(payload={"callable": "payload.py:square", "environment": ["numpy==0.1"]})
    ledger, number = mill.opened.ledger, mill.opened.id
    with mill.driven() as coordinator:
        for _ in range(3):
            coordinator.record_block_end(None)
            mill.work(coordinator)
            assert ledger.counts(number).ready == 60 and not ledger.block_ids(number)
        assert not ledger.journal(number, "loss", "failure")
        assert all(not span.losses and not span.failures for _, span in ledger.spans(number))
        with pytest.raises(PayloadError, match=r"no worker has the software of campaign 'squares': .*numpy 0\.1"):
            coordinator.record_block_end(None)


def test_a_worker_without_the_software_is_sent_away_where_others_have_it(
    new_campaign: NewCampaign, folder: Path
) -> None:
    """Like any other on which a payload cannot be set up."""
    view = folder / "view"
    view.mkdir()
    mill = new_campaign(payload={"callable": "payload.py:square", "environment": {"path": str(view)}})
    with mill.driven() as coordinator:
        mill.work(coordinator)
        assert mill.opened.counts().done
        view.rmdir()
        software._found.clear()
        for _ in range(3):
            block = coordinator.next_block(slots=1)
            assert block is not None
            assert "(not there)" in run_block(mill.opened.order, block.id, holder="elsewhere:1:1").note
        assert mill.opened.ledger.quarantined(mill.opened.id) == {"elsewhere:1:1"}
        assert not mill.opened.ledger.journal(mill.opened.id, "loss", "failure")


def test_a_changed_lock_file_is_a_change_of_what_computes(folder: Path) -> None:
    """Told by package, as changed code is; accepted, it holds for the rest. Its path is no difference."""
    (folder / "requirements.lock").write_text(HERE)
    write_campaign(folder, asking("requirements.lock"))
    campaign = read_campaign(Path("campaign.yaml"))
    mill = Mill(campaign, open_campaign(campaign, folder=folder))
    with mill.driven() as coordinator:
        mill.work(coordinator)
    (folder / "other.lock").write_text(f"# the same\n{HERE}")
    write_campaign(folder, asking("other.lock"))
    assert opened(folder).order.environment == mill.opened.order.environment
    (folder / "other.lock").write_text("numpy==0.1\nno-such-package==1\n")
    with pytest.raises(
        CampaignChanged, match=rf"packages: no-such-package 1 added, {HERE.strip()[:5]} .* -> 0\.1\. "
    ):
        opened(folder)
    board = Board()
    with written_on(board):
        order = opened(folder, changed=Changed.ACCEPT).order
    assert order.environment is not None and order.environment.packages == ("no-such-package==1", "numpy==0.1")
    assert "events are done and keep the results of the earlier version (payload.environment.packages)" in (
        " ".join(board.remarks)
    )


def test_what_was_begun_goes_on_without_its_lock_file(folder: Path) -> None:
    """The ledger has the pins; who keeps them needs no file."""
    (folder / "requirements.lock").write_text(HERE)
    write_campaign(folder, asking("requirements.lock"))
    before = opened(folder).order.environment
    (folder / "requirements.lock").unlink()
    assert before is not None and opened(folder, changed=Changed.KEEP).order.environment == before


def opened(folder: Path, *, changed: Changed = Changed.STOP) -> Any:
    """The campaign of the working directory, as a run opens it."""
    return open_campaign(read_campaign(Path("campaign.yaml")), folder=folder, changed=changed)
