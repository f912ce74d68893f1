"""Presigned addresses of objects in S3: made without asking the server, for one object and one purpose."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from eventmill import access


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
    from fsspec.asyn import sync

    filesystem = access.filesystem("s3://", credentials)

    async def sign() -> str:
        client = await filesystem.set_session()
        address: str = await client.generate_presigned_url(method, Params=values, ExpiresIn=seconds)
        return address

    signed: str = sync(filesystem.loop, sign)
    return signed
