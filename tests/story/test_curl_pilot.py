"""examples/curl-pilot.sh: a shell and curl are enough to work for an event service."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.records import JournalKind
from tests.faulty_proxy import unwilling
from tests.pilots import Led, led_by_pilots
from tests.waiting import until

SCRIPT = Path(__file__).parents[2] / "examples" / "curl-pilot.sh"

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed here")

# What the payload `lines` writes, in shell. After its first range it waits for the others.
LINES = """#!/bin/sh
echo "$1" >> "$GATE.inputs"
if [ -f "$GATE.began" ]; then while [ ! -f "$GATE" ]; do sleep 0.05; done; fi
touch "$GATE.began"
seq -f "$EVENTMILL_INPUT %.0f" "$2" "$(($3 - 1))" > "$4"
"""

# The same from the bytes of a file with a number in each line.
NUMBERED = """#!/bin/sh
echo "$1" >> "$GATE.inputs"
sed -n "$(($2 + 1)),$3p" "$1" | sed -e "s/[^0-9]*\\([0-9]*\\).*/\\1/" -e "s|^|$EVENTMILL_INPUT |" > "$4"
"""

FAILS = """#!/bin/sh
echo 'no calibration for this range' >&2
exit 3
"""


@pytest.fixture
def story(campaign: Callable[..., CampaignSpec]) -> CampaignSpec:
    """A line of text for each of 400 events."""
    return campaign("lines", events=400, output={"format": "bytes"}, ranges={"events": 20, "block": "1s"})


@contextmanager
def curl_pilot(led: Led, command: str, **environment: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """The script with a command, and the file with what it says."""
    path, log = led.folder / "command.sh", led.folder / "curl.log"
    path.write_text(command)
    path.chmod(0o755)
    given = {"PATH": os.environ["PATH"], "TMPDIR": str(led.folder), "GATE": str(led.folder / "gate")}
    given |= {"EVENTMILL_TOKEN": led.token(), "EVENTMILL_IDLE": "600"} | environment
    with log.open("wb") as file:
        line = [str(SCRIPT), led.url, str(path)]
        process = subprocess.Popen(line, stderr=file, stdin=subprocess.DEVNULL, env=given)
    try:
        yield process, log
    finally:
        process.terminate()
        process.wait(60)


def lines(led: Led) -> list[str]:
    return sorted(line for file in led.files() for line in file.read_text().splitlines())


def expected(urls: tuple[str, ...], events: int) -> list[str]:
    return sorted(f"{url} {n}" for url in urls for n in range(events))


def test_it_works_on_a_campaign_beside_a_pilot(story: CampaignSpec, tmp_path: Path) -> None:
    """Both do some of it. What the shell wrote is merged with what the payload wrote, each event once."""
    with led_by_pilots(story, folder=tmp_path / "led") as led, curl_pilot(led, LINES) as (_, log):
        until(lambda: "accepted" in log.read_text(), seconds=120)
        with led.pilot():
            until(lambda: "events committed" in led.said(), seconds=120)
            (led.folder / "gate").touch()
            led.wait()
    assert lines(led) == expected(led.opened.urls, 200)
    assert "accepted" in log.read_text()


def test_it_reads_bytes_of_inputs_that_the_service_has(
    campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """Two files in a folder of the service; each is fetched once."""
    folder = tmp_path / "led"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.jsonl").write_text("".join(f'{{"n": {n}}}\n' for n in range(60)))
    story = campaign(
        "lines",
        inputs={"files": [f"{folder}/*.jsonl"]},
        output={"format": "bytes"},
        ranges={"events": 20, "block": "1s"},
    )
    with led_by_pilots(story, folder=folder) as led, curl_pilot(led, NUMBERED):
        led.wait()
    assert lines(led) == expected(led.opened.urls, 60)
    copies = (folder / "gate.inputs").read_text().split()
    assert len(set(copies)) == 2
    assert not any(Path(copy).exists() for copy in copies)


def test_lost_answers_change_nothing(story: CampaignSpec, tmp_path: Path) -> None:
    """Calls are repeated until they are answered, and count once."""
    with led_by_pilots(story, folder=tmp_path / "led") as led, unwilling(led.url, seed=4) as proxy:
        (led.folder / "gate").touch()
        with curl_pilot(replace(led, url=proxy.url), LINES):
            until(lambda: led.done() >= 100 and proxy.done["half"] and proxy.done["hang up"], seconds=240)
        with led.pilot():
            led.wait()
    assert lines(led) == expected(led.opened.urls, 200)
    assert led.opened.journal(JournalKind.LOSS) == ()


def test_a_command_that_fails_is_told(story: CampaignSpec, tmp_path: Path) -> None:
    """With what it printed; the range goes to others."""
    with led_by_pilots(story, folder=tmp_path / "led") as led:
        with curl_pilot(led, FAILS):
            failed = until(lambda: led.opened.journal(JournalKind.FAILURE), seconds=120)
        with led.pilot():
            led.wait()
    assert "ended with status 3" in failed[0].reason
    assert "no calibration" in failed[0].detail
    assert lines(led) == expected(led.opened.urls, 200)


def test_told_to_end_it_gives_back_what_it_has(story: CampaignSpec, tmp_path: Path) -> None:
    """In the middle of a range: no lease has to end, and nothing is left of it on its host."""
    with led_by_pilots(story, folder=tmp_path / "led") as led:
        with curl_pilot(led, LINES) as (process, log):
            begun = led.folder / "gate.inputs"
            until(lambda: begun.exists() and len(begun.read_text().split()) > 1, seconds=120)
            process.terminate()
            assert process.wait(60) == 143
        assert "Terminated" not in log.read_text()
        assert led.opened.ledger.leased(led.opened.id) == ()
        assert not list(led.folder.glob("curl-pilot.*"))


def test_killed_it_renews_no_lease(story: CampaignSpec, tmp_path: Path) -> None:
    """By a signal that nobody can catch: what renewed its lease ends with it, so that others get its block."""
    with led_by_pilots(story, folder=tmp_path / "led") as led, curl_pilot(led, LINES) as (process, _):
        begun = led.folder / "gate.inputs"
        until(lambda: begun.exists() and len(begun.read_text().split()) > 1, seconds=120)
        until(lambda: len(scripts_in(led.folder)) == 2, seconds=60)
        process.kill()
        process.wait()
        until(lambda: not scripts_in(led.folder), seconds=60)
        (led.folder / "gate").touch()


def scripts_in(folder: Path) -> list[psutil.Process]:
    """The shells that run the script with this folder for its temporary files."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        with suppress(psutil.Error):
            if str(SCRIPT) in (process.info["cmdline"] or ()) and process.environ()["TMPDIR"] == str(folder):
                found.append(process)
    return found


def test_the_token_is_on_no_command_line(story: CampaignSpec, tmp_path: Path) -> None:
    """Each call of curl is written down; the environment of the command has no token either."""
    (tmp_path / "bin").mkdir()
    spy = tmp_path / "bin" / "curl"
    spy.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\nexec {shutil.which("curl")} "$@"\n')
    spy.chmod(0o755)
    command = LINES + f"env >> {tmp_path}/environment\n"
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    with led_by_pilots(story, folder=tmp_path / "led") as led, curl_pilot(led, command, PATH=path) as (_, log):
        until(lambda: "accepted" in log.read_text(), seconds=120)
    calls = (tmp_path / "calls").read_text()
    assert "/uploads" in calls
    assert "/report" in calls
    assert "evm_" not in calls + (tmp_path / "environment").read_text() + log.read_text()


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed here")
def test_shellcheck_finds_nothing() -> None:
    told = subprocess.run(["shellcheck", str(SCRIPT)], capture_output=True, text=True)
    assert told.stdout == ""


@pytest.mark.parametrize("arguments", [[], ["http://127.0.0.1:9"]])
def test_without_a_command_it_says_how_it_is_used(arguments: list[str]) -> None:
    told = subprocess.run([str(SCRIPT), *arguments], capture_output=True, text=True)
    assert told.returncode == 2
    assert re.match(r"A pilot made of curl", told.stderr)
    assert "INPUT START STOP OUTPUT" in told.stderr
