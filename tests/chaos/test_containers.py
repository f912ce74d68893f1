"""Processes in containers that have the hostname of their host: nobody takes the living for dead."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from eventmill.cluster.restarts import _here
from eventmill.core.records import CampaignRow
from eventmill.drill.signals import HostSignals
from eventmill.errors import CampaignLocked
from eventmill.ledger import Ledger
from eventmill.runtime.process_id import is_gone, is_here, parse_holder, this_process
from tests.hosts import Host, network
from tests.hosts.host import SOURCES
from tests.hosts.possible import require_hosts
from tests.waiting import until

pytestmark = pytest.mark.system

WORKER = f"""
import socket, sys
from eventmill.runtime.process_id import is_gone, is_here, this_process
socket.sethostname({socket.gethostname()!r})
print(this_process(), flush=True)
for line in sys.stdin:
    print(is_gone(line.strip()), is_here(line.strip()), flush=True)
"""

IN_A_FOREIGN_PROC = """
import os, subprocess, sys
from dataclasses import replace
from eventmill.runtime.process_id import is_gone, start_of, this_process
mine = this_process()
with open("/proc/self/stat") as stat:
    started = int(stat.read().rpartition(")")[2].split()[19])
print(mine.pid == os.getpid() == 1, mine.started == started, is_gone(str(mine)), mine.table)
"""


@pytest.fixture
def container() -> Iterator[Host]:
    with network() as net:
        yield net.host("container")


def work_in(container: Host) -> tuple[subprocess.Popen[str], str]:
    """A worker that lives there, and its name."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    worker = container.popen([sys.executable, "-c", WORKER], **pipes)
    return worker, worker.stdout.readline().strip()


def asked(worker: subprocess.Popen[str], holder: str) -> str:
    """Whether a process is gone and is here, as this worker sees it."""
    print(holder, file=worker.stdin, flush=True)
    return str(worker.stdout.readline().strip())


def test_a_worker_in_a_container_is_not_taken_for_gone(container: Host) -> None:
    """Nor is its host's process by it; of its own container it knows who lives. Its end is nobody's certainty."""
    worker, name = work_in(container)
    second, neighbour = work_in(container)
    process = parse_holder(name)
    assert process.host == socket.gethostname() and process.pid < os.getpid()
    without_table = name.partition("@")[0]
    assert is_gone(without_table)  # so it was judged by its hostname alone
    assert not is_gone(name) and not is_here(name)
    assert not HostSignals().signal(name, signal.SIGKILL) and _here(name) is None
    assert asked(worker, str(this_process())) == "False False"
    assert asked(worker, neighbour) == asked(worker, name) == "False True"
    second.kill()
    second.wait()
    assert asked(worker, neighbour) == "True False"
    container.vanish()
    assert not is_gone(name)  # its lease tells


def test_a_container_keeps_its_campaign(
    container: Host, ledger: Ledger, open_campaign: Callable[..., CampaignRow]
) -> None:
    """Nobody on its host takes over a campaign that one leads in there, as long as its lead lasts."""
    campaign = open_campaign(10)
    _, name = work_in(container)
    ledger.acquire_leadership(campaign.id, name, is_gone=is_gone)
    told = rf"by process {parse_holder(name).pid} on {socket.gethostname()}, in another container\. Stop it there"
    with pytest.raises(CampaignLocked, match=told):
        ledger.acquire_leadership(campaign.id, str(this_process()), is_gone=is_gone)
    ledger.acquire_leadership(campaign.id, str(this_process()), is_gone=lambda holder: True)


def test_in_a_foreign_proc_nobody_is_known() -> None:
    """A PID namespace that still has its parent's /proc: the entry with our number is somebody else's."""
    require_hosts()
    found = subprocess.run(
        ["unshare", "--pid", "--fork", sys.executable, "-c", IN_A_FOREIGN_PROC],
        cwd=SOURCES,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split()[:3] == ["True", "True", "False"]
    assert found.stdout.split()[3] != this_process().table


def test_who_is_killed_in_sight_is_gone_at_once() -> None:
    """A PID namespace changes nothing for those that are in none of their own."""
    child = subprocess.Popen(
        [sys.executable, "-c", WORKER.replace("socket.sethostname", "str")],
        **{
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "text": True,
            "cwd": SOURCES,
        },
    )
    name = child.stdout.readline().strip()
    assert is_here(name) and asked(child, str(this_process())) == "False True"
    assert HostSignals().signal(name, signal.SIGKILL)
    until(lambda: is_gone(name), seconds=60)
    child.communicate()
