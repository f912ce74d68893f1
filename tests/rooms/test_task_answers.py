"""What is made of a task's answer while the worker that has it vanishes."""

from __future__ import annotations

from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

import pytest

from eventmill.cluster.dispatcher import NotFetched, fetch
from eventmill.errors import ClusterError


@dataclass
class Scripted:
    """A future that raises what Dask was seen to raise, in a state that it was seen to be in then."""

    raises: Exception
    status: str
    error: Exception | None = None

    def result(self, timeout: float) -> Any:
        raise self.raises

    def exception(self, timeout: float) -> Exception | None:
        return self.error


@pytest.mark.parametrize(
    "raised", [TimeoutError(), UnboundLocalError("response"), OSError("closed"), KeyError("k")]
)
@pytest.mark.parametrize("status", ["pending", "finished", "lost"])
def test_what_a_vanishing_worker_makes_dask_raise_is_no_answer(raised: Exception, status: str) -> None:
    """It is asked again later."""
    with pytest.raises(NotFetched):
        fetch(Scripted(raised, status))  # type: ignore[arg-type]


def test_a_task_that_failed_while_it_was_waited_for_tells_its_own_error() -> None:
    """Not that the time was up in the same moment."""
    with pytest.raises(ZeroDivisionError):
        fetch(Scripted(TimeoutError(), "error", ZeroDivisionError()))  # type: ignore[arg-type]


def test_what_a_task_raises_is_raised() -> None:
    """Also when it is of a kind that Dask raises itself."""
    with pytest.raises(OSError, match="disk"):
        fetch(Scripted(OSError("disk"), "error", OSError("disk")))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="own"):
        fetch(Scripted(ValueError("own"), "error"))  # type: ignore[arg-type]


def test_a_task_that_was_called_off_is_one_clear_line() -> None:
    """Nobody would ever answer."""
    with pytest.raises(ClusterError, match="run again"):
        fetch(Scripted(CancelledError(), "cancelled"))  # type: ignore[arg-type]
