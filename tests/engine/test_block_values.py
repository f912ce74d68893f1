"""What a Prefect block says of credentials. Blocks are made, not saved: no server is needed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
from prefect.blocks.system import Secret
from pydantic import SecretStr

from eventmill.errors import AccessError
from eventmill.prefect_api.credentials import values_of

HELD = {"key": "k", "secret": "s", "endpoint_url": "http://host", "region": "x"}


@pytest.mark.parametrize("value", [HELD, json.dumps(HELD)], ids=["a mapping", "JSON as text"])
def test_a_secret_block_holds_json(value: object) -> None:
    """As the UI saves it, and as code may."""
    assert values_of("secret/mine", Secret(value=value)) == HELD


@pytest.mark.parametrize("value", ["hush-hush", ["hush-hush"]])
def test_a_secret_block_with_something_else_is_refused_and_not_repeated(value: object) -> None:
    """The message shows how it should look."""
    with pytest.raises(AccessError, match=r"'secret/mine' must contain JSON such as \{'key'") as error:
        values_of("secret/mine", Secret(value=value))
    assert "hush" not in str(error.value)


@dataclass
class Parameters:
    endpoint_url: str = "http://host"


@dataclass
class LikeAwsCredentials:
    """The fields of prefect-aws's block, which need not be installed here."""

    aws_access_key_id: str = "k"
    aws_secret_access_key: SecretStr = field(default_factory=lambda: SecretStr("s"))
    aws_session_token: str | None = None
    region_name: str = "x"
    aws_client_parameters: Parameters = field(default_factory=Parameters)


def test_a_block_of_prefect_aws_is_understood_by_its_fields() -> None:
    """No import of that package is needed here."""
    assert values_of("aws-credentials/mine", LikeAwsCredentials()) == HELD | {"token": None}
