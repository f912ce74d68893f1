"""Runs a campaign in the foreground and kills one of its workers on the way, to see that nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

EVENTMILL = Path(sys.executable).with_name("eventmill")


def main() -> int:
    """`eventmill run CAMPAIGN.yaml` with a death in it; ends with that command's exit code."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python kill_one_worker.py CAMPAIGN.yaml")
    campaign = sys.argv[1]
    run = subprocess.Popen([EVENTMILL, "run", campaign])
    try:
        print(kill_one(run, campaign), flush=True)
        code = run.wait()
    except KeyboardInterrupt:  # the campaign got the same Ctrl-C, and stops in its own way
        code = run.wait()
    return code if code >= 0 else 128 - code  # a signal, told as a shell tells it


def kill_one(run: subprocess.Popen[bytes], campaign: str) -> str:
    """Wait until something is committed, kill a worker that is at work, and tell in a line what was done."""
    while run.poll() is None:
        victim = choose_victim(read_status(campaign), host=socket.gethostname())
        if victim is not None:
            with suppress(ProcessLookupError):  # it ended by itself just now: take another
                os.kill(victim, signal.SIGKILL)
                return f"\nkilled worker process {victim} with SIGKILL; the campaign goes on"
        time.sleep(0.5)
    return "\nno worker was killed: the campaign ended before one had committed anything"


def read_status(campaign: str) -> Mapping[str, Any] | None:
    """What `eventmill status` tells, or None as long as there is nothing to tell."""
    status = subprocess.run([EVENTMILL, "status", campaign, "--json"], capture_output=True, check=False)
    return json.loads(status.stdout) if status.returncode == 0 else None


def choose_victim(status: Mapping[str, Any] | None, *, host: str) -> int | None:
    """The process of a worker on this `host`, once some events are committed and some are still in work."""
    if status is None or not status["events"]["committed"] + status["events"]["merged"]:
        return None
    if not status["events"]["leased"]:
        return None
    return next((worker["pid"] for worker in status["workers"] if worker["host"] == host), None)


if __name__ == "__main__":
    sys.exit(main())
