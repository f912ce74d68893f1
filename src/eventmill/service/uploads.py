"""Outputs on their way into the store: their keys, presigned addresses, and whether they are there."""

from __future__ import annotations

from eventmill.core.keys import range_key
from eventmill.core.leases import Lease
from eventmill.core.outputs import RangeOutput
from eventmill.core.ranges import EventRange, Input
from eventmill.messages import v1
from eventmill.rules.cutting import Cuts, crosses_hard_cut
from eventmill.service.campaigns import Known
from eventmill.service.presigned import presigned_put

MARK_DIGITS = 16
"""Digits of an output's SHA-256 in its key: the same output again has the same key, another one has another."""

MOST_BYTES = 5 << 30
"""The largest output: what S3 takes in one PUT."""

SIGNED_SECONDS = 3600


def upload_kind(known: Known) -> v1.UploadKind:
    """How outputs of this campaign reach its store."""
    is_s3 = known.row.store_url.startswith(("s3://", "s3a://"))
    return v1.UploadKind.PRESIGNED if is_s3 else v1.UploadKind.PROXIED


def output_key(known: Known, lease: Lease, item: Input, piece: EventRange, sha256: str) -> str:
    """The key of an output of this lease."""
    return range_key(known.row.name, lease.attempt, item.ordinal, piece, known.suffix, mark=sha256[:MARK_DIGITS])


def why_not_whole(known: Known, item: Input, piece: EventRange) -> str | None:
    """Why no output may have exactly these events; None if one may."""
    if piece.stop > item.events:
        return f"{piece} ends behind the last of {item.events:,} events"
    if crosses_hard_cut(piece, Cuts(first=item.first, merge_events=known.row.rules.merge_events)):
        return f"{piece} crosses a multiple of output.merge.events, at which merged files begin"
    return None


def why_unproven(known: Known, lease: Lease, item: Input, output: RangeOutput) -> str | None:
    """Why an output does not count although its pilot says it is stored; None if it is there as told."""
    if (why := why_not_whole(known, item, output.range)) is not None:
        return why
    if output.key != output_key(known, lease, item, output.range, output.sha256):
        return f"its key is not the one that belongs to this lease, range and SHA-256: {output.key}"
    size = known.handle.store.size(output.key)
    if size is None:
        return f"{output.key} is not in the store; upload it again"
    if size != output.bytes:
        return f"{output.key} has {size:,} bytes in the store, and {output.bytes:,} were told"
    return None


def where_to_put(
    known: Known, session_id: str, lease: Lease, item: Input, asked: v1.UploadRequest
) -> v1.UploadReply:
    """Where a pilot puts an output."""
    piece = EventRange(asked.range.start, asked.range.stop)
    key = output_key(known, lease, item, piece, asked.sha256)
    if upload_kind(known) is v1.UploadKind.PRESIGNED:
        url, headers = presigned_put(
            f"{known.row.store_url.rstrip('/')}/{key}",
            known.handle.order.credentials,
            seconds=SIGNED_SECONDS,
            size=asked.bytes,
            md5=asked.md5,
        )
        return v1.UploadReply(key=key, url=url, headers=headers, expires_in_seconds=SIGNED_SECONDS)
    path = f"/v1/sessions/{session_id}/outputs/{asked.lease}/{piece.start}-{piece.stop}?sha256={asked.sha256}"
    return v1.UploadReply(
        key=key,
        url=path,
        headers={"Content-Type": "application/octet-stream"},
        expires_in_seconds=SIGNED_SECONDS,
    )
