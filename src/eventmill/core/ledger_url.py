"""The url of a ledger: its kind, that it has no password, and how a command names it. Opens nothing."""

from __future__ import annotations

import re
import shlex
from contextlib import suppress
from pathlib import Path

from eventmill.errors import LedgerError

DEFAULT_LEDGER = ".eventmill/ledger.sqlite"
"""The ledger of a campaign that names no other, below the folder in which a command is run."""

SUPPORTED = (
    "a path or sqlite:///path on a local disk, postgresql+psycopg://host/database, or memory://name "
    "within one process"
)

PASSWORD_INSIDE = (
    "a ledger's url holds a password, which would travel to every worker and into every log. Take it out; for "
    "PostgreSQL put it into ~/.pgpass, or into PGPASSWORD, where coordinator and workers run"
)

_URL = re.compile(r"([^:/?#]*)://(.*)", re.DOTALL)
_BEFORE_HOST = re.compile(r"[^:/]*:[^@]*@")  # user:password@, as SQLAlchemy reads it
_IN_QUERY = re.compile(r"[?&][^=&]*(?:pass(?:word|wd|phrase)|secret|token)[^=&]*=", re.IGNORECASE)


def holds_password(url: str) -> bool:
    """Whether the url contains a password, before the host or in the options after '?'."""
    found = _URL.fullmatch(url)
    return found is not None and bool(_BEFORE_HOST.match(found[2]) or _IN_QUERY.search(found[2]))


def scheme_of(url: str) -> str:
    """`sqlite` for a path, else the part before `://` in lower case, without the name of a driver (`+psycopg`).

    Raises `LedgerError` for a url with a password, which the message does not repeat.
    """
    if holds_password(url):
        raise LedgerError(f"{PASSWORD_INSIDE}.")
    found = _URL.fullmatch(url)
    return found[1].lower().partition("+")[0] if found else "sqlite"


def check_not_behind_service(url: str) -> None:
    """Raise `LedgerError` for the address of an event service, which is a ledger for pilots only."""
    if (scheme := scheme_of(url)) in ("http", "https"):
        raise LedgerError(
            f"{scheme}:// is the address of an event service, through which pilots work; a campaign's ledger is "
            f"{SUPPORTED}."
        )


def is_in_memory(url: str) -> bool:
    """Whether only the process that made this ledger can open it."""
    found = _URL.fullmatch(url)
    return found is not None and found[1].lower().partition("+")[0] == "memory"


def as_option(url: str) -> str:
    """`--ledger PATH`, as a command that is run in this folder needs it, with a space before it.

    Empty for the default ledger, which a command finds by itself, and for one in memory, which no command finds.
    """
    if is_in_memory(url):
        return ""
    place = url.removeprefix("sqlite:///")
    if "://" not in place:
        with suppress(OSError, ValueError):  # the folder was deleted; the ledger is elsewhere
            place = str(Path(place).absolute().relative_to(Path.cwd()))
    return "" if place == DEFAULT_LEDGER else f" --ledger {shlex.quote(place)}"
