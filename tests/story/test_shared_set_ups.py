"""One process that works on many blocks at once: the payload is set up once for all of them."""

from __future__ import annotations

import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.open import open_campaign
from eventmill.campaign.split_inputs import register, split
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.leases import BlockEnd
from eventmill.payloads import pool
from eventmill.work.block import run_block
from tests.waiting import until

SLOTS = 4

PAYLOAD = """
    import os
    import signal
    from pathlib import Path

    import pyarrow as pa


    class Square:
        '''Squares numbers; the first process that sees event 77 dies of it.'''

        def __init__(self, folder):
            self.folder = Path(folder)
            with (self.folder / "set-ups").open("a") as log:
                log.write(f"{os.getpid()}\\n")

        def __call__(self, events, where):
            with (self.folder / "calls").open("a") as log:
                log.write(f"{os.getpid()}\\n")
            if 77 in events:
                try:
                    (self.folder / "died").touch(exist_ok=False)
                except FileExistsError:
                    pass
                else:
                    os.kill(os.getpid(), signal.SIGSEGV)
            return pa.table({"event": events, "square": events**2})
"""


@pytest.fixture
def sharing() -> Iterator[None]:
    """Set-ups are shared in this process, for one test."""
    pool.share_setups(True)
    yield
    pool.stop_all()
    pool.share_setups(False)


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")
@pytest.mark.usefixtures("sharing")
def test_blocks_at_once_in_one_process_share_a_set_up(
    campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """Every event is committed, also that of which a slot died; nobody is set up again for it."""
    (tmp_path / "payload.py").write_text(textwrap.dedent(PAYLOAD))
    made = campaign(
        f"{tmp_path}/payload.py:Square",
        events=400,
        ranges={"events": 10},
        parameters={"folder": str(tmp_path)},
        columns={"event": "int64", "square": "int64"},
    )
    opened = open_campaign(made, folder=tmp_path)
    wrong: list[BaseException] = []
    with Coordinator(opened, made) as coordinator:
        found, _ = split(coordinator.unsplit(), opened.order.source, folder=opened.order.folder)
        register(opened, made, found, ())
        reserving = threading.Lock()
        all_begun = threading.Barrier(SLOTS, timeout=60)

        def work(slot: int) -> None:
            try:
                is_first = True
                while True:
                    with reserving:
                        block = opened.ledger.reserve(coordinator.leadership, events=40, range_events=10)
                    if is_first:
                        all_begun.wait()
                        is_first = False
                    if block is None:
                        return
                    report = run_block(opened.order, block.id, holder=f"here:1:{slot}")
                    if report.end is BlockEnd.HANDED_ON:  # what failed here is tried again elsewhere
                        opened.ledger.release_unclaimed(block.id)
                        return
            except BaseException as error:  # told in the thread of the test
                wrong.append(error)

        threads = [threading.Thread(target=work, args=(slot,)) for slot in range(SLOTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        while not coordinator.close_if_finished():
            again = until(lambda: coordinator.next_block(slots=1), seconds=30)  # a range that failed rests first
            run_block(opened.order, again.id, holder="there:2:1")
        counts = opened.ledger.counts(opened.record.id)
        assert (counts.committed + counts.merged, counts.abandoned) == (400, 0)
        assert len(opened.ledger.journal(opened.record.id, "failure")) == 1
    set_ups = (tmp_path / "set-ups").read_text().split()
    callers = set((tmp_path / "calls").read_text().split())
    assert len(set_ups) == 1 and set_ups[0] not in callers
    assert 2 <= len(callers) <= SLOTS + 1  # a slot more for the one that died
