"""Several processes of one machine use one ledger at once, for real."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

from eventmill.core.records import CampaignRow
from eventmill.ledger import Ledger, create_ledger, open_ledger
from tests.conftest import new_campaign
from tests.engine.ledger_actions import layout, lead

CampaignHandle = Callable[..., CampaignRow]

WORKER = """
    import sys
    from eventmill.ledger import open_ledger
    from tests.engine.ledger_actions import commit, ranges_of
    ledger, holder, blocks = open_ledger(sys.argv[1]), sys.argv[2], sys.argv[3].split(",")
    print("ready", flush=True)
    sys.stdin.readline()
    for block in blocks:
        claim = ledger.claim(int(block), holder=holder)
        for piece in ranges_of(claim) if claim else ():
            print(*commit(ledger, claim, (piece.start, piece.stop), size=10).outcomes)
"""

CREATOR = """
    import sys
    from eventmill.ledger import create_ledger
    print("ready", flush=True)
    sys.stdin.readline()
    print(len(create_ledger(sys.argv[1]).campaigns()))
"""


def _side_by_side(script: str, *arguments: list[str]) -> list[list[str]]:
    """What processes print that run the same script and all begin at once."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), *given],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        )
        for given in arguments
    ]  # fmt: skip
    for process in running:
        assert process.stdout and process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    printed = [process.communicate()[0].split("\n")[:-1] for process in running]
    assert [process.returncode for process in running] == [0] * len(running)
    return printed


def test_workers_commit_side_by_side(tmp_path: Path) -> None:
    """Three processes with blocks of their own: every commit counts, and every event is there once."""
    ledger = create_ledger(str(tmp_path / "ledger.sqlite"))
    campaign = new_campaign(ledger, (90, 90))
    leadership = lead(ledger, campaign)
    blocks = []
    while block := ledger.reserve(leadership, events=15, range_events=2):
        blocks.append(str(block.id))
    printed = _side_by_side(WORKER, *([ledger.url, f"w{n}", ",".join(blocks[n::3])] for n in range(3)))
    assert {line for lines in printed for line in lines} == {"accepted"}
    assert ledger.counts(campaign.id).committed == 180
    assert ledger.usage(campaign.id)["useful"][:2] == (sum(map(len, printed)), 180)


def test_workers_that_run_the_same_blocks_count_once(tmp_path: Path) -> None:
    """Two processes that both believe to own the same blocks: each event is accepted from one of them."""
    ledger = create_ledger(str(tmp_path / "ledger.sqlite"))
    campaign = new_campaign(ledger, (60,), losses=100)
    leadership = lead(ledger, campaign)
    blocks = []
    while block := ledger.reserve(leadership, events=12, range_events=2):
        blocks.append(str(block.id))
    printed = _side_by_side(WORKER, *([ledger.url, f"w{n}", ",".join(blocks)] for n in range(2)))
    accepted = [line for lines in printed for line in lines].count("accepted")
    assert 2 * accepted == ledger.counts(campaign.id).committed == 60
    assert all(line.endswith("committed") for line in layout(ledger, campaign))


def test_one_ledger_is_created_by_many_at_once(tmp_path: Path) -> None:
    """Whoever comes first makes the tables; nobody sees half of them."""
    path = str(tmp_path / "ledger.sqlite")
    assert _side_by_side(CREATOR, [path], [path], [path]) == [["0"]] * 3
    assert open_ledger(path).campaigns() == ()


def test_threads_share_one_ledger(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """One open ledger serves all threads of a process."""
    from concurrent.futures import ThreadPoolExecutor

    campaign = open_campaign(80)
    leadership = lead(ledger, campaign)
    with ThreadPoolExecutor(4) as threads:
        blocks = list(threads.map(lambda _: ledger.reserve(leadership, events=10, range_events=10), range(8)))
    assert sorted(block.start for block in blocks if block) == list(range(0, 80, 10))
