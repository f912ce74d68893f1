"""The campaign file: what it may hold, and what is said of one that cannot be used."""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from eventmill.config.campaign_spec import CampaignSpec, Cluster, parse_campaign, read_campaign
from eventmill.config.cluster_config import read_cluster
from eventmill.config.inputs_spec import InputFormat, Unreadable
from eventmill.config.output_spec import format_of
from eventmill.core.records import Rules
from eventmill.core.units import parse_bytes, parse_duration, parse_fraction, write_duration
from eventmill.errors import CampaignError, ClusterError

SMALLEST: dict[str, Any] = {
    "name": "dimuon-2026",
    "inputs": {"files": ["*.root"]},
    "payload": {"callable": "payload.py:Dimuon"},
    "output": {"store": "out"},
}

FULL = """
name: dimuon-2026
inputs:  {files: ["a.root", "b.root"], format: root, tree: Events, columns: [Muon_pt], unreadable: leave_out}
payload: {callable: "payload.py:Dimuon", parameters: {min_pt: 20}}
ranges:  {events: 5000, seconds: 2.5s, block: 1min}
target:  0.99
output:  {store: out, format: parquet, merge: {events: 1000}, columns: {mass: float64}}
limits:  {failures: 2, losses: 4, lease: 90s, no_worker_timeout: 2h}
cluster: {type: local, workers: 2}
ledger:  here/ledger.sqlite
"""


def refused(data: dict[str, Any]) -> str:
    """What is said about a campaign that cannot be used."""
    with pytest.raises(CampaignError) as error:
        parse_campaign(data, source="c.yaml")
    text = str(error.value)
    assert text.startswith("c.yaml: ") and text.endswith(".") and "\n" not in text
    return text.removeprefix("c.yaml: ")


def test_the_smallest_campaign_has_sensible_defaults() -> None:
    """Four keys are enough; everything else has a value that works."""
    campaign = parse_campaign(SMALLEST, source="c.yaml")
    assert campaign.rules == Rules(2, 5, timedelta(seconds=60), 1.0, merge_bytes=256_000_000)
    assert (campaign.ranges.events, campaign.ranges.seconds) == ("auto", timedelta(seconds=5))
    assert (campaign.ranges.block, campaign.limits.no_worker_timeout) == (
        timedelta(seconds=30),
        timedelta(minutes=5),
    )
    assert (campaign.inputs.unreadable, campaign.cluster.type) == (Unreadable.STOP, "local")


def test_every_key_of_a_full_campaign_is_read(tmp_path: Path) -> None:
    """The file says it, the model holds it."""
    (tmp_path / "c.yaml").write_text(FULL)
    campaign = read_campaign(tmp_path / "c.yaml")
    assert campaign.rules == Rules(2, 4, timedelta(seconds=90), 0.99, merge_events=1000)
    assert (campaign.inputs.format, campaign.inputs.tree) == (InputFormat.ROOT, "Events")
    assert campaign.payload.parameters == {"min_pt": 20}
    assert (campaign.ranges.events, campaign.ranges.seconds) == (5000, timedelta(seconds=2.5))
    assert campaign.output.columns == {"mass": "float64"}
    assert campaign.limits.no_worker_timeout == timedelta(hours=2)


@pytest.mark.parametrize("text", [FULL, yaml.safe_dump(SMALLEST)])
def test_a_campaign_survives_the_way_through_json(text: str) -> None:
    """What the ledger keeps and the Prefect form sends is the same campaign again."""
    campaign = parse_campaign(yaml.safe_load(text), source="c.yaml")
    assert parse_campaign(campaign.model_dump(mode="json"), source="ledger") == campaign
    assert CampaignSpec.model_validate_json(campaign.model_dump_json()) == campaign


def test_addresses_are_absolute_unless_they_are_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker in another folder finds the same ledger and the same store."""
    monkeypatch.chdir(tmp_path)
    campaign = parse_campaign(SMALLEST, source="c.yaml")
    assert campaign.ledger_url == f"sqlite:///{tmp_path}/.eventmill/ledger.sqlite"
    assert campaign.store_url == f"{tmp_path}/out"
    remote = {"ledger": "postgresql://host/db", "output": {"store": "s3://bucket/out"}}
    campaign = parse_campaign(SMALLEST | remote, source="c.yaml")
    assert (campaign.ledger_url, campaign.store_url) == ("postgresql://host/db", "s3://bucket/out")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"limit": 3},
            "unknown key 'limit' (did you mean 'limits'?); allowed are: name, inputs, payload, output,",
        ),
        (
            {"output": {"store": "o", "merg": 1}},
            "unknown key 'output.merg' (did you mean 'merge'?); allowed are: store,",
        ),
        (
            {"output": {"store": "o", "merge": {"event": 1}}},
            "'output.merge.event' (did you mean 'events'?); allowed are: events, bytes",
        ),
        (
            {"inputs": {"generated": {"events": 9, "file": 1}}},
            "'inputs.generated.file' (did you mean 'files'?); allowed are: events",
        ),
        ({"name": None}, "'name' must be a text, not empty"),
        ({"memory": "2GB"}, "unknown key 'memory' (did you mean 'limits.memory'?); allowed are: name"),
        ({"inputs": {"files": ["x"], "format": "parket"}}, "unknown input format (did you mean 'parquet'?)"),
        ({"output": {"store": "o", "format": "rot"}}, "unknown format (did you mean 'root'?)"),
        ({"limits": "many"}, "'limits' must be {failures: …, losses: …, lease: …"),
        ({"output": "s3://key:secret@b"}, "a url contains a password or secret key"),
        ({"inputs": ["a", "s3://key:secret@b"]}, "a url contains a password or secret key"),
        ({"name": "a b"}, "'name': use 1 to 64 letters"),
        ({"name": "../up"}, "(given: '../up')"),
        ({"output": {"store": "o\0"}}, "'output.store': it contains a zero byte"),
        ({"ledger": "l\0"}, "'ledger': it contains a zero byte"),
        ({"inputs": {}}, "'inputs': give either 'files' or 'generated'"),
        ({"inputs": {"files": ["x"], "generated": {"events": 1}}}, "give either 'files' or 'generated'"),
        ({"inputs": {"files": []}}, "'inputs.files' must have at least 1 item."),
        ({"inputs": {"files": 5}}, "'inputs.files' must be a list, not 5"),
        (
            {"inputs": {"files": [{"url": "a", "lable": "b"}]}},
            "unknown key 'inputs.files.0.lable' (did you mean 'label'?); allowed are: u",
        ),
        ({"inputs": {"files": ["a", {"label": "b"}]}}, "'inputs.files.1.url' is missing"),
        (
            {"inputs": {"files": ["a", {"url": "b", "label": ""}]}},
            "'inputs.files.1.label' must have at least 1 character",
        ),
        ({"inputs": {"files": [{"url": "b", "label": "a\x07"}]}}, "characters that cannot be shown"),
        ({"inputs": {"files": [{"url": "s3://key:secret@b/a"}]}}, "a url contains a password or secret key"),
        (
            {"inputs": {"files": [{"url": "a", "parameters": {"d": date(2026, 1, 2)}}]}},
            "only strings, numbers, true",
        ),
        (
            {"inputs": {"files": ["x"], "format": "xls"}},
            "'inputs.format': unknown input format; known formats are root,",
        ),
        ({"inputs": {"generated": {"events": 2, "files": 3}}}, "2 events cannot be divided into 3 files"),
        ({"inputs": {"generated": {"events": 2}, "tree": "T"}}, "belong to 'files', not to 'generated'"),
        (
            {"payload": 5},
            "'payload' must be {callable: …, parameters: …, files: …, source: …, environment: …, needs: …}, "
            "or only the callable, not 5",
        ),
        ({"payload": {}}, "'payload.callable' is missing"),
        ({"ranges": {"events": 0}}, "'ranges.events': '0' is not between 1 and 10^18; give a number of"),
        ({"ranges": {"events": "many"}}, "'ranges.events': 'many' is not valid; give a number of events"),
        ({"output": {}}, "'output.store' is missing"),
        (
            {"output": {"store": "o", "format": "csv"}},
            "unknown format; known formats are parquet, root, hist, bytes",
        ),
        (
            {"output": {"store": "o", "root": {}}},
            "options of format 'root', but the format is 'parquet'",
        ),
        ({"output": {"store": "o", "format": "root", "bytes": {}}}, "'bytes' contains options of format 'bytes'"),
        (
            {"output": {"store": "o", "format": "root", "root": {"kind": "tuple"}}},
            "must be ttree or rntuple (did you mean 'rntuple'?), not 'tuple'",
        ),
        ({"output": {"store": "o", "format": "root", "root": {"tre": "T"}}}, "allowed are: tree, kind"),
        (
            {"output": {"store": "o", "format": "bytes", "bytes": {"merge": "tar"}}},
            "must be concat or zip, not 'tar'",
        ),
        ({"output": {"store": "o", "format": "hist", "columns": {"x": "int8"}}}, "format 'hist' has no columns"),
        ({"output": {"store": "o", "options": {"x": 1}}}, "'options' are for formats of installed packages"),
        ({"output": {"store": "o", "merge": {"events": 1, "bytes": 1}}}, "give either 'events' or 'bytes'"),
        ({"output": {"store": "o", "merge": {"bytes": "1 XB"}}}, "give a size such as 500kB, 256MB, 1GiB"),
        ({"target": 1.5}, "'target' must be at most 1, not 1.5"),
        ({"target": 0}, "'target' must be more than 0, not 0"),
        ({"limits": {"failures": 0}}, "'limits.failures' must be at least 1, not 0"),
        ({"limits": {"lease": "soon"}}, "'limits.lease': 'soon' is not valid; give a duration such as"),
        ({"limits": {"lease": True}}, "'limits.lease': give a duration such as 500ms, 60s"),
        ({"limits": {"lease": float("inf")}}, "'inf' is not above zero and finite"),
        ({"limits": {"lease": "99999999 d"}}, "not between a microsecond and a thousand years"),
        ({"cluster": {"workers": 0}}, "'cluster.workers' must be at least 1, not 0"),
        ({7: 1}, "'7' must be a text, as every key, not 7"),
        ({"in[0]": 1}, "unknown key 'in[0]'; allowed are: name, inputs"),
        ({"int": 1}, "unknown key 'int' (did you mean 'inputs'?); allowed are: name, inputs"),
        ({"ranges": {"Tls": 1}}, "unknown key 'ranges.Tls'; allowed are: events, seconds, block"),
        (
            {"output": {"store": "o", "columns": {"a[0]": 5, "int": 7}}},
            "'output.columns.a[0]' must be a text, not 5; 'output.columns.int' must be a text, not 7",
        ),
        ({"output": {"store": "o", "columns": {7: "int8"}}}, "'output.columns.7' must be a text"),
        ({"inputs": {"files": ["a", 5]}}, "'inputs.files.1' must be a text, not 5"),
        ({"ranges": {"events": "many"}}, "'ranges.events': 'many' is not valid; give a number of events such as"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(change: dict[Any, Any], said: str) -> None:
    """The key, the value that was given, and what may stand there."""
    assert said in refused(SMALLEST | change)


def test_everything_that_is_wrong_is_said_at_once() -> None:
    """Nobody mends a file one error at a time."""
    text = refused({"name": "a b", "limit": 1, "target": 2, "inputs": {"files": ["x"]}})
    for part in ("'name'", "unknown key 'limit'", "'target'", "'payload' is missing", "'output' is missing"):
        assert part in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [a\ninputs: b: c", "line 2, column 7 is not valid YAML"),
        ("name: a\n\tinputs: b", "line 2, column 1 is not valid YAML: found character '\\t'"),
        ("", "does not contain a campaign: expected keys such as name, inputs"),
        ("- a\n- b", "does not contain a campaign"),
        ("just words", "does not contain a campaign"),
    ],
)
def test_a_file_that_is_no_campaign_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    """The path, and for broken YAML the line and the column."""
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(CampaignError) as error:
        read_campaign(path)
    assert str(path) in str(error.value) and said in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Missing, a folder, or no text."""
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x9f")
    for name, said in (("gone.yaml", "No such file"), (".", "Is a directory"), ("binary.yaml", "is not ")):
        with pytest.raises(CampaignError, match=said):
            read_campaign(tmp_path / name)


def test_a_campaign_does_not_change() -> None:
    """A part of it cannot be set afterwards."""
    campaign = parse_campaign(SMALLEST, source="c.yaml")
    with pytest.raises(ValueError, match="frozen"):
        setattr(campaign, "target", 0.5)  # noqa: B010  (assigning plainly is a typing error, which is the point)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("60s", 60), (" 5 m ", 300), ("5min", 300), ("1.5h", 5400), ("2d", 172800), (3, 3)],
)
def test_durations_as_people_write_them(text: object, seconds: float) -> None:
    """Numbers are seconds."""
    assert parse_duration(text) == timedelta(seconds=seconds)


@given(st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=3650)))
def test_a_duration_is_written_exactly(duration: timedelta) -> None:
    """What is written is read back, to the microsecond."""
    assert parse_duration(write_duration(duration)) == duration == parse_duration(duration)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1B", 1), ("1kB", 1000), ("256MB", 256 * 10**6), ("1.5 GB", 15 * 10**8), ("64MiB", 2**26), (7, 7)],
)
def test_sizes_as_people_write_them(text: object, size: int) -> None:
    """Powers of ten and of two are told apart; numbers are bytes."""
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "5", "5 parsecs", "-5s", "0s", "s", "1e3s", True, None, [5], float("nan")])
def test_what_is_no_quantity_is_refused(text: object) -> None:
    """Neither is zero, nor less, nor a bare number in quotes."""
    for parse in (parse_duration, parse_bytes):
        with pytest.raises(ValueError, match=r"give a (duration|size) such as"):
            parse(text)


def test_less_than_a_byte_and_less_than_a_microsecond_are_refused() -> None:
    """They would be rounded to nothing."""
    with pytest.raises(ValueError, match="less than one byte"):
        parse_bytes("0.5B")
    with pytest.raises(ValueError, match="between a microsecond"):
        parse_duration("0.0000001s")


def test_a_merge_of_no_size_has_the_usual_one() -> None:
    """The form in the Prefect UI sends both keys, empty."""
    data = SMALLEST | {"output": {"store": "out", "merge": {"events": None, "bytes": None}}}
    assert parse_campaign(data, source="form") == parse_campaign(SMALLEST, source="file")


@pytest.mark.parametrize(
    ("given", "fraction"), [("1%", 0.01), ("0.5 %", 0.005), ("0.25", 0.25), (0.01, 0.01), (0, 0)]
)
def test_fractions_are_read_as_people_write_them(given: object, fraction: float) -> None:
    """As percentages or as numbers."""
    assert parse_fraction(given) == pytest.approx(fraction)


@pytest.mark.parametrize(("given", "target"), [("99%", 0.99), ("99.5 %", 0.995), (0.5, 0.5)])
def test_a_target_is_read_as_people_write_it(given: object, target: float) -> None:
    """As other fractions are."""
    assert parse_campaign(SMALLEST | {"target": given}, source="c.yaml").target == pytest.approx(target)


@pytest.mark.parametrize("given", ["many", "101%", -1, 1.5, True, None, "nan"])
def test_what_is_no_fraction_is_refused(given: object) -> None:
    """With what may stand there."""
    with pytest.raises(ValueError, match=r"give a fraction such as 1% or 0\.01"):
        parse_fraction(given)


def test_limits_that_end_a_range_or_a_campaign() -> None:
    """They are off, or so high that a sound campaign never meets them, unless the file says otherwise."""
    limits = parse_campaign(SMALLEST, source="c.yaml").limits
    assert (limits.event_seconds, limits.memory, limits.abandoned) == (None, None, 0.01)
    assert (limits.input_timeout, limits.setup_timeout) == (timedelta(minutes=10), timedelta(hours=1))
    given = {"event_seconds": 1.5, "memory": "2GB", "abandoned": "0.1%"}
    limits = parse_campaign(SMALLEST | {"limits": given}, source="c.yaml").limits
    assert (limits.event_seconds, limits.memory, limits.abandoned) == (1.5, 2 * 10**9, pytest.approx(0.001))


def test_what_is_wrong_in_a_cluster_file_is_named_as_in_a_campaign(tmp_path: Path) -> None:
    """The key and what is allowed, without the words and links of the library that checks it."""
    path = tmp_path / "mine.yaml"
    path.write_text("cluster_class: distributed.LocalCluster\nworkers: 0\nworkerz: 3\n")
    with pytest.raises(ClusterError) as refusal:
        read_cluster(Cluster(type=str(path)))
    told = str(refusal.value)
    assert "'workers' must be at least 1, not 0; unknown key 'workerz' (did you mean 'workers'?); allowed" in told
    assert "pydantic" not in told and "ClusterConfig" not in told
    path.write_text("tls: {ca: a.pem, key: b.pem, cert: c.pem}\n")
    with pytest.raises(ClusterError) as refusal:
        read_cluster(Cluster(type=str(path)))
    told = str(refusal.value)
    assert "unknown key 'tls.ca'; allowed are: ca_file, cert, key" in told
    assert "'tls.ca_file' is missing" in told and "Tls" not in told and "literal" not in told


@pytest.mark.parametrize(
    ("written", "number"),
    [
        (500, 500),
        ("500", 500),
        ("20k", 20_000),
        ("1.5 M", 1_500_000),
        ("2G", 2 * 10**9),
        (1e6, 10**6),
        ("1_000", 1000),
    ],
)
def test_numbers_of_events_have_units(written: Any, number: int) -> None:
    """Wherever a campaign file gives a number of events; the model has the number alone."""
    keys = {
        "inputs": {"generated": {"events": written}},
        "ranges": {"events": written},
        "output": {"store": "out", "merge": {"events": written}},
    }
    campaign = parse_campaign(SMALLEST | keys, source="c.yaml")
    assert campaign.inputs.generated is not None
    assert {campaign.inputs.generated.events, campaign.ranges.events, campaign.output.merge.events} == {number}
    assert CampaignSpec.model_validate_json(campaign.model_dump_json()) == campaign


@pytest.mark.parametrize(
    "written", [0, -1, "1.5", "1.0005k", "20 kB", "many", True, float("nan"), [5], "2e30", 10**19]
)
def test_what_is_no_number_of_events_is_refused(written: Any) -> None:
    """With what may be written."""
    assert "give a number of events such as 500, 20k or 1.5M" in refused(
        SMALLEST | {"ranges": {"events": written}}
    )


def test_one_input_needs_no_list() -> None:
    """A text, or what is said of it, in place of a list."""
    for one in ("x.parquet", {"url": "x.parquet", "label": "x"}):
        alone = parse_campaign(SMALLEST | {"inputs": {"files": one}}, source="c.yaml")
        assert alone == parse_campaign(SMALLEST | {"inputs": {"files": [one]}}, source="c.yaml")


def test_an_output_format_that_no_package_adds_any_more_is_told_in_one_line() -> None:
    """Whoever reads or audits results of a package that is not installed here learns its name."""
    with pytest.raises(CampaignError, match="output format 'papyrus', which no package here adds; known"):
        format_of({"output": {"store": "out", "format": "papyrus"}})


def test_the_form_in_the_prefect_ui_is_made_from_a_valid_schema() -> None:
    """It is JSON Schema; what a file may hold and what a form sends are valid by it, and a typo is not."""
    schema = CampaignSpec.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema)
    files = ["a.csv", {"url": "b/*.csv", "label": "b", "parameters": {"x": 1}}]
    sent = {
        "inputs": {"files": files, "csv": {"delimiter": ";"}, "types": {"id": "string"}},
        "payload": {"callable": "p.py:F", "files": ["model.json"]},
        "ranges": {"events": "2k"},
    }
    for data in (SMALLEST, yaml.safe_load(FULL), SMALLEST | sent):
        assert list(check.iter_errors(data)) == []
        parse_campaign(data, source="c.yaml")
    assert list(check.iter_errors(SMALLEST | {"inputs": {"files": [{"urll": "a"}]}}))
    parts = [schema, *schema["$defs"].values()]
    described = [field for part in parts for field in part.get("properties", {}).values()]
    assert all("description" in field or "$ref" in field for field in described)


def test_an_empty_part_is_as_if_it_were_left_out() -> None:
    """A form sends it."""
    sent = SMALLEST | {"inputs": {"files": ["*.root"], "csv": {"delimiter": None, "names": None}, "reader": None}}
    assert parse_campaign(sent, source="c.yaml") == parse_campaign(SMALLEST, source="c.yaml")


@pytest.mark.parametrize(
    ("plain", "meant"),
    [
        ({"output": "results"}, {"output": {"store": "results"}}),
        ({"output": Path("results")}, {"output": {"store": "results"}}),
        ({"inputs": "*.root"}, {"inputs": {"files": ["*.root"]}}),
        ({"inputs": ["a.root", Path("b.root")]}, {"inputs": {"files": ["a.root", "b.root"]}}),
        ({"inputs": {"generated": "2k"}}, {"inputs": {"generated": {"events": 2000}}}),
        ({"payload": "payload.py:f"}, {"payload": {"callable": "payload.py:f"}}),
        ({"ranges": 500}, {"ranges": {"events": 500}}),
        ({"ranges": "auto"}, {"ranges": {"events": "auto"}}),
        ({"cluster": "address"}, {"cluster": {"type": "address"}}),
        ({"output": {"store": "o", "merge": "1MB"}}, {"output": {"store": "o", "merge": {"bytes": 10**6}}}),
        ({"output": {"store": "o", "merge": "20k"}}, {"output": {"store": "o", "merge": {"events": 20_000}}}),
    ],
)
def test_one_value_is_enough_where_one_key_is_meant(plain: dict[str, Any], meant: dict[str, Any]) -> None:
    """A folder for results, a pattern of inputs, a number of events."""
    assert parse_campaign(SMALLEST | plain, source="c.yaml") == parse_campaign(SMALLEST | meant, source="c.yaml")


@pytest.mark.parametrize("value", [None, True, 5, 1.5, "x", "", [], [5], {}, {"a": 1}, date(2026, 1, 2), object()])
def test_no_value_anywhere_is_answered_in_words_of_a_library(value: Any) -> None:
    """Whatever stands at whichever key, the message is ours."""
    for key, field in CampaignSpec.model_fields.items():
        parts: list[dict[str, Any]] = [{key: value}]
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            parts += [{key: {inner: value}} for inner in field.annotation.model_fields]
        for part in parts:
            try:
                parse_campaign(SMALLEST | part, source="c.yaml")
            except CampaignError as error:
                assert not re.search("[Ii]nput should|valid (string|dictionary|integer)|pydantic", str(error)), (
                    error
                )


def test_a_campaign_that_is_made_in_python_is_refused_in_our_words() -> None:
    """By the class itself, too; what others validate with it still raises pydantic's error, which forms need."""
    with pytest.raises(CampaignError, match=r"^the campaign: unknown key 'limit' \(did you mean 'limits'\?\); "):
        CampaignSpec(**SMALLEST, limit=1)
    assert CampaignSpec(**SMALLEST) == parse_campaign(SMALLEST, source="c.yaml")
    with pytest.raises(ValidationError):
        CampaignSpec.model_validate(SMALLEST | {"limit": 1})
