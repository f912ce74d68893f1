"""How much memory a payload's process may ask for: `limits.memory`, kept by the kernel.

Linux counts what the process may write to and shares with nobody (RLIMIT_DATA): what `malloc`, NumPy and Arrow
ask for, the stacks of threads, the writable part of libraries, whether it is touched or not. It does not see
shared memory, files that are mapped, or processes that the payload starts: each of them has the same limit for
itself. Elsewhere there is no such limit, and asking for one is an error at set-up.
"""

from __future__ import annotations

import resource
import sys

from eventmill.text import words_of

_NO_ROOM = ("cannot allocate memory", "failed to map segment", "can't start new thread")


def limit_memory(memory_bytes: int) -> None:
    """From now on this process and those that it starts get no more; raises `OSError` where that is unknown."""
    if sys.platform != "linux":
        raise OSError("limits.memory is kept on Linux only; leave it out here")
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this may well be the limit's doing: libraries that do not fit say so in words."""
    return isinstance(error, MemoryError) or any(words in words_of(error).lower() for words in _NO_ROOM)


def told_limit(memory_bytes: int) -> str:
    """The limit as people wrote it, and where."""
    return f"limits.memory is {memory_bytes / 1e6:,.0f} MB"
