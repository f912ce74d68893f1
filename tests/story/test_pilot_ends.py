"""How a pilot ends that has no service, whose service is away, or does not want it; and what it says."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.access_tokens import Role
from tests.pilots import led_by_pilots, pilot_says
from tests.service_process import led_by_service
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


def slow_keys(payload: str, folder: Path) -> dict[str, Any]:
    """A campaign of minutes, led by a service that can be killed."""
    return {
        "name": "slow",
        "ledger": str(folder / "ledger.sqlite"),
        "inputs": {"generated": {"events": 2000}},
        "payload": {"callable": payload, "parameters": {"pause": 0.02}},
        "ranges": {"events": 20},
        "output": {"store": str(folder / "out"), "merge": {"events": 2000}},
        "limits": {"lease": "60s"},
    }


def test_a_pilot_that_ends_in_an_outage_says_until_when_it_tries(payload: str, tmp_path: Path) -> None:
    """What it computed is not thrown away after --grace; what is not handed in after --patience is others'."""
    with led_by_service(slow_keys(payload, tmp_path), folder=tmp_path) as service:
        with service.pilot("--patience", "8s", "--grace", "1s", slots=2) as pilot:
            service.until_done(40)
            service.kill()
            until(lambda: "working on what is leased: " in service.said(), seconds=60)
            pilot.send_signal(signal.SIGTERM)
            until(lambda: "ending: SIGTERM" in service.said(), seconds=60)
            until(lambda: "not handed in: this pilot tries until " in service.said(), seconds=60)
            assert pilot.wait(120) == 0, service.said()
        assert "(--patience 8 s), whatever --grace is" in service.said()
        assert "SIGTERM: " in service.said().splitlines()[-1] and "events committed" in service.said()


@pytest.mark.parametrize("command", [EVENTMILL, PILOT_ALONE])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_in_an_outage_ends_a_pilot_at_once(
    command: tuple[str, ...], number: signal.Signals, payload: str, tmp_path: Path
) -> None:
    """Without it, it would try to hand in for half an hour."""
    with (
        led_by_service(slow_keys(payload, tmp_path), folder=tmp_path) as service,
        service.pilot(slots=1, command=command) as pilot,
    ):
        service.until_done(20)
        service.kill()
        until(lambda: "working on what is leased: " in service.said(), seconds=60)
        pilot.send_signal(number)
        until(lambda: "not handed in: this pilot tries until " in service.said(), seconds=60)
        pilot.send_signal(number)
        assert pilot.wait(30) in (128 + number, -number), service.said()
        assert "Traceback" not in service.said()


def test_a_pilot_whose_session_an_operator_ended_says_so(
    campaign: Callable[..., CampaignSpec], payload: str, tmp_path: Path
) -> None:
    """With what it did, and without the advice to begin another session, which the operator does not want."""
    slow = campaign(payload, events=1500, parameters={"pause": 0.01}, ranges={"events": 20})
    with led_by_pilots(slow, folder=tmp_path) as led:
        with led.pilot(slots=1) as pilot:
            led.until_done(40)
            (session,) = led.opened.ledger.sessions()
            headers = {"Authorization": f"Bearer {led.token(Role.OPERATOR)}"}
            assert httpx.delete(f"{led.url}/v1/sessions/{session.id}", headers=headers).status_code == 200
            assert pilot.wait(60) == 1, led.said()
        last = led.said().splitlines()[-1]
        assert f"session {session.id} has ended: an operator ended it, with token " in last
        assert "events committed" in last and "Begin another one" not in led.said() and "(409)" not in led.said()
