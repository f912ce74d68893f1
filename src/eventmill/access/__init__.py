"""Access to remote files: credentials by name, one filesystem per server and process.

Only the name of credentials is sent to other processes. The values stay in the memory of this process: the program
grants them, or says how to look them up. Does not know Prefect.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
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
"""The name for requests without a signature, for public data."""

KEPT_SECONDS = 300.0
"""How long looked-up credentials are used: they may be replaced, and tokens expire."""

KEPT_FILESYSTEMS = 16
"""The maximum number of filesystems; each keeps connections open, and a new token needs a new one."""

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
"""The package for each protocol."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_INSIDE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/@\s]*:[^/@\s]*@")


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """Credentials for S3. None stands for the usual AWS chain: environment, ~/.aws, machine role."""

    key: str | None = None
    secret: str | None = None
    token: str | None = None
    endpoint_url: str | None = None
    region: str | None = None
    anonymous: bool = False

    def __repr__(self) -> str:
        """Without values, which could end up in a log."""
        return "Credentials(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("credentials are never sent to other processes; only their name is")


@dataclass(slots=True)
class _Known:
    """The credentials of this process: granted ones, cached ones, and how to look up others."""

    granted: dict[str, Credentials] = field(default_factory=dict)
    looked_up: dict[str, tuple[float, Credentials]] = field(default_factory=dict)
    look_up: Callable[[str], Mapping[str, Any]] | None = None


_known = _Known()


def grant(name: str, values: Mapping[str, Any]) -> None:
    """Let this process use these credentials under `name`: key, secret, token, endpoint_url, region."""
    _known.granted[name] = _parsed(name, values)


def look_up_with(look_up: Callable[[str], Mapping[str, Any]]) -> None:
    """Set the function that looks up the values for a name. It raises AccessError if the name is unknown."""
    _known.look_up = look_up


def how_to_look_up() -> Callable[[str], Mapping[str, Any]] | None:
    """The function given to `look_up_with`, for another process, since credentials themselves are never sent."""
    return _known.look_up


def credentials(name: str | None) -> Credentials:
    """The credentials with this name; without a name, those of the usual AWS chain."""
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
    """Messages contain only names, never values."""
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
    """Whether a url contains a password or key before the host, which would end up in every log."""
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


def filesystem(url: str, name: str | None = None) -> Any:
    """The fsspec filesystem for `url`, created once in this process; AccessError names a missing package."""
    protocol = scheme(url) or "file"
    if protocol in ("s3", "s3a"):
        # Missing values come from the environment, which may change (it does in tests).
        chain = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
        return _kept(_s3, credentials(name), chain)
    if protocol in ("http", "https"):
        return _kept(_http)
    return _kept(_other, protocol, url.partition("://")[2].partition("/")[0])


def _memory() -> Callable[..., Any]:
    """Calls `make(*values)`, and returns the same filesystem again for the same values."""
    lock = threading.Lock()
    made = lru_cache(KEPT_FILESYSTEMS)(lambda make, *values: make(*values))

    def kept(make: Callable[..., Any], *values: object) -> Any:
        with lock:  # threads that begin together share one
            return made(make, *values)

    return kept


_kept = _memory()
_inherited: list[object] = []


def _forget_filesystems() -> None:
    """A forked child has no thread for its parent's connections, and must not close them.

    fsspec's own cache of instances closes them in the child; then the parent's next request waits forever.
    """
    global _kept
    _inherited.append(_kept)
    _kept = _memory()


os.register_at_fork(after_in_child=_forget_filesystems)


def _s3(who: Credentials, _environment: object) -> Any:
    made = _class("s3")(
        anon=who.anonymous,
        key=who.key,
        secret=who.secret,
        token=who.token,
        endpoint_url=who.endpoint_url,
        client_kwargs={"region_name": who.region} if who.region else {},
        # Retries are ours (retries.py), instead of three layers. Checksums: some servers return that of the
        # whole object with a part of it (rclone), or do not know them.
        config_kwargs={
            "retries": {"total_max_attempts": 1},
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
            "max_pool_connections": 64,
            "signature_version": "s3v4",  # presigned addresses, too: by default botocore signs these as of 2006
        },
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    made.retries = 1
    return made


def _http() -> Any:
    made = _class("http")
    import aiohttp

    options = {
        "headers": {"Accept-Encoding": "identity"},
        "timeout": aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60),
    }
    return made(client_kwargs=options, skip_instance_cache=True)


def _other(protocol: str, host: str) -> Any:
    import fsspec

    _class(protocol)
    return fsspec.core.url_to_fs(f"{protocol}://{host}", skip_instance_cache=True)[0]


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
