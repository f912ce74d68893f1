"""Presigned addresses of objects in S3: made without asking the server, for one object and one purpose."""

from __future__ import annotations

import base64
import binascii
import os
from functools import lru_cache
from typing import Any

from eventmill import access
from eventmill.errors import AccessError

KEPT_CLIENTS = 16


def presigned_get(url: str, credentials: str | None, *, seconds: int) -> str:
    """An address at which the object `s3://bucket/key` can be read for so long."""
    bucket, _, key = url.partition("://")[2].partition("/")
    return _signed("get_object", {"Bucket": bucket, "Key": key}, credentials, seconds)


def presigned_put(
    url: str, credentials: str | None, *, seconds: int, size: int, md5: str
) -> tuple[str, dict[str, str]]:
    """An address at which exactly these bytes can be stored as `s3://bucket/key`, and the headers to send.

    Length and MD5 are signed; a server that checks the MD5, as all do that were tried, takes nothing else.
    """
    bucket, _, key = url.partition("://")[2].partition("/")
    digest = base64.b64encode(binascii.unhexlify(md5)).decode()
    values = {"Bucket": bucket, "Key": key, "ContentLength": size, "ContentMD5": digest}
    signed = _signed("put_object", values, credentials, seconds)
    return signed, {"Content-MD5": digest}


def _signed(method: str, values: dict[str, Any], credentials: str | None, seconds: int) -> str:
    chain = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    client = _signer(access.credentials(credentials), chain)
    signed: str = client.generate_presigned_url(method, Params=values, ExpiresIn=seconds)
    return signed


@lru_cache(maxsize=KEPT_CLIENTS)
def _signer(who: access.Credentials, _environment: tuple[tuple[str, str], ...]) -> Any:
    """A client that only signs: version 4, in which length and MD5 are part of the signature."""
    try:
        from botocore import UNSIGNED
        from botocore.config import Config
        from botocore.session import get_session
    except ImportError as error:
        told = f"addresses in S3 need a package that is not installed: 'eventmill[s3]' ({error})."
        raise AccessError(told) from None
    return get_session().create_client(
        "s3",
        aws_access_key_id=who.key,
        aws_secret_access_key=who.secret,
        aws_session_token=who.token,
        endpoint_url=who.endpoint_url,
        region_name=who.region,
        config=Config(
            signature_version=UNSIGNED if who.anonymous else "s3v4",
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
