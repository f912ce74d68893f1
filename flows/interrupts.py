"""Starting processes out of reach of Ctrl-C, which a terminal sends to every process of a run."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker


@contextmanager
def out_of_reach_of_ctrl_c() -> Iterator[None]:
    """Processes and threads that are started in this context, and theirs, inherit a blocked SIGINT.

    Whether a worker ends is for the coordinator to say.
    """
    resource_tracker.ensure_running()  # its first start would unblock SIGINT in the thread that needs it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
