"""Claims as messages: what a pilot needs to know of a block."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

from eventmill.core.leases import RENEWALS_PER_LEASE, Claim
from eventmill.core.work_order import WorkOrder
from eventmill.messages import convert, v1
from eventmill.rules.cutting import ranges_of
from eventmill.service.addresses import address_of
from eventmill.service.campaigns import Known
from eventmill.service.uploads import upload_kind

MOST_RANGES = 10_000
"""Ranges that are told ready cut; a pilot that has done them asks again."""


def to_message(claim: Claim, known: Known) -> v1.Claim:
    """What the pilot is told."""
    order, item, lease = known.handle.order, claim.input, claim.lease
    address = address_of(item, lease.campaign_id, order.source)
    ranges = islice(ranges_of(claim, merge_events=order.merge_events), MOST_RANGES)
    seconds = claim.lease_length.total_seconds()
    return v1.Claim(
        lease=convert.lease_name(lease),
        campaign=order.campaign,
        lease_seconds=seconds,
        renew_in_seconds=seconds / RENEWALS_PER_LEASE,
        input=v1.InputAddress(
            url=address.url,
            name=item.url,
            ordinal=item.ordinal,
            first=item.first,
            events=item.events,
            identity=item.identity,
            size=address.size,
            boundaries=list(item.boundaries),
            label=item.label,
        ),
        block=v1.Range(start=claim.block.start, stop=claim.block.stop),
        range_events=claim.block.range_events,
        aligned=claim.block.aligned,
        missing=[convert.range_to(piece) for piece in claim.missing],
        ranges=[convert.range_to(piece) for piece in ranges],
        schema_=convert.bytes_to(claim.schema),
        suffix=known.suffix,
        upload=upload_kind(known),
        payload=order.payload.digest,
        order=convert.order_to_text(without_places(order), item),
    )


def without_places(order: WorkOrder) -> WorkOrder:
    """An order that says nothing of where ledger, store and credentials are: a pilot has none of them."""
    source = replace(order.source, credentials=None, index=None)
    if source.reader is not None:
        source = replace(source, reader=replace(source.reader, ledger_url=""))
    return replace(order, folder="", ledger_url="", store_url="", credentials=None, source=source)
