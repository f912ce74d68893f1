"""Large imports without the collector of cycles, which finds nothing in them and takes a third of the time."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected(*, for_good: bool = False) -> Iterator[None]:
    """During the `with` block no garbage is collected in this process.

    What exists at its end is never looked at again if `for_good`: for a process of our own, whose forks then share
    more memory. A process of somebody else may have garbage of its own by then.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if for_good:
            gc.freeze()
        if before:
            gc.enable()
