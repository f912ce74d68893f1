"""A campaign runs the code that it names, and no other that looks like it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eventmill.campaign.choice import Changed
from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.open import open_campaign
from eventmill.campaign.split_inputs import register, split
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.leases import BlockReport
from eventmill.errors import CampaignChanged, PayloadError
from eventmill.payloads.pool import stop_all
from eventmill.runtime import scratch
from eventmill.work.block import run_block

PAYLOAD = """
import pyarrow as pa

def one(events, where, **more):
    return pa.Table.from_arrays([pa.array(where.positions)], names=["one"])

def two(events, where, **more):
    return pa.Table.from_arrays([pa.array(where.positions)], names=["two"])
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Code is unpacked in this test's folder; payloads end with it."""
    monkeypatch.setattr(scratch, "choose_scratch", lambda: tmp_path)
    monkeypatch.setattr("eventmill.work.block.QUARANTINE_SECONDS", 0.0)
    yield tmp_path
    stop_all()


Begun = Callable[..., tuple[CampaignHandle, CampaignSpec]]


@pytest.fixture
def begin(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> Begun:
    """Opens a campaign of 40 events, unless said otherwise, for a function of `p.py` or of a module."""

    def begun(
        payload: str, *, changed: Changed = Changed.STOP, **keys: Any
    ) -> tuple[CampaignHandle, CampaignSpec]:
        output = {"store": str(tmp_path / f"out-{keys.get('name', 'story')}")}
        keys = {"events": 40, "ranges": {"events": 20}} | keys
        made = campaign(payload, output=output, **keys)
        return open_campaign(made, folder=tmp_path, changed=changed), made

    return begun


def work(begun: tuple[CampaignHandle, CampaignSpec], *, blocks: int = 100) -> list[BlockReport]:
    """Process so many blocks in this very process, with its warm payloads."""
    opened, made = begun
    reports = []
    with Coordinator(opened, made) as coordinator:
        found, _ = split(coordinator.unsplit(), opened.order.source, folder=opened.order.folder)
        register(opened, made, found, ())
        while not coordinator.close_if_finished() and len(reports) < blocks:
            block = coordinator.next_block(slots=1)
            assert block is not None
            reports.append(run_block(opened.order, block.id, holder="elsewhere:1:1"))
    return reports


def columns(opened: CampaignHandle) -> bytes:
    """The schema of what was made."""
    schema = opened.ledger.campaign(opened.record.name).schema
    assert schema is not None
    return schema


def test_two_functions_of_one_file_make_what_each_makes(begin: Begun, tmp_path: Path) -> None:
    """One after the other in one ledger and one warm worker; also from the same place begun anew."""
    (tmp_path / "p.py").write_text(PAYLOAD)
    for name in ("one", "two"):
        begun = begin(f"{tmp_path}/p.py:{name}", name=name)
        work(begun)
        assert name.encode() in columns(begun[0])
    begun = begin(f"{tmp_path}/p.py:two", name="one", changed=Changed.RESTART)
    work(begun)
    assert b"two" in columns(begun[0]) and b"one" not in columns(begun[0])


def test_another_function_of_the_file_is_a_change_of_the_code(begin: Begun, tmp_path: Path) -> None:
    """Named as such, although its file is the same."""
    (tmp_path / "p.py").write_text(PAYLOAD)
    work(begin(f"{tmp_path}/p.py:one"), blocks=1)
    with pytest.raises(CampaignChanged, match=r"the code of payload .*p\.py:two: p:one -> p:two\."):
        begin(f"{tmp_path}/p.py:two")


def test_a_range_that_another_run_commits_meanwhile_is_kept(
    begin: Begun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was done when this run looked, but something when nobody else drives the campaign any more."""
    (tmp_path / "p.py").write_text(PAYLOAD)
    opened, _ = begun = begin(f"{tmp_path}/p.py:one")
    work(begun, blocks=1)
    monkeypatch.setattr("eventmill.campaign.open.is_nothing_lost", lambda *_, **__: True)
    with pytest.raises(CampaignChanged, match=r"p:one -> p:two\."):
        begin(f"{tmp_path}/p.py:two")
    assert opened.ledger.counts(opened.id).done


def test_parameters_that_are_equal_to_python_only_are_a_change(begin: Begun, tmp_path: Path) -> None:
    """1 and True and 1.0."""
    (tmp_path / "p.py").write_text(PAYLOAD)
    work(begin(f"{tmp_path}/p.py:one", parameters={"a": [1]}), blocks=1)
    for other in (True, 1.0):
        with pytest.raises(CampaignChanged, match=r"parameters\.a: \[1\] -> "):
            begin(f"{tmp_path}/p.py:one", parameters={"a": [other]})


def test_code_that_was_harmed_in_scratch_is_mended_for_the_next_block(begin: Begun, tmp_path: Path) -> None:
    """Whether the payload is warm or not: what runs is what was shipped."""
    (tmp_path / "p.py").write_text(PAYLOAD)
    begun = begin(f"{tmp_path}/p.py:one", events=400, ranges={"events": 5})
    work(begun, blocks=1)
    (unpacked,) = tmp_path.glob("eventmill-code-*/*/p.py")
    for harm in (unpacked.unlink, lambda: unpacked.write_text(PAYLOAD.replace('"one"', '"two"'))):
        stop_all()
        harm()
        reports = work(begun, blocks=1)
        assert [(report.failed, report.note) for report in reports] == [(0, "")]
        assert unpacked.read_text() == PAYLOAD
    assert b"one" in columns(begun[0])


def test_an_installed_package_that_changed_since_is_not_run(
    begin: Begun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not shipped, so each worker looks at its own: no event is charged, and the journal says what to do."""
    (tmp_path / "changing_package").mkdir()
    module = tmp_path / "changing_package" / "__init__.py"
    module.write_text(PAYLOAD)
    monkeypatch.syspath_prepend(tmp_path)
    begun = begin("changing_package:one")
    work(begun, blocks=1)
    module.write_text(PAYLOAD + "\n\n")
    with pytest.raises(PayloadError, match="could not be set up"):
        for _ in range(4):
            (report,) = work(begun, blocks=1)
            assert "Install the earlier version again" in report.note
            with Coordinator(*begun) as coordinator:
                coordinator.record_block_end(None)
    assert not begun[0].ledger.journal(begun[0].record.id, "failure", "loss")
    module.write_text(PAYLOAD)
    assert all(not report.note for report in work(begun))


def test_code_that_was_begun_goes_on_while_it_is_there(
    begin: Begun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What decides is the code of the ledger, shipped or still installed, not the code that is named now."""
    monkeypatch.syspath_prepend(tmp_path)
    for file in ("p.py", "kept_module.py", "changed_module.py"):
        (tmp_path / file).write_text(PAYLOAD)
    shipped, kept, changed = f"{tmp_path}/p.py:one", "kept_module:one", "changed_module:one"
    for name, was, now, is_there in (
        ("a", shipped, kept, True),
        ("b", kept, shipped, True),
        ("c", changed, shipped, False),
        ("d", changed, changed, False),
    ):
        work(begin(was, name=name), blocks=1)
        (tmp_path / "changed_module.py").write_text(f"{PAYLOAD}\n# {name}\n")
        with pytest.raises(CampaignChanged) as refusal:
            begin(now, name=name)
        assert ("'--changed keep'" in str(refusal.value)) is is_there, name
