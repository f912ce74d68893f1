"""The user's code of a campaign: the payload, and the reader if there is one. Runs none of it."""

from __future__ import annotations

from pathlib import Path

from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.work_order import PayloadCode
from eventmill.payloads.locate import find_payload
from eventmill.work.user_code import remember


def payload_code(campaign: CampaignSpec, *, folder: Path) -> PayloadCode:
    """The code of the payload with the data files that it needs; `PayloadError` says what is wrong."""
    payload = campaign.payload
    return find_payload(payload.callable, folder=folder, files=payload.files or (), source=payload.source)


def reader_code(campaign: CampaignSpec, *, folder: Path) -> PayloadCode | None:
    """The code of the reader; None if Eventmill's own sources read the inputs. `PayloadError` as above.

    This process can use it at once, before the ledger has it.
    """
    reader = campaign.inputs.reader
    if reader is None:
        return None
    files = reader.files or ()
    code = find_payload(reader.callable, folder=folder, files=files, source=reader.source, role="reader")
    remember(code)
    return code
