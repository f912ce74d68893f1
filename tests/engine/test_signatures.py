"""How a payload or reader is called: what its source, or the function itself, says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventmill.campaign.code import payload_code, reader_code
from eventmill.config.campaign_spec import CampaignSpec, parse_campaign
from eventmill.core.signatures import Declared, declared_by, why_no_payload, why_no_reader
from eventmill.errors import CampaignError, PayloadError
from eventmill.payloads.declared import declared

PAYLOADS = [
    pytest.param("def f(events, where): ...", {}, None, id="plain"),
    pytest.param("def f(events, where, cut, scale=1): ...", {"cut": 1}, None, id="with a parameter"),
    pytest.param("def f(events, where, **rest): ...", {"any": 1}, None, id="takes anything"),
    pytest.param("def f(*args, cut): ...", {"cut": 1}, None, id="gathers"),
    pytest.param("f = lambda events: events", {}, None, id="not understood"),
    pytest.param("import functools\n@functools.cache\ndef f(): ...", {}, None, id="decorated"),
    pytest.param("def f(): ...\ndef f(events, where): ...", {}, None, id="defined twice"),
    pytest.param(
        "def f(events, where):\n    return [x for x in (y for y in events)]", {}, None, id="no generator"
    ),
    pytest.param("def f(events, where):\n    def g():\n        yield 1\n    return g", {}, None, id="one inside"),
    pytest.param(
        "def f(events, where, cut, scale=1): ...",
        {"cutt": 1},
        "f cannot be called with these parameters (payload.parameters): it does not take 'cutt' (did you mean "
        "'cut'?). It takes cut, scale (optional)",
        id="misspelt",
    ),
    pytest.param("def f(events, where, cut): ...", {}, "it needs 'cut'. It takes cut", id="missing"),
    pytest.param("def f(events, where): ...", {"where": 1}, "'where' cannot be set: there it gets", id="its own"),
    pytest.param("def f(events, where): ...", {"a": 1}, "it does not take 'a'. It takes none", id="takes none"),
    pytest.param("def f(): ...", {}, "f takes no argument by position, but is called with events and", id="none"),
    pytest.param("def f(events): ...", {}, "f takes only events by position", id="one argument"),
    pytest.param("def f(events, where, cut, /): ...", {}, "it needs 'cut'. It takes none", id="only by position"),
    pytest.param("async def f(events, where): ...", {}, "f is an async function", id="async"),
    pytest.param("def f(events, where):\n    yield 1", {}, "f is a generator function", id="generator"),
    pytest.param("class f:\n    pass", {}, "class f lacks '__call__(self, events, where)'", id="not callable"),
    pytest.param("class f:\n    def __call__(self, events, where): ...", {}, None, id="class"),
    pytest.param(
        "class f:\n    def __init__(self, cut): ...\n    def __call__(self, events, where): ...",
        {"cut": 1},
        None,
        id="class with a parameter",
    ),
    pytest.param(
        "class f:\n    def __init__(self, cut): ...\n    def __call__(self, events, where): ...",
        {"kut": 1},
        "it does not take 'kut' (did you mean 'cut'?)",
        id="class with another parameter",
    ),
    pytest.param(
        "class f:\n    def __call__(self, events): ...",
        {},
        "f.__call__ takes only events by position, but is called with events and where: write "
        "'def __call__(self, events, where)'",
        id="class with one argument",
    ),
    pytest.param(
        "class f:\n    async def __call__(self, events, where): ...", {}, "an async function", id="aclass"
    ),
    pytest.param(
        "from dataclasses import dataclass\n@dataclass\nclass f:\n    cut: float\n    scale: float = 1\n"
        "    def __call__(self, events, where): ...",
        {"cut": 1, "scall": 2},
        "it does not take 'scall' (did you mean 'scale'?). It takes cut, scale (optional)",
        id="dataclass",
    ),
]


@pytest.mark.parametrize(("source", "parameters", "said"), PAYLOADS)
def test_source_and_function_say_the_same(source: str, parameters: dict[str, int], said: str | None) -> None:
    """Before anything is imported, and afterwards in the payload's process."""
    shown = declared({"m.py": source.encode()}, "m", "f") or Declared("f", is_class=False)
    told = why_no_payload(shown, parameters)
    assert told == said if said is None else said in (told or "")
    if said is not None:
        scope: dict[str, object] = {"__name__": "m"}
        exec(compile(source, "m.py", "exec", dont_inherit=True), scope)
        assert why_no_payload(declared_by(scope["f"]), parameters) == told


CALL = "\n    def __call__(self, events, where): ..."
DECORATED = """
import functools
def gives(function):
    @functools.wraps(function)
    def outer(*args, **given):
        return function(*args, extra=1, **given)
    return outer
"""
UNUSUAL = [
    pytest.param("def f(events, where, /, **rest): ...", {"where": 1}, id="a name of one by position"),
    pytest.param(
        f"{DECORATED}@gives\ndef f(events, where, extra, cut): ...", {"cut": 1}, id="decorator gives one"
    ),
    pytest.param(
        f"{DECORATED}class f:\n    @gives\n    def __init__(self, extra, cut): ...{CALL}",
        {"cut": 1},
        id="decorator of init gives one",
    ),
    pytest.param("class f:\n    def __new__(cls, cut):\n        return print", {"cut": 1}, id="makes another"),
    pytest.param(
        "class M(type):\n    def __call__(cls, **any):\n        return print\nclass f(metaclass=M): ...",
        {"cut": 1},
        id="metaclass makes another",
    ),
    pytest.param(
        f"from pydantic import BaseModel\nclass f(BaseModel):\n    cut: int{CALL}",
        {"cut": 1, "other": 2},
        id="model that ignores others",
    ),
    pytest.param(
        f"from pydantic.dataclasses import dataclass\n@dataclass\nclass f:\n    cut: int{CALL}",
        {"cut": 1, "other": 2},
        id="other dataclass that ignores others",
    ),
    pytest.param(
        f"from dataclasses import dataclass\n@dataclass\nclass f:\n    if True:\n        cut: int = 1{CALL}",
        {"cut": 1},
        id="field under a condition",
    ),
    pytest.param("class f:\n    def run(self, a, b): ...\nf.__call__ = f.run", {}, id="call is set"),
    pytest.param(
        "class f:\n    def run(self, a, b): ...\nsetattr(f, '__call__', f.run)", {}, id="call is set by a call"
    ),
    pytest.param(f"class f:{CALL}\ndef init(self, cut): ...\nf.__init__ = init", {"cut": 1}, id="init is set"),
    pytest.param("def f(): ...\nfor f in [lambda a, b: 1]: ...", {}, id="a loop"),
    pytest.param("def f(): ...\n(f := lambda a, b: 1)", {}, id="a walrus"),
    pytest.param(
        "def f(): ...\ndef make():\n    global f\n    def f(events, where): ...\nmake()", {}, id="a global"
    ),
    pytest.param("def f(): ...\nfrom os.path import *\nf = print", {}, id="a star"),
]


@pytest.mark.parametrize(("source", "parameters"), UNUSUAL)
def test_what_can_be_called_is_never_refused(source: str, parameters: dict[str, int]) -> None:
    """However unusual the code is: neither by its source, nor once it is there."""
    shown = declared({"m.py": source.encode()}, "m", "f") or Declared("f", is_class=False)
    scope: dict[str, object] = {"__name__": "m"}
    exec(compile(source, "m.py", "exec", dont_inherit=True), scope)
    for known in (shown, declared_by(scope["f"])):
        assert why_no_payload(known, parameters) is None


def test_a_name_is_followed_to_the_module_beside_it() -> None:
    """What is imported from a module that is shipped is known; a package that is installed is not looked into."""
    files = {"m.py": b"from help import g as f", "help.py": b"def g(events): ..."}
    found = declared(files, "m", "f")
    assert found is not None and "g takes only events" in (why_no_payload(found, {}) or "")
    assert declared({"m.py": b"from numpy import array as f"}, "m", "f") is None
    assert declared({"m.py": b"from .m import f"}, "m", "f") is None


@pytest.mark.parametrize(
    ("source", "parameters", "columns", "said"),
    [
        ("def f(url): ...", {}, False, None),
        ("def f(url, columns): ...", {}, False, None),
        ("class f:\n    def __init__(self, url, field): ...", {"field": 1}, False, None),
        ("def f(): ...", {}, False, "reader f takes no argument by position, but is called with url"),
        ("def f(url, field): ...", {"feld": 1}, False, "it does not take 'feld' (did you mean 'field'?)"),
        ("def f(url): ...", {}, True, "reader f has no parameter 'columns'"),
        ("def f(url):\n    yield 1", {}, False, "reader f is a generator function"),
    ],
)
def test_a_reader_is_called_with_an_address(
    source: str, parameters: dict[str, int], columns: bool, said: str | None
) -> None:
    """And with the columns that the campaign selects, if it takes them."""
    found = declared({"m.py": source.encode()}, "m", "f")
    assert found is not None
    told = why_no_reader(found, parameters, columns=columns)
    assert told == said if said is None else said in (told or "")


def campaign(**keys: object) -> CampaignSpec:
    """A campaign of some events."""
    usual = {"name": "c", "inputs": {"generated": {"events": 5}}, "output": {"store": "out"}}
    return parse_campaign(usual | keys, source="c.yaml")


def test_a_campaign_is_checked_against_its_code(tmp_path: Path) -> None:
    """Before a run, and without importing anything: the payload and the reader of files, and of notebooks."""
    (tmp_path / "p.py").write_text("raise SystemExit\ndef f(events, where, cut): ...\ndef r(): ...\n")
    spec = campaign(payload={"callable": "p.py:f", "parameters": {"cut": 1}}, inputs={"files": ["a.root"]})
    assert payload_code(spec, folder=tmp_path).entry == "p:f"
    with pytest.raises(
        PayloadError, match=r"^payload p\.py:f: f cannot be called .*it needs 'cut'. It takes cut\.$"
    ):
        payload_code(campaign(payload="p.py:f"), folder=tmp_path)
    spec = campaign(payload="p.py:f", inputs={"files": ["a"], "reader": "p.py:r"})
    with pytest.raises(PayloadError, match=r"^'inputs\.reader' p\.py:r: reader r takes no argument"):
        reader_code(spec, folder=tmp_path)
    with pytest.raises(PayloadError, match="it needs 'cut'"):
        payload_code(campaign(payload={"callable": "f", "source": "def f(a, b, cut): ..."}), folder=tmp_path)


def test_a_function_is_checked_when_the_campaign_is_made() -> None:
    """A notebook says at once that a parameter is misspelt."""
    with pytest.raises(CampaignError, match=r"'payload': .*it does not take 'gros' \(did you mean 'gross'\?\)"):
        campaign(payload={"callable": select, "parameters": {"gros": 1}})
    assert campaign(payload={"callable": select, "parameters": {"gross": 1}}).payload.parameters == {"gross": 1}


def select(events: object, where: object, gross: int = 0) -> object:
    """A payload with a parameter."""
    return events


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {"limits": {"memory": 2}},
            "'limits.memory': 2 bytes is too little, at least 10MB is needed; did you mean 2GB?",
        ),
        ({"limits": {"memory": "5kB"}}, "5,000 bytes is too little, at least 10MB is needed"),
        (
            {"output": {"store": "o", "merge": {"bytes": 1}}},
            "'output.merge.bytes': 1 byte is too little, at least 1kB",
        ),
        (
            {"limits": {"input_timeout": 0.001}},
            "'limits.input_timeout': 1ms is too short, at least 100ms is needed",
        ),
        ({"limits": {"lease": "1ms"}}, "at least 100ms is needed"),
        ({"limits": {"event_seconds": 0}}, "'limits.event_seconds' must be at least 1e-06"),
        ({"ranges": {"seconds": 0.0001}}, "'ranges.seconds': 0.1ms is too short"),
        (
            {"cluster": {"walltime": 2}},
            "'cluster.walltime': 2s is too short, at least 10s is needed; did you mean 2h?",
        ),
    ],
)
def test_what_is_absurdly_small_has_probably_another_unit(keys: dict[str, object], said: str) -> None:
    """Two bytes of memory, a merge of one byte, a timeout of a millisecond."""
    with pytest.raises(CampaignError) as error:
        campaign(payload="p.py:f", **keys)
    assert said in str(error.value)
