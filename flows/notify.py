"""The notify flow: send one message, for an automation that listens to a campaign's Prefect events.

Prefect's own action for that names its block by a number that exists only on one server; this one names it by its
name, so that it can be deployed with the rest.
"""

from __future__ import annotations

from prefect import flow, get_run_logger
from prefect.runtime import flow_run

from eventmill.prefect_api.failed_state import fails_in_one_line
from eventmill.prefect_api.notifications import send
from eventmill.prefect_api.run_names import name_unless_typed


def name_run() -> str:
    """The campaign and what is done, for the flow run."""
    return name_unless_typed(f"{flow_run.parameters['campaign']} · notify")


@flow(name="notify", flow_run_name=name_run, validate_parameters=False)
@fails_in_one_line
def notify(campaign: str, message: str, block: str = "slack-webhook/eventmill") -> None:
    """Send a message about a campaign to people.

    Args:
        campaign: The name of the campaign.
        message: What happened.
        block: A Prefect block that sends notifications, as `type/name`: see *Blocks* in the UI.
    """
    send(block, subject=f"Eventmill: {campaign}", message=message)
    get_run_logger().info("sent with the Prefect block %s: %s", block, message)
