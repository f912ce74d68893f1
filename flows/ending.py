"""How a flow run ends when something is wrong: failed, with one clear line, and without a wall of traceback."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect.states import Failed

from eventmill.errors import EventmillError

P = ParamSpec("P")
R = TypeVar("R")


def fails_in_one_line(work: Callable[P, R]) -> Callable[P, R]:
    """An `EventmillError` becomes the run's failed state, its text the message; anything else is a bug of ours.

    To be used under `@flow`. Who calls the flow in the same process still gets the error raised: that is how
    Prefect hands on a failed state that holds one.
    """

    @functools.wraps(work)
    def told(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return work(*args, **kwargs)
        except EventmillError as error:
            return Failed(message=str(error), data=error)

    return told
