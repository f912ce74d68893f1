"""How a pilot ends that has no service, or whose service is away, or does not want it any more; and what it says."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.access_tokens import Role
from tests.pilots import led_by_pilots, pilot_says
from tests.waiting import until

EVENTMILL = (sys.executable, "-m", "eventmill", "pilot")
PILOT_ALONE = (sys.executable, "-m", "eventmill.pilot")
TOKEN = "evm_000000000000_" + "x" * 43

SLOW = """
import time
import pyarrow as pa

def number(events, where, pause=0.0):
    time.sleep(pause * len(events))
    return pa.table({"event": events})
"""


@pytest.fixture
def payload(tmp_path: Path) -> str:
    """The address of a payload that takes `pause` seconds for an event."""
    (tmp_path / "slow.py").write_text(SLOW)
    return f"{tmp_path / 'slow.py'}:number"


@pytest.fixture
def nobody() -> str:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@contextmanager
def lonely(command: tuple[str, ...], log: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A pilot without a service, in a process of its own."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, *options], stdout=file, stderr=file, env={**os.environ, "EVENTMILL_TOKEN": TOKEN}
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", [EVENTMILL, PILOT_ALONE])
def test_a_signal_before_a_session_ends_a_pilot_at_once(
    command: tuple[str, ...], number: signal.Signals, nobody: str, tmp_path: Path
) -> None:
    """There is nothing to hand in, so half an hour of patience is not waited for."""
    log = tmp_path / "log"
    with lonely(command, log, "--server", nobody) as process:
        until(lambda: "(--patience)" in log.read_text(), seconds=60)
        process.send_signal(number)
        assert process.wait(30) == 128 + number
    away, last = log.read_text().splitlines()
    assert f"{nobody} does not answer (connection refused); trying again for 30 min (--patience)" in away
    assert "leased" not in away
    assert f"{number.name}: ended before {nobody} gave a session" in last


def test_a_walltime_before_a_session_ends_a_pilot(nobody: str, tmp_path: Path) -> None:
    """It tries no longer than it has."""
    log = tmp_path / "log"
    with lonely(EVENTMILL, log, "--server", nobody, "--walltime", "3s") as process:
        assert process.wait(60) == 1
    assert f"walltime: ended before {nobody} gave a session" in log.read_text().splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--idle", "bla"), "--idle: 'bla' is not valid"),
        (("--walltime", "0"), "--walltime: '0' is not more than 0"),
        (("--walltime", "-5s"), "--walltime: '-5s' is not more than 0"),
        (("--grace", "0s"), "--grace: '0s' is not more than 0"),
        (("--memory", "much"), "--memory: 'much' is not valid"),
        (("--preemption-notices", "ship"), "ship"),
    ],
)
def test_options_are_read_before_anybody_is_called(nobody: str, options: tuple[str, ...], told: str) -> None:
    """A service that is not there would be tried for half an hour, and another would begin a session."""
    code, said = pilot_says("--server", nobody, *options, token=TOKEN)
    assert code == 1 and told in said and len(said.splitlines()) == 1, said
