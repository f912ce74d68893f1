"""Runs a campaign in the foreground and kills one of its workers, to show that nothing is lost."""

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
    """Run `eventmill run CAMPAIGN.yaml` and kill a worker; returns the exit code of that command."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python kill_one_worker.py CAMPAIGN.yaml")
    campaign = sys.argv[1]
    run = subprocess.Popen([EVENTMILL, "run", campaign])
    try:
        print(kill_one(run, campaign), flush=True)
        code = run.wait()
    except KeyboardInterrupt:  # the campaign got the same Ctrl-C and ends by itself
        code = run.wait()
    return code if code >= 0 else 128 - code  # a signal, as in shells


def kill_one(run: subprocess.Popen[bytes], campaign: str) -> str:
    """Wait until something is committed, kill a busy worker, and return a line about it."""
    while run.poll() is None:
        victim = choose_victim(read_status(campaign), host=socket.gethostname())
        if victim is not None:
            with suppress(ProcessLookupError):  # it has just ended: choose another
                os.kill(victim, signal.SIGKILL)
                return f"\nkilled worker process {victim} with SIGKILL; the campaign continues"
        time.sleep(0.5)
    return "\nno worker was killed: the campaign ended before one had committed anything"


def read_status(campaign: str) -> Mapping[str, Any] | None:
    """The result of `eventmill status`, or None if there is none yet."""
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
