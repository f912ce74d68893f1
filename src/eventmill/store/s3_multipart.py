"""Multipart uploads and copies, which are invisible until they are completed. A failed one is aborted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from eventmill.access.s3 import Bucket, S3Error

PART_BYTES = 32 << 20
"""The size of an uploaded part; larger for files that would have more than MOST_PARTS."""

COPIED_BYTES = 1 << 30
"""The size of a part that the server copies."""

MOST_PARTS = 10_000
"""AWS: Amazon S3 multipart upload limits."""

AT_ONCE = 4
"""The number of parts that are in memory and in transit at the same time."""


@contextlib.contextmanager
def uploaded_in_parts(bucket: Bucket, values: dict[str, Any], source: Path, size: int) -> Iterator[dict[str, Any]]:
    """Upload all parts of `source`; returns what `complete_multipart_upload` needs."""
    step = max(PART_BYTES, -(-size // MOST_PARTS))

    def one(upload: dict[str, Any], number: int) -> str:
        with source.open("rb") as reader:
            reader.seek(number * step)
            data = reader.read(step)
        return str(bucket.call("upload_part", **upload, PartNumber=number + 1, Body=data)["ETag"])

    with _in_parts(bucket, values, -(-size // step), one) as complete:
        yield complete


def copy_in_parts(bucket: Bucket, values: dict[str, Any], size: int, metadata: dict[str, str]) -> None:
    """Copy an object that is too large for one call, with its metadata."""
    source, new = values["CopySource"], {"Key": values["Key"], "Metadata": metadata}

    def one(upload: dict[str, Any], number: int) -> str:
        last = min((number + 1) * COPIED_BYTES, size) - 1
        answer = bucket.call(
            "upload_part_copy",
            **upload,
            PartNumber=number + 1,
            CopySource=source,
            CopySourceRange=f"bytes={number * COPIED_BYTES}-{last}",
        )
        return str(answer["CopyPartResult"]["ETag"])

    with _in_parts(bucket, new, -(-size // COPIED_BYTES), one) as complete:
        bucket.call("complete_multipart_upload", **complete)


@contextlib.contextmanager
def _in_parts(
    bucket: Bucket, values: dict[str, Any], count: int, one: Callable[[dict[str, Any], int], str]
) -> Iterator[dict[str, Any]]:
    upload: dict[str, Any] = {
        "Key": values["Key"],
        "UploadId": str(bucket.call("create_multipart_upload", **values)["UploadId"]),
    }
    try:
        with ThreadPoolExecutor(min(AT_ONCE, count)) as pool:
            etags = list(pool.map(lambda number: one(upload, number), range(count)))
        parts = [{"PartNumber": number + 1, "ETag": etag} for number, etag in enumerate(etags)]
        yield {**upload, "MultipartUpload": {"Parts": parts}}
    except BaseException:
        with contextlib.suppress(S3Error):
            bucket.call("abort_multipart_upload", **upload)
        raise
