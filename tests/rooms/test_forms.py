"""The forms and deployments of a team: what is wrong is said at its field, and everything says what it is."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import flow
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.blocks.system import Secret
from prefect.client.orchestration import SyncPrefectClient
from prefect.runtime import flow_run
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import build_error_obj, validate

from eventmill.config.campaign_spec import CampaignSpec
from eventmill.flows.garbage import gc
from eventmill.flows.notify import notify
from eventmill.flows.process import name_run, process, process_form
from eventmill.flows.rescue import rescue
from tests.rooms.conftest import ROOT

GOOD = {
    "name": "a",
    "inputs": {"generated": {"events": 3}},
    "payload": {"callable": "x.py:f"},
    "output": {"store": "out"},
}


def errors_of(form: Any, campaign: dict[str, Any]) -> dict[str, str]:
    """Field -> what Prefect's form says at it."""
    schema: Any = parameter_schema(form).model_dump_for_openapi()
    found: dict[str, str] = {}

    def walk(errors: list[Any], place: str) -> None:
        for error in errors:
            if isinstance(error, str):
                found[place] = error
            else:
                walk(error["errors"], f"{place}.{error['property']}".lstrip("."))

    walk(build_error_obj(validate({"campaign": campaign}, schema))["errors"], "")
    return found


def test_every_field_of_the_form_is_called_by_its_name() -> None:
    """A field without a title has that of its model; if it may also be none, Prefect calls it "Field"."""
    models = parameter_schema(process_form).model_dump()["definitions"]
    for model in models.values():
        for name, field in model.get("properties", {}).items():
            its_model = models[field["$ref"].rpartition("/")[2]] if "$ref" in field else {}
            label = field.get("title") or its_model.get("title", "Field")
            assert label.lower().replace(" ", "_") == name, (model["title"], name, label)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "a b"}, "campaign.name"),
        ({"target": 7}, "campaign.target"),
        ({"output": {}}, "campaign.output.store"),
        ({"payload": {}}, "campaign.payload.callable"),
        ({"ranges": {"events": "many"}}, "campaign.ranges.events"),
        ({"inputs": {"generated": {"events": -3}}}, "campaign.inputs.generated"),
    ],
)
def test_the_form_of_a_campaign_says_at_the_field_what_is_wrong(change: dict[str, Any], field: str) -> None:
    """In a few words; where a path would do, too, it says all of it, and that none of it is right."""
    assert errors_of(process_form, GOOD) == errors_of(process, GOOD) == {}
    assert [*errors_of(process_form, GOOD | change)] == [field]
    assert len(errors_of(process_form, GOOD | change)[field]) < 80
    assert [*errors_of(process, GOOD | change)] == ["campaign"]


def test_every_deployment_says_what_it_is_and_starts_nothing_by_itself() -> None:
    """A description, tags, and schedules and messages that are off; `merge` alone is triggered."""
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert all(len(each["description"]) > 40 and each["tags"] == ["eventmill"] for each in deployments)
    assert not [s for each in deployments for s in each.get("schedules", ()) if s["active"]]
    on = [each["name"] for each in deployments for t in each.get("triggers", ()) if t.get("enabled", True)]
    assert on == ["merge"]


def test_the_form_runs_a_campaign(client: SyncPrefectClient, campaign: CampaignSpec) -> None:
    """As `process` does, and with the campaign's name; here one that is refused at once."""
    wrong = campaign.model_copy(update={"payload": campaign.payload.model_copy(update={"callable": "no.py:f"})})
    state = process_form(wrong, return_state=True)
    assert state.is_failed() and state.message and "no.py" in state.message
    run = client.read_flow_run(state.state_details.flow_run_id)  # type: ignore[arg-type]
    assert run.name == "squares"


@pytest.mark.parametrize("look_after", [rescue, gc])
def test_before_the_first_campaign_there_is_nothing_to_look_after(
    client: SyncPrefectClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look_after: Any
) -> None:
    """One line, and no failure each night; a ledger that somebody named and that is not there is an error."""
    monkeypatch.chdir(tmp_path)
    state = look_after(return_state=True)
    assert state.is_completed() and state.result() == []
    assert state.message == "there is no ledger .eventmill/ledger.sqlite yet, so there is nothing to do"
    assert not any(tmp_path.iterdir())
    named = look_after("mistyped.sqlite", return_state=True)
    assert named.is_failed() and "mistyped.sqlite" in named.message


@pytest.mark.parametrize(("given", "becomes"), [("Friday's try", "Friday's try"), ("brave-otter", "squares")])
def test_a_name_that_somebody_typed_stays(
    client: SyncPrefectClient, campaign: CampaignSpec, given: str, becomes: str
) -> None:
    """On the form or with --flow-run-name."""

    @flow(flow_run_name=name_run)
    def named(campaign: Any) -> str:
        return str(flow_run.name)

    from prefect.flow_engine import run_flow

    run = client.create_flow_run(named, name=given, parameters={"campaign": campaign.model_dump(mode="json")})
    assert run_flow(named, flow_run=run, parameters={"campaign": campaign.model_dump(mode="json")}) == becomes
    assert client.read_flow_run(run.id).name == becomes


class Hook(BaseHTTPRequestHandler):
    """Somebody's chat."""

    heard: list[dict[str, Any]] = []  # noqa: RUF012 # one server at a time

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.heard.append(json.loads(body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def chat() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook"
        server.shutdown()
        thread.join()
    Hook.heard.clear()


def test_people_are_told_with_a_block_that_is_named(client: SyncPrefectClient, chat: str) -> None:
    """What is not there, or cannot send, is said in one line without what is in it."""
    block: Any = CustomWebhookNotificationBlock(
        name="chat", url=chat, json_data={"text": "{{subject}}: {{body}}"}, allow_private_urls=True
    )
    block.save("chat", overwrite=True, _sync=True)
    Secret(value="x" * 20).save("no-chat", overwrite=True, _sync=True)  # type: ignore[call-arg]
    state = notify("squares", "40 of 40 events", block="custom-webhook/chat", return_state=True)
    assert state.is_completed(), state.message
    assert Hook.heard == [{"text": "Eventmill: squares: 40 of 40 events"}]
    for name, said in (("slack-webhook/nobody", "cannot be loaded"), ("secret/no-chat", "sends no notifications")):
        state = notify("squares", "40 of 40 events", block=name, return_state=True)
        assert state.is_failed() and state.message and said in state.message and "xxx" not in state.message
