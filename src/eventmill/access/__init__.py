"""How to reach what is on no local disk: credentials by name, one filesystem per place and process.

Only the name of credentials ever travels. What is behind it stays in this process's memory: whoever composes the
program grants it, or says how it is looked up. Knows no Prefect.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NoReturn

from eventmill.errors import AccessError

__all__ = [
    "ANONYMOUS",
    "Credentials",
    "credentials",
    "filesystem",
    "grant",
    "holds_secret",
    "how_to_look_up",
    "look_up_with",
    "scheme",
]

ANONYMOUS = "anonymous"
"""The name that means: sign nothing. For what is open to everybody."""

KEPT_SECONDS = 300.0
"""Credentials that were looked up are used for this long: they may be replaced, and tokens end."""

KEPT_FILESYSTEMS = 16
"""Of each a process keeps connections open; a new token makes a new one."""

TO_INSTALL = {
    "s3": "'eventmill[s3]'",
    "s3a": "'eventmill[s3]'",
    "http": "'eventmill[http]'",
    "https": "'eventmill[http]'",
    "root": "fsspec-xrootd",
    "dav": "'webdav4[fsspec]'",
    "webdav": "'webdav4[fsspec]'",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
}
"""What brings each protocol."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_INSIDE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/@\s]*:[^/@\s]*@")


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """Who one is to S3. What is None comes from the usual AWS chain: environment, ~/.aws, the machine's role."""

    key: str | None = None
    secret: str | None = None
    token: str | None = None
    endpoint_url: str | None = None
    region: str | None = None
    anonymous: bool = False

    def __repr__(self) -> str:
        """Nothing that could end in a log."""
        return "Credentials(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("credentials are never sent to other processes; only their name is")


@dataclass(slots=True)
class _Known:
    """What this process knows: granted for good, looked up for a while, and how to look up."""

    granted: dict[str, Credentials] = field(default_factory=dict)
    looked_up: dict[str, tuple[float, Credentials]] = field(default_factory=dict)
    look_up: Callable[[str], Mapping[str, Any]] | None = None


_known = _Known()


def grant(name: str, values: Mapping[str, Any]) -> None:
    """Let this process use these credentials under `name`: key, secret, token, endpoint_url, region."""
    _known.granted[name] = _parsed(name, values)


def look_up_with(look_up: Callable[[str], Mapping[str, Any]]) -> None:
    """How a name that was not granted becomes values as in `grant`. It raises AccessError if there is none."""
    _known.look_up = look_up


def how_to_look_up() -> Callable[[str], Mapping[str, Any]] | None:
    """What `look_up_with` was given, for another process of ours: credentials themselves do not travel."""
    return _known.look_up


def credentials(name: str | None) -> Credentials:
    """The credentials of that name; without one, those of the usual AWS chain."""
    if name is None:
        return Credentials()
    if name == ANONYMOUS:
        return Credentials(anonymous=True)
    if name in _known.granted:
        return _known.granted[name]
    at, known = _known.looked_up.get(name, (0.0, Credentials()))
    if at and time.monotonic() - at < KEPT_SECONDS:
        return known
    if _known.look_up is None:
        raise AccessError(f"the credentials '{name}' are unknown in this process.")
    found = _parsed(name, _known.look_up(name))
    _known.looked_up[name] = (time.monotonic(), found)
    return found


def _parsed(name: str, values: Mapping[str, Any]) -> Credentials:
    """Names only in the messages, never values."""
    allowed = [item.name for item in fields(Credentials)]
    unknown = [str(key) for key in values if key not in allowed]
    if unknown:
        raise AccessError(
            f"credentials '{name}' have unknown keys: {', '.join(unknown)}; known: {', '.join(allowed)}."
        )
    wrong = [key for key, value in values.items() if not isinstance(value, str | bool | None)]
    if wrong:
        raise AccessError(f"credentials '{name}': {', '.join(wrong)} must be text.")
    return Credentials(**{key: value for key, value in values.items() if value not in (None, "")})


def holds_secret(url: str) -> bool:
    """Whether a password or key stands before the host. What a store or server is given so ends in every log."""
    return _INSIDE.match(url) is not None


def scheme(url: str) -> str | None:
    """The protocol of a url in lower case; None for a local path, written with `file://` or without.

    A url with a password inside is refused, without repeating it.
    """
    if holds_secret(url):
        raise AccessError(
            "a url contains a password or secret key. Remove it, and see 'credentials' in the README."
        )
    found = _SCHEME.match(url)
    name = found[1].lower() if found else "file"
    return None if name == "file" else name


class _Filesystems:
    """The filesystems of this process, each shared by all its threads, with listing caches off."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: OrderedDict[tuple[object, ...], Any] = OrderedDict()

    def get(self, key: tuple[object, ...], make: Callable[[], Any]) -> Any:
        with self._lock:
            if key not in self._made:
                self._made[key] = make()
            self._made.move_to_end(key)
            while len(self._made) > KEPT_FILESYSTEMS:
                self._made.popitem(last=False)
            return self._made[key]


_filesystems = _Filesystems()
_inherited: list[_Filesystems] = []


def _forget_filesystems() -> None:
    """A forked child lacks the thread that serves its parent's connections, and must not close them either."""
    global _filesystems
    _inherited.append(_filesystems)
    _filesystems = _Filesystems()


os.register_at_fork(after_in_child=_forget_filesystems)


def filesystem(url: str, name: str | None = None) -> Any:
    """The fsspec filesystem for `url`, made once in this process; AccessError names the package it lacks."""
    protocol = scheme(url) or "file"
    if protocol in ("s3", "s3a"):
        who = credentials(name)
        # Who does not say it all is completed from the environment, which may change (it does in tests).
        chain = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
        return _filesystems.get(("s3", who, chain), lambda: _s3(who))
    if protocol in ("http", "https"):
        return _filesystems.get(("http",), lambda: _class("http")(skip_instance_cache=True))
    host = url.partition("://")[2].partition("/")[0]
    return _filesystems.get((protocol, host), lambda: _other(protocol, url))


def _s3(who: Credentials) -> Any:
    made = _class("s3")(
        anon=who.anonymous,
        key=who.key,
        secret=who.secret,
        token=who.token,
        endpoint_url=who.endpoint_url,
        client_kwargs={"region_name": who.region} if who.region else {},
        # Retries are ours (retrying.py), not three layers of them. Checksums: some servers return that of the
        # whole object with a part of it (rclone), or do not know them.
        config_kwargs={
            "retries": {"total_max_attempts": 1},
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
            "max_pool_connections": 64,
        },
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    made.retries = 1
    return made


def _other(protocol: str, url: str) -> Any:
    import fsspec

    _class(protocol)
    return fsspec.core.url_to_fs(url, skip_instance_cache=True)[0]


def _class(protocol: str) -> Any:
    import fsspec

    try:
        return fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        brings = TO_INSTALL.get(protocol)
        advice = f"pip install {brings}" if brings else " ".join(str(error).split())
        raise AccessError(f"'{protocol}://' needs a package that is not installed: {advice}") from error
    except ValueError as error:
        raise AccessError(f"'{protocol}://' is not a known protocol.") from error
