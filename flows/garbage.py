"""The gc flow: over all campaigns of a ledger, remove stored objects that nothing will ever refer to.

Not in a file `gc.py`: Prefect puts this folder first on `sys.path`.
"""

from __future__ import annotations

from prefect import flow, get_run_logger

from eventmill.campaign.garbage import collect
from eventmill.campaign.handle import store_of
from eventmill.errors import EventmillError
from eventmill.ledger import open_ledger
from eventmill.prefect_api.failed_state import fails_in_one_line


@flow(name="gc", flow_run_name="gc", validate_parameters=False)
@fails_in_one_line
def gc(ledger: str = ".eventmill/ledger.sqlite") -> list[str]:
    """Collect what dead attempts left in the stores; returns a line for each campaign. Harmless beside what runs.

    First an attempt is dead in the ledger, so that its late commit is fenced; then its objects go. Uploads that
    end later are found by the next pass.

    Args:
        ledger: Where the campaigns are recorded: a path on a local disk, or a url.
    """
    opened = open_ledger(ledger)
    lines = []
    for record in opened.campaigns():
        try:
            told = f"{collect(opened, store_of(record), record)} objects removed from {record.store_url}"
        except EventmillError as error:  # one store that is away must not keep the others from being tidied
            told = f"could not be tidied: {error}"
        lines.append(f"{record.name}: {told}")
        get_run_logger().info(lines[-1])
    return lines
