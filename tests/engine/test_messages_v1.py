"""Version 1 of the messages is a contract: fields may be added, never removed or changed.

tests/engine/messages_v1 has a conversation of a pilot with a service, and the schemas of the messages, as they
were recorded (`python -m tests.record_messages_v1`). Both hold for ever.
"""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventmill.messages import v1
from eventmill.messages.examples import EXAMPLES
from tests.record_messages_v1 import FOLDER, SCHEMAS, schemas

RECORDED = sorted(set(FOLDER.glob("*.json")) - {SCHEMAS})

KINDS: dict[str, tuple[type[v1.Message] | None, type[v1.Message]]] = {
    r"POST /v1/sessions": (v1.SessionRequest, v1.SessionReply),
    r"DELETE /v1/sessions/\w+": (None, v1.EndReply),
    r"POST /v1/sessions/\w+/acquire": (v1.AcquireRequest, v1.AcquireReply),
    r"POST /v1/sessions/\w+/report": (v1.ReportRequest, v1.ReportReply),
    r"POST /v1/sessions/\w+/uploads": (v1.UploadRequest, v1.UploadReply),
    r"PUT /v1/sessions/\w+/outputs/.*": (None, v1.StoredReply),
    r"GET /v1/payloads/\w+": (None, v1.PayloadReply),
}
"""call -> what is sent, and what is answered."""

ANY_LANGUAGE = {"description", "title", "examples"}
"""What people read may be said better."""


def messages_of(call: str) -> tuple[type[v1.Message] | None, type[v1.Message]]:
    return next(kinds for pattern, kinds in KINDS.items() if re.fullmatch(pattern, call))


def assert_holds(told: Any, read: Any) -> None:
    """All that was told is in what was read; fields that came later may be there, too."""
    if isinstance(told, dict):
        for name, value in told.items():
            assert_holds(value, read[name])
    elif isinstance(told, list):
        assert len(told) == len(read)
        for one, other in zip(told, read, strict=True):
            assert_holds(one, other)
    else:
        assert told == read
        assert type(told) is type(read)


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.stem)
def test_a_recorded_message_means_the_same_today(file: Path) -> None:
    """Requests of a pilot of then are taken, and it is told what it was told."""
    told = json.loads(file.read_text())
    request, answer = messages_of(told["call"])
    refused = told["status"] >= 400
    for model, message in ((request, told["request"]), (v1.Problem if refused else answer, told["answer"])):
        if model is None or (model is request and told["status"] == 422):
            continue
        read = model.model_validate_json(json.dumps(message), strict=True)
        assert_holds(message, json.loads(read.model_dump_json(by_alias=True)))


def test_every_item_outcome_and_directive_was_recorded() -> None:
    """The conversation has all kinds of items, and all calls."""
    told = [json.loads(file.read_text()) for file in RECORDED]
    items = {item["type"] for each in told for item in (each["request"] or {}).get("items", ())}
    assert items == {"commit", "fail", "renew", "ask", "release", "setup_failed", "setup", "schema", "trouble"}
    replies = [reply for each in told for reply in each["answer"].get("replies", ())]
    assert {outcome for reply in replies for outcome in reply["outcomes"]} == set(v1.Outcome)
    assert {each["status"] for each in told} >= {200, 201, 401, 404, 409, 422}
    assert {messages_of(each["call"]) for each in told} == set(KINDS.values())


def test_no_schema_of_a_message_has_lost_or_changed_anything() -> None:
    """Compared with the recorded ones."""
    recorded = json.loads(SCHEMAS.read_text())
    assert changes(recorded, schemas()) == []


def changes(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What a pilot or a service of then could stumble over, by message."""
    found = [f"{name} is no more" for name in then.keys() - now.keys()]
    for name in sorted(then.keys() & now.keys()):
        found += _changed(then[name], now[name], name)
    return found


def _changed(then: Any, now: Any, place: str) -> list[str]:
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        return [
            each for n, pair in enumerate(zip(then, now, strict=True)) for each in _changed(*pair, f"{place}[{n}]")
        ]
    if not isinstance(then, dict) or not isinstance(now, dict):
        return [] if then == now else [f"{place} was {then}, and is {now}"]
    found = []
    is_object = "properties" in then
    for key in sorted((then.keys() | now.keys()) - ANY_LANGUAGE):
        inside = f"{place}.{key}"
        if key in ("properties", "$defs"):
            old, new = then.get(key, {}), now.get(key, {})
            found += [f"{inside}.{name} is no more" for name in sorted(old.keys() - new.keys())]
            for name in sorted(old.keys() & new.keys()):
                found += _changed(old[name], new[name], f"{inside}.{name}")
        elif key == "required" and is_object:
            old, new = set(then.get(key, ())), set(now.get(key, ()))
            if old != new:
                found.append(f"{inside} was {sorted(old)}, and is {sorted(new)}")
        elif key not in then or key not in now:
            found.append(f"{inside} was {then.get(key)}, and is {now.get(key)}")
        else:
            found += _changed(then[key], now[key], inside)
    return found


def objects(schema: Any) -> list[dict[str, Any]]:
    """All objects with properties in a schema."""
    if not isinstance(schema, dict | list):
        return []
    inside = schema.values() if isinstance(schema, dict) else schema
    mine = [schema] if isinstance(schema, dict) and schema.get("properties") else []
    return mine + [found for each in inside for found in objects(each)]


@settings(max_examples=50)
@given(st.data())
def test_the_law_finds_what_it_is_for(data: st.DataObject) -> None:
    """A field that is removed, demanded, or of another type is found; one that is added and left out, is not."""
    then = schemas()
    now = copy.deepcopy(then)
    chosen = data.draw(st.sampled_from(objects(now)))
    harm = data.draw(st.sampled_from(["add", "remove", "demand", "type"]))
    name = data.draw(st.sampled_from(sorted(chosen["properties"])))
    if harm == "add":
        chosen["properties"]["new"] = {"type": "string", "default": ""}
    elif harm == "remove":
        del chosen["properties"][name]
    elif harm == "demand":
        chosen["required"] = [*chosen.get("required", ()), "new"]
    else:
        chosen["properties"][name] = {"type": "null"}
    assert (changes(then, now) == []) == (harm == "add")


@pytest.mark.parametrize("model", EXAMPLES, ids=lambda model: model.__name__)
def test_each_example_is_such_a_message(model: type[v1.Message]) -> None:
    """And has no field that the message has not."""
    for example in EXAMPLES[model]:
        read = model.model_validate_json(json.dumps(example), strict=True)
        assert_holds(example, json.loads(read.model_dump_json(by_alias=True)))


def test_each_message_of_pilots_has_an_example() -> None:
    """Those of the calls in the conversation, and what they consist of."""
    wanted = {model for pair in KINDS.values() for model in pair if model is not None} | {v1.Problem}
    named = set()
    for model in wanted:
        named |= {model.__name__, *model.model_json_schema().get("$defs", {})}
    enums = {"Directive", "Outcome", "UploadKind"}
    assert {model.__name__ for model in EXAMPLES} == named - enums


def test_unknown_fields_are_ignored() -> None:
    """A message of a later version 1 is read by one of today."""
    for model, examples in EXAMPLES.items():
        for example in examples:
            later = cast(dict[str, Any], {**example, "of_later": 1})
            assert model.model_validate(later) == model.model_validate(example)
