"""Loads the credentials that a campaign names from a Prefect block, in the process that needs them.

Only the name is sent to workers; the content of the Prefect block stays in the memory of this process.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from eventmill.errors import AccessError

SECRET = "secret"


def values_in_block(name: str) -> dict[str, Any]:
    """The values in a Prefect block: `secret/NAME` with JSON in it, or `aws-credentials/NAME` of prefect-aws."""
    from prefect.blocks.core import Block
    from prefect.settings import PREFECT_API_URL

    if not PREFECT_API_URL.value():  # Prefect would start a new server, which has no such block
        raise AccessError(f"the Prefect block '{name}' cannot be loaded: set PREFECT_API_URL to its server.")
    try:
        block: Any = Block.load(name, _sync=True)  # type: ignore[call-arg]
    except Exception as error:  # a missing block, an unknown type of block, or no answer
        raise AccessError(f"the Prefect block '{name}' cannot be loaded: {_reason(error)}") from None
    return values_of(name, block)


def values_of(name: str, block: Any) -> dict[str, Any]:
    """The values in a loaded Prefect block. Raises `AccessError`, without the values, if they are unusable."""
    values = _of_secret(name, block) if name.startswith(f"{SECRET}/") else _of_aws(block)
    return {key: _shown(value) for key, value in values.items()}


def _of_secret(name: str, block: Any) -> Mapping[str, Any]:
    held = _shown(block.get())
    if isinstance(held, str):
        try:
            held = json.loads(held)
        except ValueError:
            held = None
    if not isinstance(held, Mapping):
        raise AccessError(
            f"the Prefect block '{name}' must contain JSON such as {{'key': …, 'secret': …, 'endpoint_url': …}}."
        )
    return held


def _of_aws(block: Any) -> Mapping[str, Any]:
    """Read by the names of its fields, so that this code need not import prefect-aws."""
    client = getattr(block, "aws_client_parameters", None)
    return {
        "key": getattr(block, "aws_access_key_id", None) or getattr(block, "minio_root_user", None),
        "secret": getattr(block, "aws_secret_access_key", None) or getattr(block, "minio_root_password", None),
        "token": getattr(block, "aws_session_token", None),
        "region": getattr(block, "region_name", None),
        "endpoint_url": getattr(client, "endpoint_url", None),
    }


def _shown(value: Any) -> Any:
    return value.get_secret_value() if hasattr(value, "get_secret_value") else value


def _reason(error: Exception) -> str:
    from prefect.settings import PREFECT_API_URL

    place = PREFECT_API_URL.value()
    if isinstance(error, ValueError):
        return f"it does not exist at {place}. Create it there, or set PREFECT_API_URL to another server."
    return f"{type(error).__name__} at {place}."
