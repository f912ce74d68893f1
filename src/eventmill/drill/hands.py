"""How a drill gets at workers: by the processes of this host, or by what else is at hand."""

from __future__ import annotations

import contextlib
import signal
import socket
from typing import Protocol

import psutil

from eventmill.holders import parse_holder


class Hands(Protocol):
    """What can be done to a worker, named as the ledger names it. Each says whether it could."""

    def signal(self, holder: str, number: signal.Signals) -> bool:
        """Send a signal to the worker's process; SIGSTOP and SIGCONT reach its payload too."""

    def retire(self, holder: str) -> bool:
        """Have the cluster send the worker away in good order."""


class OnThisHost:
    """Processes of this host. It knows no cluster, so it retires nobody."""

    def signal(self, holder: str, number: signal.Signals) -> bool:
        """False for a process of another host, or one that is gone."""
        name = parse_holder(holder)
        if name is None or name.host != socket.gethostname():
            return False
        try:
            process = psutil.Process(name.pid)
            if int(process.create_time()) != name.started:
                return False
            whole = [process]
            if number in (signal.SIGSTOP, signal.SIGCONT):
                whole += process.children(recursive=True)
            process.send_signal(number)
        except psutil.Error:
            return False
        for child in whole[1:]:
            with contextlib.suppress(psutil.Error):
                child.send_signal(number)
        return True

    def retire(self, holder: str) -> bool:
        """Never."""
        return False
