"""The memory limit of a payload's process: `limits.memory`, enforced by the kernel.

Linux counts private writable memory (RLIMIT_DATA): what `malloc`, NumPy and Arrow request, the stacks of threads,
and the writable part of libraries, whether it is used or not. It does not count shared memory, mapped files, or
processes that the payload starts: each of them has the same limit for itself. On other systems there is no such
limit, and requesting one is an error at set-up.
"""

from __future__ import annotations

import resource
import sys

from eventmill.text import words_of

_NO_ROOM = ("cannot allocate memory", "failed to map segment", "can't start new thread")


def limit_memory(memory_bytes: int) -> None:
    """Set the limit for this process and those that it starts; `OSError` if the system does not support it."""
    if sys.platform != "linux":
        raise OSError("limits.memory is supported on Linux only; omit it here")
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this error was probably caused by the limit; some libraries only report it as text."""
    return isinstance(error, MemoryError) or any(words in words_of(error).lower() for words in _NO_ROOM)


def told_limit(memory_bytes: int) -> str:
    """The limit in words, with its key."""
    return f"limits.memory is {memory_bytes / 1e6:,.0f} MB"
