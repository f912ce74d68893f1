"""The end of a pilot that has no session yet, because no service answers: at once, and in one line."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from eventmill.errors import Interrupted, LedgerError
from eventmill.runtime.drain import Draining
from eventmill.runtime.end_signals import WARNINGS
from eventmill.runtime.interrupts import heard
from eventmill.service_client.connection import Connection


@contextmanager
def ending_at_once(end: Draining, connection: Connection) -> Iterator[None]:
    """A signal, or another end, that comes while a session is to begin: nothing is held, so nothing is waited for.

    Raises `Interrupted`, with the exit code of the signal, or `LedgerError` for another end.
    """
    came: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        came.append(number)
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, *WARNINGS)}
    # The command 'eventmill' has handlers that interrupt, too, and gives its own exit code.
    replaced = {n: it for n, it in before.items() if it in (signal.SIG_DFL, signal.default_int_handler)}
    for number in replaced:
        signal.signal(number, interrupt)
    begun = threading.Event()
    end.when_leaving(lambda told: None if begun.is_set() else connection.close())
    try:
        yield
        begun.set()
    except KeyboardInterrupt:
        number = signal.Signals(came[0]) if came else heard()
        error = Interrupted(_told(number.name, connection))
        error.exit_code = 128 + number
        raise error from None
    except LedgerError:
        if end.why is None:
            raise
        raise LedgerError(_told(end.why, connection)) from None
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)


def _told(why: str, connection: Connection) -> str:
    return f"{why}: ended before {connection.url} gave a session; nothing was begun."
