"""YAML that people write: plain data, or one clause that says where it is wrong, at once."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventmill.config.campaign_spec import parse_campaign
from eventmill.config.yaml_file import MOST_BYTES, MOST_DEEP, YamlError, read_yaml
from eventmill.errors import CampaignError

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "file.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=PLAIN)
def test_what_was_written_is_read(data: Any, tmp_path: Path) -> None:
    """The limits and checks change nothing of what plain YAML can say."""
    assert read_yaml(write(tmp_path, yaml.safe_dump(data, allow_unicode=True))) == data


LAUGHS = "a0: &a0 [ha, ha]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("name: a\ninputs: b\nname: c\n", r"line 3, column 1: key 'name' occurs twice"),
        ("a: {b: 1, c: 2, b: 3}", r"line 1, column 17: key 'b' occurs twice"),
        ('a: 1\n"a": 2', r"key 'a' occurs twice"),
        ("a: &x\n  b: *x\n", r"line 2, column 6: \*x contains itself"),
        ("&x [*x]", r"\*x contains itself"),
        ("a: &x {b: &y [*x]}", r"\*x contains itself"),
        ("[" * 5000 + "]" * 5000, rf"nested more than {MOST_DEEP} levels deep"),
        ("- " * 5000 + "a", rf"nested more than {MOST_DEEP} levels deep"),
        ("{a: " * 5000, rf"nested more than {MOST_DEEP} levels deep"),
        (LAUGHS, r"expands to more than 100,000 values"),
        (b"# " + b"a comment\n# " * (50 << 20 >> 4), rf"more than {MOST_BYTES:,} bytes"),
        ("a: \0", r"special characters are not allowed"),
        ('a: "\\ud800"', r"line 1, column 4: a string contains half of a surrogate pair"),
        ("a: " + "9" * 10_000, r"a value cannot be read: Exceeds the limit"),
        ("a: 2026-99-99", r"a value cannot be read: month must be in 1\.\.12"),
        *((f"a: {value}", r"does not have the type") for value in ("!!bool maybe", "!!int ''", "!!timestamp x")),
        ("a: !!python/object/apply:os.system [ls]", r"line 1, column 4: could not determine a constructor"),
        ("? [a, b]\n: c", r"unhashable key"),
        ("a: *nobody", r"undefined alias"),
        ("a: 'b", r"line 1, column 6: found unexpected end of stream"),
        ("a: 1\n---\nb: 2", r"but found another document"),
    ],
)
def test_what_nobody_means_is_refused_in_one_clause(content: str | bytes, told: str, tmp_path: Path) -> None:
    """Where it is and what it is; never a traceback, a hang, or half of what was written."""
    with pytest.raises(YamlError, match=told) as refused:
        read_yaml(write(tmp_path, content))
    assert "\n" not in str(refused.value)


def test_aliases_and_merge_keys_are_welcome(tmp_path: Path) -> None:
    """What is written beside `<<` goes over what it brings, and is no second key."""
    content = "a: {f: {g: &x {b: 1, c: 2}, h: &y {<<: *x, b: 4}}}\nd: {<<: *y, c: 3}\ne: [*x, *x]\n"
    assert read_yaml(write(tmp_path, content)) == {
        "a": {"f": {"g": {"b": 1, "c": 2}, "h": {"b": 4, "c": 2}}},
        "d": {"b": 4, "c": 3},
        "e": [{"b": 1, "c": 2}] * 2,
    }


CAMPAIGN = {
    "name": "a",
    "inputs": {"generated": {"events": 1}},
    "payload": {"callable": "p.py:f"},
    "output": {"store": "out"},
}


@settings(max_examples=100, deadline=None)
@given(parameters=st.dictionaries(TEXTS, PLAIN, max_size=4))
def test_parameters_come_back_from_the_ledger_as_they_were_given(parameters: dict[str, Any]) -> None:
    """A campaign that is resumed from the ledger computes with the same values as one from its file."""
    campaign = parse_campaign(CAMPAIGN | {"payload": {"callable": "p.py:f", "parameters": parameters}}, source="x")
    kept = json.loads(json.dumps(campaign.model_dump(mode="json")))
    assert parse_campaign(kept, source="x").payload.parameters == campaign.payload.parameters == parameters


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (yaml.safe_load("2026-11-29"), r"cut is datetime\.date\(2026, 11, 29\), a date; .*write it in quotes"),
        (b"\xff", r"cut is b'\\xff', a bytes"),
        ({"a": [1, {"b": math.inf}]}, r"cut\.a\[1\]\.b is inf"),
        (math.nan, r"cut is nan"),
        ({1: 2}, r"cut has the key 1, which is not a string"),
        ({"a", "b"}, r"cut is .*, a set"),
    ],
)
def test_parameters_that_the_ledger_could_not_keep_are_refused(value: Any, told: str) -> None:
    """They would come back as something else: a date as a text, infinity as nothing."""
    with pytest.raises(CampaignError, match=told):
        parse_campaign(
            CAMPAIGN | {"payload": {"callable": "p.py:f", "parameters": {"cut": value}}}, source="campaign.yaml"
        )
