"""Runs functions on a Dask scheduler, and says in one way that there is none any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import distributed


def on_scheduler(client: distributed.Client, function: Callable[..., Any], **arguments: Any) -> Any:
    """What `function(dask_scheduler=…, **arguments)` returns there; `OSError` if the scheduler is gone.

    A client that has given up on its scheduler has none to ask (distributed 2026.8 raises AttributeError).
    """
    try:
        return client.run_on_scheduler(function, **arguments)
    except AttributeError as error:
        if client.scheduler is not None:
            raise
        raise ConnectionError("the connection to the Dask scheduler is closed") from error
