"""Canonical addresses of inputs, and the meaning of their parts. Opens nothing, and asks no server.

Each input gets its canonical address where it is named; after that, addresses are compared as text. `?`, `#` and
`%` have a special meaning only in web addresses, not in keys on S3 and paths.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote, unquote

from eventmill.access import scheme
from eventmill.errors import AccessError, InputError

ALIASES = {"s3a": "s3", "gcs": "gs"}
"""Protocols with two names."""

PORTS = {"http": "80", "https": "443", "dav": "80", "davs": "443", "root": "1094", "roots": "1094"}
"""Default ports (IANA; XRootD's documentation)."""

WEB = ("http", "https", "dav", "davs", "webdav")
"""Protocols whose addresses follow RFC 3986: percent signs, dot segments, queries and fragments."""

WITH_HOST = (*WEB, "root", "roots", "ftp", "sftp", "ssh", "smb", "hdfs", "webhdfs")
"""Protocols with a host after `://`, which is case-insensitive."""

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_TAKEN_FOR_SOMETHING = re.compile(r"~|@|generated:|[A-Za-z][A-Za-z0-9+.-]*:/")


def is_local(url: str) -> bool:
    """Whether `url` is a path on this machine. InputError if it contains a password."""
    try:
        return scheme(url) is None
    except AccessError as error:
        raise InputError(str(error)) from None


def local_path(url: str) -> Path:
    """The absolute path of a local address: a plain path, or `file://` and a path."""
    return Path(_without_scheme(url)).absolute()


def written_path(pattern: str) -> str:
    """The path for `pattern`, which exists or is a pattern.

    If a file with this literal name exists, it is meant; else `~` is a home folder, and `file://` is interpreted
    as in RFC 8089.
    """
    path = _without_scheme(pattern)
    if path != pattern and not os.path.lexists(path):
        path = path.removeprefix("localhost") if path.startswith("localhost/") else path
        decoded = unquote(path)
        path = decoded if os.path.lexists(decoded) else path
    first = path.partition("/")[0]
    return os.path.expanduser(path) if first.startswith("~") and not os.path.lexists(first) else path


def canonical(url: str) -> str:
    """The canonical address; InputError if there is none.

    A relative path stays relative, so that outputs do not depend on the folder.
    """
    if "\0" in url:
        raise InputError(f"{url!r} contains a zero byte, which is not allowed in addresses.")
    if is_local(url):
        return _canonical_path(_without_scheme(url))
    try:
        url.encode()
    except UnicodeEncodeError:
        raise InputError(f"{url!a} is not valid text for a request to a server.") from None
    protocol, rest = str(scheme(url)), url.partition("://")[2]
    protocol = ALIASES.get(protocol, protocol)
    if protocol not in WITH_HOST:
        return f"{protocol}://{rest}"
    host, path = re.fullmatch(r"([^/?#]*)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]
    host = _canonical_host(url, protocol, host)
    return f"{protocol}://{host}{_canonical_web_path(path) if protocol in WEB else path}"


def object_of(url: str) -> str:
    """A text that is equal for two addresses exactly if they name the same file; links are not followed.

    Relative paths start from the working directory.
    """
    if not is_local(url):
        return canonical(url)
    path = os.path.normpath(local_path(url))
    if ".." in Path(_without_scheme(url)).parts and os.path.realpath(path) != os.path.realpath(local_path(url)):
        return str(local_path(url))  # '..' behind a link leads elsewhere
    return path


def path_of(url: str) -> str:
    """The path or key as the server knows it; for web addresses without the query, and decoded."""
    if is_local(url):
        return _without_scheme(url)
    rest = url.partition("://")[2].partition("/")[2]
    return unquote(re.split("[?#]", rest, maxsplit=1)[0]) if scheme(url) in WEB else rest


def _without_scheme(url: str) -> str:
    match = re.match(r"file://", url, re.IGNORECASE)
    return url[match.end() :] if match else url


def _canonical_path(path: str) -> str:
    try:
        os.fsencode(path).decode()
    except UnicodeError:
        raise InputError(
            f"the name {path!a} is not UTF-8, so it cannot be recorded in tables. Rename it."
        ) from None
    plain = re.sub(r"/+", "/", path)
    plain = re.sub(r"(?<=/)(\./)+|^(\./)+", "", plain) or "."
    if ".." in plain.split("/"):
        shorter = os.path.normpath(plain)
        plain = shorter if os.path.realpath(shorter) == os.path.realpath(plain) else plain
    return f"./{plain}" if _TAKEN_FOR_SOMETHING.match(plain) else plain


def _canonical_host(url: str, protocol: str, host: str) -> str:
    user, at, host = host.rpartition("@")
    name, port = re.fullmatch(r"(.*?)(?::([^:\]]*))?", host, re.DOTALL).groups()  # type: ignore[union-attr]
    if port and not (port.isascii() and port.isdigit()):
        raise InputError(f"{url}: '{port}' is not a port; write {protocol}://host:8080/… with a number.")
    if not name:
        raise InputError(f"{url} does not name a host; write {protocol}://host/….")
    if not name.isascii():
        try:
            name = name.encode("idna").decode()
        except UnicodeError:
            raise InputError(f"{url}: '{name}' is not the name of a host.") from None
    port = str(int(port)) if port else ""
    ending = f":{port}" if port and port != PORTS.get(protocol) else ""
    return f"{user}{at}{name.lower()}{ending}"


def _canonical_web_path(path: str) -> str:
    """Normalized as in RFC 3986, 6.2.2 and 6.2.3, without the fragment."""
    before, question, query = path.partition("#")[0].partition("?")
    return f"{_without_dots(_requoted(before)) or '/'}{question}{_requoted(query)}"


def _requoted(text: str) -> str:
    """Decode unnecessary percent encodings, write the others in capitals, and encode what must be encoded."""

    def one(match: re.Match[str]) -> str:
        code = int(match[1], 16)
        return chr(code) if code in _UNRESERVED else match[0].upper()

    return re.sub(r"%([0-9A-Fa-f]{2})", one, quote(text, safe="!#$%&'()*+,/:;=?@[]~"))


def _without_dots(path: str) -> str:
    """RFC 3986, 5.2.4."""
    parts: list[str] = []
    segments = path.split("/")
    for number, segment in enumerate(segments):
        last = number == len(segments) - 1
        if segment == "..":
            if len(parts) > 1:
                parts.pop()
        elif segment != ".":
            parts.append(segment)
            continue
        if last:
            parts.append("")
    return "/".join(parts)
