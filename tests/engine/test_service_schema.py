"""The event service answers as its OpenAPI says, whatever is sent: by schemathesis, which reads nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from eventmill.core.access_tokens import Role
from eventmill.messages import convert
from eventmill.service.app import create_app
from tests.engine.service_lab import Lab, new_lab

CHECKS = [
    checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

EXAMPLES = 15

_known: dict[str, Any] = {}


@pytest.fixture
def lab(tmp_path: Path, long_lead: None) -> Iterator[Lab]:
    with new_lab(tmp_path) as made:
        yield made


@pytest.fixture
def described(lab: Lab, role: Role) -> Any:
    """The app as its OpenAPI describes it, with a pilot at work."""
    app = create_app(lab.ledger, str(lab.folder / "ledger.sqlite"), folder=lab.folder)
    app.state.pilots.waiting.end()  # no call is held
    token, campaign = lab.token(role), lab.campaigns["c"]
    session = "0123456789abcdef"
    lab.ledger.begin_session(
        session, token_id=token.split("_")[1], name="host", slots=1, offers={}, campaigns=None
    )
    lab.offer("c")
    claim = lab.ledger.acquire([campaign.id], holder=f"pilot/host/{session}", nonce="n")
    assert claim is not None
    lease = convert.lease_name(claim.lease)
    _known.update(
        token=token,
        places={
            "session": session,
            "lease": lease,
            "digest": campaign.record.payload,
            "name": "c",
            "piece": "0-10",
            "campaign": campaign.id,
            "input": claim.input.id,
        },
        calls=0,
        seen={},
    )
    return schemathesis.openapi.from_asgi("/openapi.json", app)


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.PILOT])
def test_every_answer_is_as_described(described: Any, role: Role) -> None:
    """No defect, and no answer of another form, for calls that are as they should be and for others."""
    operations = [found.ok() for found in described.get_all_operations()]
    operations = [each for each in operations if not each.path.endswith("/events")]  # its answer does not end
    operations.sort(
        key=lambda each: each.method == "delete" or each.path.endswith("/state")
    )  # they end the others
    for operation in operations:
        for mode in GenerationMode:

            @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode))
            def answered(case: Any) -> None:
                is_answered_as_described(case)

            with suppress(Unsatisfiable):  # a call without parameters can be made in one way only
                answered()
    works = {name for name, statuses in _known["seen"].items() if min(statuses) < 300}
    assert works >= {
        "POST /v1/sessions",
        "POST /v1/sessions/{session}/acquire",
        "POST /v1/sessions/{session}/report",
    }


def is_answered_as_described(case: Any) -> None:
    """Every second call is about what there is: the session, its lease, the campaign."""
    _known["calls"] += 1
    if _known["calls"] % 2:
        for name in case.path_parameters or {}:
            case.path_parameters[name] = _known["places"].get(name, case.path_parameters[name])
        case.body = with_lease(case.body)
    response = case.call(headers={"Authorization": f"Bearer {_known['token']}"})
    _known["seen"].setdefault(case.operation.label, set()).add(response.status_code)
    case.validate_response(response, checks=CHECKS)


def with_lease(body: Any) -> Any:
    """The body, about the lease that there is."""
    if isinstance(body, dict):
        return {
            key: _known["places"]["lease"] if key == "lease" else with_lease(value) for key, value in body.items()
        }
    return [with_lease(each) for each in body] if isinstance(body, list) else body
