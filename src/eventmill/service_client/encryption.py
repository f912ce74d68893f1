"""Why a connection will never come about: a certificate that is not trusted, or one side that speaks no TLS."""

from __future__ import annotations

import socket
import ssl

import httpx

HANDSHAKE_SECONDS = 5.0


def why_never(url: str, error: httpx.TransportError) -> str | None:
    """One line about a first call to `url` that failed in a way that another try does not help; else None."""
    cause = _of_ssl(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return (
            f"the certificate of {url} is not accepted: {cause.verify_message}. If it is of your own "
            "making, --ca-file names the file that signs it."
        )
    if cause is not None and "WRONG_VERSION_NUMBER" in str(cause):
        return f"{url} does not speak TLS: is it http://{url.partition('://')[2]}?"
    if url.startswith("http://") and isinstance(error, httpx.RemoteProtocolError | httpx.ReadError):
        place = httpx.URL(url)
        if _speaks_tls(place.host, place.port or 80):
            return f"{url} speaks TLS: write https://{url.partition('://')[2]}."
    return None


def _of_ssl(error: BaseException | None) -> ssl.SSLError | None:
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error


def _speaks_tls(host: str, port: int) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is said to it
    try:
        with (
            socket.create_connection((host, port), timeout=HANDSHAKE_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            return True
    except OSError:
        return False
