"""Sends a message with a Prefect block that can notify, such as one for Slack, e-mail or a webhook."""

from __future__ import annotations

from typing import Any

from eventmill.errors import AccessError


def send(name: str, *, subject: str, message: str) -> None:
    """Send one message. Raises `AccessError`, without the block's content, if that is impossible."""
    from prefect.blocks.abstract import NotificationBlock
    from prefect.blocks.core import Block

    try:
        block: Any = Block.load(name, _sync=True)  # type: ignore[call-arg]
    except Exception as error:  # a missing block, an unknown type of block, or no answer
        raise AccessError(
            f"the Prefect block '{name}' cannot be loaded ({type(error).__name__}). Create a block for "
            "notifications under Blocks in the UI, and name it in the parameter 'block' as type/name."
        ) from None
    if not isinstance(block, NotificationBlock):
        raise AccessError(f"the Prefect block '{name}' sends no notifications: name one such as slack-webhook/me.")
    notify: Any = block.notify  # which is a coroutine where a loop runs, unless it is told not to be
    try:
        notify(message, subject, _sync=True)
    except Exception as error:  # of whatever service it is
        raise AccessError(
            f"the Prefect block '{name}' could not send the message: {type(error).__name__}. Test it in the UI."
        ) from None
