"""`limits.readers`: how many blocks may read from one storage at a time, whoever reads and whoever vanishes."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.dispatch import has_work, map_what_fits, settle
from eventmill.campaign.merge_queue import is_due
from eventmill.campaign.open import open_campaign
from eventmill.campaign.split_inputs import register, split
from eventmill.config.campaign_spec import CampaignSpec, parse_campaign
from eventmill.core.leases import Block, Claim
from eventmill.core.outputs import RangeOutput
from eventmill.core.records import JournalKind
from eventmill.ledger import Ledger, create_ledger
from eventmill.rules.cutting import ranges_of
from eventmill.rules.storage_limit import StorageLimit
from eventmill.sources.storages import storage_of
from tests.engine.simulated_workers import Clock, Fleet

MOST, WORKERS, EVENTS = 3, 60, 6_000

INPUTS = st.dictionaries(st.integers(1, 30), st.sampled_from(["disk 1", "disk 2", "http://host"]), max_size=30)


@given(INPUTS, st.integers(1, 4), st.randoms(use_true_random=False))
def test_whatever_is_chosen_among_what_is_not_full_no_storage_gets_too_much(
    storages: dict[int, str], most: int, chance: object
) -> None:
    """Blocks are handed out until all is full: then each storage has exactly as many as it may."""
    limit, blocks = StorageLimit(most, storages), list[int]()
    while free := sorted(set(storages) - limit.full(blocks)):
        blocks.append(chance.choice(free))  # type: ignore[attr-defined]
        assert max(Counter(storages[item] for item in blocks).values()) <= most
    assert Counter(storages[item] for item in blocks) == dict.fromkeys(storages.values(), most)
    assert len(blocks) == limit.at_once(len(storages))


def test_inputs_without_a_storage_have_no_limit() -> None:
    """Generated events are read from nowhere."""
    limit = StorageLimit(1, {1: "disk"})
    assert limit.full([2, 2, 2]) == frozenset() and limit.full([1, 2]) == {1} and limit.at_once(2) is None


def test_a_storage_is_a_file_system_a_host_or_a_bucket(tmp_path: Path, other_disk: Path) -> None:
    """Files, also with a tree's name or gone by now, belong to the file system in which they are looked for."""
    (tmp_path / "a.root").touch()
    (tmp_path / "link.root").symlink_to(other_disk / "b.root")
    (other_disk / "b.root").touch()

    def of(url: str) -> str | None:
        return storage_of(url, folder=tmp_path)

    here, there = of("a.root"), of(f"{other_disk}/b.root")
    assert here != there and there == of("link.root") == of(f"file://{other_disk}/b.root")
    assert here == of(f"{tmp_path}/a.root") == of("a.root:tree") == of("gone.root")
    assert of("http://host/a") == of("http://host/b") != of("http://host:81/a")
    assert of("s3://bucket/a") == of("s3a://bucket/b") != of("s3://other/a")
    assert of("root://host:1094//a") == of("root://host:1094//b") and of("generated:0") is None


@pytest.mark.parametrize("seed", [1, 2])
def test_no_storage_ever_has_more_blocks_than_it_may(seed: int, tmp_path: Path, other_disk: Path) -> None:
    """Sixty workers vanish, freeze and come back late; both storages are kept busy; each event is merged once."""
    clock, folders = Clock(), (tmp_path, other_disk)
    ledger = create_ledger(f"memory://limit-{seed}", clock=clock)
    files = [_file(folder, n) for n, folder in enumerate((*folders, *folders))]
    campaign = _campaign(ledger.url, files, tmp_path, readers=MOST)
    opened = open_campaign(campaign, folder=tmp_path)
    found, unreadable = split(opened.urls, opened.order.source, folder=opened.order.folder)
    place = {item.id: Path(item.url).parent for item in register(opened, campaign, found, unreadable)}
    together = Counter[tuple[int, int]]()

    class Watched(Fleet):
        """Counts the blocks of each storage whenever there is one more."""

        def submit(self, block: Block) -> None:
            number = Counter(place[item] for item in ledger.block_inputs(opened.id).values())
            assert max(number.values()) <= MOST
            together[number[folders[0]], number[folders[1]]] += 1
            super().submit(block)

    fleet = Watched(opened, clock, workers=WORKERS, seed=seed, guilty=set(), deadly=set())
    with Coordinator(opened, campaign, monotonic=clock.monotonic, is_gone=fleet.is_gone) as coordinator:
        while has_work(coordinator):
            coordinator.watch()
            map_what_fits(coordinator, fleet, slots=fleet.size)
            settle(coordinator, fleet)
            fleet.merge_what_is_due()
        while is_due(opened):
            fleet.merge_what_is_due()
            fleet.wait_for_blocks(seconds=1)
            coordinator.watch()
    assert together[MOST, MOST] > 10  # none waits for the other
    assert set(fleet.merged.values()) == {1} and len(fleet.merged) == EVENTS
    assert len(ledger.journal(opened.id, JournalKind.LOSS)) > 10 and fleet.vanished > 10


@pytest.mark.parametrize(("most", "copies"), [(1, 0), (2, 1)])
def test_a_duplicate_claim_is_a_reader_too(most: int, copies: int, tmp_path: Path, other_disk: Path) -> None:
    """All is done but one range, which takes for ever: another worker tries it if another may read its storage."""
    clock = Clock()
    ledger = create_ledger(f"memory://duplicates-{most}", clock=clock)
    files = [_file(tmp_path, 0, events=10), _file(other_disk, 1, events=40)]
    campaign = _campaign(ledger.url, files, tmp_path, readers=most)
    opened = open_campaign(campaign, folder=tmp_path)
    found, unreadable = split(opened.urls, opened.order.source, folder=opened.order.folder)
    slow, _ = register(opened, campaign, found, unreadable)
    with Coordinator(opened, campaign, monotonic=clock.monotonic, is_gone=lambda name: False) as coordinator:
        coordinator.close_if_finished()
        while (block := coordinator.next_block(slots=4)) is not None:
            claim = ledger.claim(block.id, holder=f"w{block.id}")
            assert claim is not None
            if block.input_id != slow.id:
                _commit_all(ledger, claim, opened.order.payload.digest)
        clock.seconds += 50
        coordinator.close_if_finished()
        assert ledger.counts(opened.id).leased == 10 and ledger.counts(opened.id).committed == 40
        assert (coordinator.next_block(slots=4) is not None) == bool(copies)
        assert list(ledger.block_inputs(opened.id).values()) == [slow.id] * (1 + copies)


def _commit_all(ledger: Ledger, claim: Claim, digest: str) -> None:
    pieces = ranges_of(claim, merge_events=None)
    outputs = [
        RangeOutput(piece, f"{claim.block.id}-{piece.start}", 1, "0" * 64, 10, 1.0, 1.0) for piece in pieces
    ]
    ledger.commit(claim.lease, outputs, payload=digest)


def _campaign(ledger: str, files: list[Path], folder: Path, *, readers: int) -> CampaignSpec:
    (folder / "payload.py").write_text("def identity(events, where):\n    return events\n")
    return parse_campaign(
        {
            "name": "limited",
            "ledger": ledger,
            "inputs": {"files": [str(file) for file in files]},
            "payload": {"callable": f"{folder}/payload.py:identity"},
            "ranges": {"events": 10},
            "output": {"store": str(folder / "merged"), "merge": {"events": 1_000}},
            "limits": {"readers": readers, "losses": 100},
        },
        source="the simulation",
    )


def _file(folder: Path, number: int, *, events: int = EVENTS // 4) -> Path:
    file = folder / f"{number}.parquet"
    pq.write_table(pa.table({"event": range(number * events, (number + 1) * events)}), file)
    return file


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder in another file system than that of `tmp_path`."""
    for place in (Path("/dev/shm"), Path(__file__).parents[2], Path("/tmp")):
        if place.is_dir() and place.stat().st_dev != tmp_path.stat().st_dev:
            with tempfile.TemporaryDirectory(prefix="eventmill-other-disk-", dir=place) as folder:
                yield Path(folder)
            return
    pytest.skip("this machine has one file system only")
