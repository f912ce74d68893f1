"""Calls a function in a separate process, so that a crash ends only that process and is noticed.

`python -m eventmill.runtime.isolated_call` is that process. It ends with the process that started it.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Ended:
    """The process ended without a result. `exit_code` is minus the number of a signal."""

    exit_code: int

    def __str__(self) -> str:
        if self.exit_code >= 0:
            return f"exit code {self.exit_code}"
        known = {member.value for member in signal.Signals}
        number = -self.exit_code
        return signal.Signals(number).name if number in known else f"signal {number}"


def run_apart(function: Callable[..., Result], *arguments: Any) -> Result | Ended:
    """The result of `function(*arguments)` in a new process, or how that process ended. Raises its exceptions.

    Function, arguments and result are pickled; the function is imported there by its name.
    """
    command = [sys.executable, "-P", "-m", "eventmill.runtime.isolated_call"]
    order = pickle.dumps(sys.path) + pickle.dumps((function, arguments))
    # Its output is the result; what libraries print is discarded.
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    assert process.stdin is not None and process.stdout is not None
    with process:
        try:
            process.stdin.write(order)
            process.stdin.flush()
            answer = (
                process.stdout.read()
            )  # until it ends; standard input stays open, which shows that we are alive
        except BrokenPipeError:
            answer = b""
        except BaseException:
            process.kill()
            raise
        finally:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
    if process.returncode != 0 or not answer:
        return Ended(process.returncode)
    result, error = pickle.loads(answer)
    if error is not None:
        raise error
    returned: Result = result
    return returned


def main() -> None:
    """Read a call from standard input, and write its result to standard output."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # printed text must not be taken for the result
    sys.path[:] = pickle.load(sys.stdin.buffer)
    function, arguments = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        answer = pickle.dumps((function(*arguments), None))
    except Exception as error:  # any exception is passed to the caller
        answer = pickle.dumps((None, error))
    answers.write(answer)
    answers.flush()
    _answered.set()
    answers.close()
    os._exit(0)


_answered = threading.Event()


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    # Whoever has the answer closes our standard input, perhaps before the main thread has come to its end.
    os._exit(0 if _answered.is_set() else 1)


if __name__ == "__main__":
    main()
