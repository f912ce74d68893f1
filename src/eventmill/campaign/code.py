"""The user's code of a campaign: the payload, and the reader if there is one, checked as far as its source shows.

Runs none of it.
"""

from __future__ import annotations

from pathlib import Path

from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.signatures import why_no_payload, why_no_reader
from eventmill.core.work_order import PayloadCode
from eventmill.errors import PayloadError
from eventmill.formats import FORMATS
from eventmill.payloads.declared import declared_by_source
from eventmill.payloads.locate import find_payload
from eventmill.work.user_code import remember


def payload_code(campaign: CampaignSpec, *, folder: Path) -> PayloadCode:
    """The code of the payload with the data files that it needs; `PayloadError` says what is wrong.

    Also if it cannot be called with the campaign's parameters, as far as its source shows.
    """
    payload = campaign.payload
    code = find_payload(payload.callable, folder=folder, files=payload.files or (), source=payload.source)
    known = declared_by_source(code)
    may_generate = campaign.output.format not in FORMATS.built_in
    if known is not None and (wrong := why_no_payload(known, payload.parameters, may_generate=may_generate)):
        raise PayloadError(f"payload {payload.callable}: {wrong}.")
    return code


def reader_code(campaign: CampaignSpec, *, folder: Path) -> PayloadCode | None:
    """The code of the reader; None if Eventmill's own sources read the inputs. `PayloadError` as above.

    This process can use it at once, before the ledger has it.
    """
    reader = campaign.inputs.reader
    if reader is None:
        return None
    files = reader.files or ()
    code = find_payload(reader.callable, folder=folder, files=files, source=reader.source, role="reader")
    known, columns = declared_by_source(code), campaign.inputs.columns
    if known is not None and (wrong := why_no_reader(known, reader.parameters, columns=columns is not None)):
        raise PayloadError(f"'inputs.reader' {reader.callable}: {wrong}.")
    remember(code)
    return code
