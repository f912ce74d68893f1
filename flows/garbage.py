"""The gc flow: for all campaigns of a ledger, delete stored objects that nothing will ever refer to.

The file is not called `gc.py`, because Prefect puts this folder first on `sys.path`.
"""

from __future__ import annotations

from prefect import flow, get_run_logger

from eventmill.campaign.garbage import collect
from eventmill.campaign.handle import store_of
from eventmill.core.ledger_url import DEFAULT_LEDGER
from eventmill.errors import EventmillError
from eventmill.ledger import is_begun, open_ledger
from eventmill.prefect_api.failed_state import fails_in_one_line, nothing_begun


@flow(name="gc", flow_run_name="gc", validate_parameters=False)
@fails_in_one_line
def gc(ledger: str = DEFAULT_LEDGER) -> list[str]:
    """Delete what dead attempts left in the stores; returns one line for each campaign. Harmless during runs.

    An attempt first becomes dead in the ledger, so that its late commit is fenced; then its objects are deleted.
    The next pass finds uploads that end later.

    Args:
        ledger: The ledger of the campaigns: a path on a local disk, or a url.
    """
    if not is_begun(ledger):
        nothing: list[str] = nothing_begun(ledger)
        return nothing
    opened = open_ledger(ledger)
    lines = []
    for record in opened.campaigns():
        try:
            told = f"{collect(opened, store_of(record), record)} objects deleted from {record.store_url}"
        except EventmillError as error:  # an unreachable store must not prevent cleaning the others
            told = f"could not be cleaned: {error}"
        lines.append(f"{record.name}: {told}")
        get_run_logger().info(lines[-1])
    return lines
