"""Functions and classes of a notebook or script as payloads: written out as text, or refused by name."""

from __future__ import annotations

import ast
import itertools
import linecache
import re
import subprocess
import sys
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from eventmill.config.campaign_spec import CampaignSpec, parse_campaign
from eventmill.config.cell_code import places_of, written_out
from eventmill.core.leases import FailureKind, FailureReport
from eventmill.core.work_order import PayloadCode, PayloadSpec
from eventmill.errors import CampaignError
from eventmill.payloads.locate import find_payload
from eventmill.payloads.shown_places import text_with_places, with_places

Cell = Callable[[str], dict[str, Any]]


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Cell:
    """Runs the text of cells as IPython does, one after the other, in one namespace."""
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(linecache, "cache", {})
    count = itertools.count()

    def run(text: str) -> dict[str, Any]:
        name = f"<ipython-input-{next(count)}>"
        linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
        exec(compile(text, name, "exec", dont_inherit=True), vars(main))
        return vars(main)

    return run


def used(source: str, name: str) -> Any:
    """What a new process finds under a name in the module."""
    module = types.ModuleType("cell_of_a_test")
    sys.modules[module.__name__] = module  # dataclasses look there
    exec(compile(source, "cell.py", "exec"), vars(module))
    return vars(module)[name]


SETTING = """
import math
import os.path
import xml.dom
import numpy as np
from pathlib import Path
from math import sqrt as root
LIMIT, TABLE, ODD = 12, {"a": [1, (2.5,)], "b": {3}}, float("inf")
UNUSED = object()

def helper(x):
    return root(x) if x > 0 else other(-x)

def other(x):
    return helper(x) + len(TABLE["a"])

alias = helper
"""

FUNCTION = """
def select(events, where, *, scale=LIMIT):
    '''With all that it needs.'''
    total = sum(value for value in [alias(4), np.float64(1), math.pi * 0, 0 * len(os.path.join("a", "b"))])
    return total * scale, Path("x").name, ODD, xml.dom.__name__
"""


def test_a_function_brings_what_it_uses(cell: Cell) -> None:
    """Modules, names from modules, simple values, functions that need each other; nothing else."""
    function = cell(SETTING + FUNCTION)["select"]
    found = written_out(function, role="payload")
    assert found["callable"] == "select"
    assert (
        used(found["source"], "select")(None, None) == function(None, None) == (36.0, "x", float("inf"), "xml.dom")
    )
    assert "UNUSED" not in found["source"] and "import xml.dom\n" in found["source"]


def test_a_class_brings_what_it_uses(cell: Cell) -> None:
    """Its bases, decorators, default values and what its methods use, also inside of them."""
    text = """
from dataclasses import dataclass
from functools import cached_property
FACTOR = 3
def twice(function):
    def inner(*given):
        return 2 * function(*given)
    return inner
class Base:
    unit = 1
    more = unit + FACTOR
@dataclass
class Weigh(Base):
    limit: int = FACTOR
    @cached_property
    def table(self):
        return [each * FACTOR for each in range(self.limit)]
    @twice
    def __call__(self, events, where):
        return sum(self.table) + self.more
"""
    weigh = cell(text)["Weigh"]
    source = written_out(weigh, role="payload")["source"]
    assert used(source, "Weigh")(limit=4)(None, None) == weigh(limit=4)(None, None) == 44


RAISING = """


@staticmethod
def deeper(number):
    return 1 / number

def select(events, where):

    return deeper(0)
"""


@pytest.mark.parametrize(
    ("file", "shown"), [("/home/me/script.py", "/home/me/script.py"), ("/tmp/ipykernel_1/2.py", "notebook cell")]
)
def test_a_traceback_names_the_lines_that_the_user_wrote(cell: Cell, file: str, shown: str) -> None:
    """Not those of the module that is shipped; the text of each line is that of the shipped copy."""
    text = RAISING.replace("@staticmethod\n", "")
    linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
    main: Any = cell("SIGN = 1")
    exec(compile(text, file, "exec", dont_inherit=True), main)
    source = written_out(main["select"], role="payload")["source"]
    shipped: dict[str, Any] = {}
    exec(compile(source, "/scratch/code/notebook_cell.py", "exec"), shipped)
    with pytest.raises(ZeroDivisionError) as raised:
        shipped["select"](None, None)
    told = "".join(traceback.format_exception(raised.value))
    assert "notebook_cell.py" in told
    read = text_with_places(told, places_of(source))
    lines = text.splitlines()
    for line in ("    return 1 / number", "    return deeper(0)"):
        assert f'File "{shown}", line {1 + lines.index(line)}, in' in read
    assert "notebook_cell" not in read
    assert 'File "notebook cell", line ' in text_with_places(told, ())  # another process has written it out


def test_one_text_is_one_code_wherever_it_was_run(cell: Cell, tmp_path: Path) -> None:
    """Two cells of one text are the same code; a changed text, or another value that it uses, is other code."""

    def code() -> PayloadCode:
        found = written_out(cell(FUNCTION)["select"], role="payload")
        return find_payload(found["callable"], folder=tmp_path, source=found["source"])

    cell(SETTING)
    first = code()
    cell("UNUSED = 5")
    assert code() == first
    cell("LIMIT = 13")
    second = code()
    assert second.digest != first.digest
    cell("LIMIT = 12\ndef other(x):\n    return 0\n")
    assert code().digest not in (first.digest, second.digest)


def test_annotations_that_are_only_texts_need_nothing(cell: Cell) -> None:
    """With the import that makes them texts; without it they are needed when the function is defined."""
    text = "from __future__ import annotations\ndef f(events: Unknown, where: Any) -> Nothing:\n    return 1\n"
    source = written_out(cell(text)["f"], role="payload")["source"]
    assert source.startswith("from __future__ import annotations\n") and used(source, "f")(None, None) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("f = lambda events, where: events", "a lambda cannot be shipped, because it has no name"),
        ("def make():\n    def f(e, w): ...\n    return f\nf = make()", r"'f' is defined inside make\(\)"),
        ("import functools\nf = functools.partial(print, 1)", "a functools.partial is no payload"),
        ("class A:\n    def m(self, e, w): ...\nf = A().m", "'m' is a method of an object; give the class"),
        ("class A:\n    def __call__(self, e, w): ...\nf = A()", "a A is no payload; give a function or a class"),
        ("class A:\n    def m(e, w): ...\nf = A.m", r"'m' is defined inside A"),
        ("async def f(e, w): ...", "'f' is an async function"),
        (
            "model = object()\ndef f(e, w): return model",
            "'f' uses 'model', a object, which cannot",
        ),
        ("import numpy\ntable = numpy.ones(3)\ndef f(e, w): return table", "'f' uses 'table', a ndarray"),
        ("def f(e, w): return missing", "'f' uses 'missing', which is not defined"),
        ("n = 0\ndef f(e, w):\n    global n\n    n += 1", "'f' changes the global 'n'"),
        ("big = 'x' * 200_000\ndef f(e, w): return big", "'f' uses 'big', whose value has 200,002 characters"),
        ("model = [object()]\ndef g(): return model\ndef f(e, w): return g()", "'g' uses 'model', a list"),
        ("exec('def f(e, w): ...')", "the source of 'f' is not known"),
    ],
)
def test_what_cannot_be_shipped_is_refused_by_name(cell: Cell, text: str, said: str) -> None:
    """With what to do instead."""
    function = cell(text)["f"]
    with pytest.raises(ValueError, match=said):
        written_out(function, role="payload")


WRAPPING = """
import functools
def corrected(function):
    @functools.wraps(function)
    def inner(*given):
        return 2 * function(*given)
    return inner
"""


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([WRAPPING + "def f(e, w): return 1\nf = corrected(f)"], "the code of 'f'"),
        ([WRAPPING + "def h(): return 1\nh = corrected(h)\ndef f(e, w): return h()"], "the code of 'h'"),
        ([WRAPPING + "@corrected\ndef f(e, w): return 1\nf = corrected(f)"], "the code of 'f'"),
        (
            ["def h(): return 1\nold = h", "def h(): return 2\ndef f(e, w): return old(), h()"],
            "'h' is two things",
        ),
        (
            ["def h(): return 1\nold = h", "def h(): return 2\ndef f(e, w): return h(), old()\nh, old = old, h"],
            "'h' is two things",
        ),
        (["class C:\n    a = 1\nOld = C\nclass C:\n    a = 2\ndef f(e, w): return Old.a"], "'a' of 'C'"),
        (
            ["class C:\n    a = 1\nOld = C", "class C:\n    a = 2\ndef f(e, w): return Old.a, C.a"],
            "'C' is two things",
        ),
        (["class f:\n    a = 1\nclass Other(f):\n    a = 2\nf.a = 3"], "the attribute 'a' of 'f'"),
        (["L = 12\ndef f(e, w, limit=L): return limit", "L = 20"], "a default value of 'f'"),
        (["L = 12\ndef f(e, w, *, limit={'a': [L]}): return limit", "L = 20"], "a default value of 'f'"),
        (["L = 12\ndef f(e, w, limit=L): return limit", "L = 12.0"], "a default value of 'f'"),
        (["L = 12\nclass f:\n    limit = L", "L = 20"], "the attribute 'limit' of 'f'"),
        (["L = 12\nclass f:\n    limit = L\n    def m(self): return L", "L = 20"], "the attribute 'limit' of 'f'"),
        (["class f:\n    def m(self): ...\nf.limit = 5"], "the attribute 'limit' of 'f'"),
        (["class f:\n    def m(self): ...\ndef g(self): return 1\nf.m = g"], "the code of 'g'"),
        (["def f(e, w=1): return w\nf.__defaults__ = (9,)"], "a default value of 'f'"),
        (["def f(e, w): return f.calls\nf.calls = 1"], "the attribute 'calls' of 'f'"),
        ([WRAPPING, "@corrected\ndef f(e, w): return 1", WRAPPING.replace("2 *", "3 *")], "the code of 'f'"),
        (
            [
                "F = 2\ndef times(n):\n    def deco(g):\n        def inner(*a): return n * g(*a)\n"
                "        inner.__name__ = inner.__qualname__ = 'f'\n        return inner\n    return deco\n"
                "def f(e, w): return 1\nf = times(F)(f)",
                "F = 3",
            ],
            "'f'",
        ),
        (["class A:\n    def m(self): return B\nclass B(A): ...\ndef f(e, w): return A, B"], "loaded alone"),
        (
            ["import itertools\nL = 1\ndef f(e, w, of=itertools.repeat(L, 3)): return list(of)", "L = 2"],
            "a default value of 'f'",
        ),
        (["import enum\nL = 1\nclass A(enum.IntEnum):\n    X = L\ndef f(e, w): return A.X", "L = 2"], "of 'A'"),
        (["loop = []\nloop.append(loop)\ndef f(e, w): return loop"], "'f' uses 'loop', a list"),
    ],
)
def test_what_is_not_what_its_source_says_is_refused(cell: Cell, texts: list[str], said: str) -> None:
    """However the object came to differ from the text that would be shipped for it."""
    for text in texts:
        names = cell(text)
    with pytest.raises(ValueError, match=said):
        written_out(names["f"], role="payload")


STATEMENTS = [
    "L = {n}",
    "def h(x=L): return x, {n}, L",
    "def g(): return h(), {n}",
    "old = h",
    "old = g",
    "h, old = old, h",
    "h = corrected(h)",
    "@corrected\ndef h(x={n}): return x, L",
    "def corrected(function):\n    @functools.wraps(function)\n    def inner(*all): return {n}, function(*all)\n"
    "    return inner",
    "class C:\n    a = L",
    "class C:\n    a = {n}\n    def m(self): return C.a, self.a, h()",
    "Old = C",
    "C.a = {n}",
    "h.__defaults__ = ({n},)",
]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(STATEMENTS), st.integers(1, 3)), max_size=6))
def test_what_is_shipped_does_what_the_object_does(cell: Cell, done: list[tuple[str, int]]) -> None:
    """Whatever was defined again, wrapped, renamed or changed before: it is that, or it is refused."""
    cell("import functools\n" + "\n".join(STATEMENTS[n].format(n=1) for n in (0, 8, 1, 2, 3, 9, 11)))
    for text, number in done:
        cell(text.format(n=number))
    function = cell("def f(e, w): return old(), h(), g(), Old.a, C.a")["f"]
    try:
        source = written_out(function, role="payload")["source"]
    except ValueError:
        event("refused")
    else:
        event("shipped")
        assert outcome(used(source, "f")) == outcome(function)


def outcome(function: Callable[[None, None], object]) -> object:
    """What a call gives; renamed functions may call each other for ever."""
    try:
        return function(None, None)
    except RecursionError:
        return "for ever"


def test_a_script_that_was_edited_meanwhile_is_refused(cell: Cell) -> None:
    """Its lines are read when the campaign is made, and are then those of another code."""
    function = cell("def f(e, w): return 1\n")["f"]
    name = function.__code__.co_filename
    linecache.cache[name] = 1, None, ["def f(e, w): return 2\n"], name
    with pytest.raises(ValueError, match=r"the code of 'f' is not what its source says.*'file\.py:f'"):
        written_out(function, role="payload")


@pytest.mark.parametrize("indented", ["    two", "two", "\ttwo"])
def test_a_text_over_several_lines_stays_as_it_is(cell: Cell, indented: str) -> None:
    """Also in a function under an `if`, whatever its lines begin with."""
    text = f"if True:\n    def f(e, w):\n        return '''one\n{indented}'''\n"
    function = cell(text)["f"]
    source = written_out(function, role="payload")["source"]
    assert used(source, "f")(None, None) == function(None, None) == f"one\n{indented}"


@pytest.mark.parametrize(
    "text",
    [
        WRAPPING + "@corrected\ndef f(e, w): return 1",
        WRAPPING + "F = 2\n@corrected\n@corrected\ndef f(e, w, n=F): return n",
        "import contextlib\n@contextlib.contextmanager\ndef f(e, w): yield 1",
        "import enum\nclass Kind(enum.Enum):\n    A = 1\n    B = 2\ndef f(e, w): return Kind.A",
        "from typing import NamedTuple\nclass f(NamedTuple):\n    a: int\n    b: str = 'x'",
        "from dataclasses import dataclass, field\n@dataclass(frozen=True)\nclass f:\n    a: int = 1\n"
        "    b: list = field(default_factory=list)\n    def __call__(self, e, w): return self",
        "import numpy as np\nclass f:\n    edges = np.linspace(0, 1, 5)\n    def m(self): return self",
        "import functools, re\nclass f:\n    p = re.compile('x')\n    @functools.lru_cache(3)\n"
        "    def g(self): ...\n    @functools.cached_property\n    def h(self): ...\n    @property\n"
        "    def i(self): ...\n    @classmethod\n    def j(cls): return super().j\n    none = object()",
        "import abc\nclass A(abc.ABC):\n    __slots__ = ('x',)\n    @abc.abstractmethod\n    def m(self): ...\n"
        "class f(A):\n    def m(self): return super().m",
        "from pydantic import BaseModel, Field\nclass f(BaseModel):\n    a: int = Field(3, gt=1)\n"
        "    def __call__(self, e, w): return self",
        "odd = complex('nan'), -0.0, complex(-0.0, float('-inf'))\ndef f(e, w): return odd",
        "import numpy as np\ndef f(e, w):\n    try:\n        for i in range(3): np.sum(i)\n"
        "    except ValueError:\n        return np.max(1)\n    return {k: v for k, v in () if k in {1, 2}}",
        "import enum\nclass A(enum.IntEnum):\n    X = 1\nclass B(enum.Flag):\n    X = 1\n    Y = 2\n"
        "class C(enum.StrEnum):\n    X = 'x'\ndef f(e, w, of=(A.X, B.X | B.Y, C.X)): return of",
        "from typing import NamedTuple\nclass A(NamedTuple):\n    a: int = 1\ndef f(e, w, of=A(2)): return of",
        "import itertools\ndef f(e, w, of=itertools.repeat(1, 3)): return list(of)",
        "from __future__ import annotations\ndef g(x: int): ...\ndef f(e, w):\n    return g",
    ],
)
@pytest.mark.parametrize("apart", [False, True])
def test_what_is_usual_is_shipped(cell: Cell, text: str, *, apart: bool) -> None:
    """Whether the text was compiled at once, as a script is, or by the statement, as a notebook does."""
    names: dict[str, Any] = {}
    lines = text.splitlines(keepends=True)
    starts = [min([n.lineno, *(d.lineno for d in getattr(n, "decorator_list", ()))]) for n in ast.parse(text).body]
    ends = [*(start - 1 for start in starts[1:]), len(lines)]
    for first, last in zip(starts, ends, strict=True) if apart else [(1, len(lines))]:
        names = cell("".join(lines[first - 1 : last]))
    assert used(written_out(names["f"], role="payload")["source"], "f") is not None


def test_code_with_a_module_of_its_own_is_named_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file by its path from the working folder, an installed module by its name: as a campaign file would."""
    (tmp_path / "analysis_of_stars.py").write_text("def select(events, where): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    import analysis_of_stars  # type: ignore[import-not-found]

    try:
        assert written_out(analysis_of_stars.select, role="payload") == {"callable": "analysis_of_stars.py:select"}
    finally:
        del sys.modules["analysis_of_stars"]
    assert written_out(find_payload, role="payload") == {"callable": "eventmill.payloads.locate:find_payload"}


def test_a_campaign_takes_a_function(cell: Cell) -> None:
    """Alone, or beside other keys of the payload; the campaign is plain data all the same. So does a reader."""
    function = cell("def f(events, where): return events\ndef open_it(url): ...\n")["f"]
    keys: dict[str, Any] = {"name": "c", "inputs": {"files": ["a.x"]}, "output": {"store": "out"}}
    spec = CampaignSpec(**keys, payload=function)
    assert spec == parse_campaign(keys | {"payload": {"callable": function}}, source="c")
    assert CampaignSpec.model_validate_json(spec.model_dump_json()) == spec
    assert (spec.payload.callable, spec.payload.source) == ("f", "def f(events, where): return events\n")
    reader = vars(sys.modules["__main__"])["open_it"]
    read = parse_campaign(keys | {"payload": function, "inputs": {"files": ["a.x"], "reader": reader}}, source="c")
    assert read.inputs.reader is not None and read.inputs.reader.callable == "open_it"
    with pytest.raises(CampaignError, match="'payload': a lambda cannot be shipped"):
        parse_campaign(keys | {"payload": lambda events, where: events}, source="c")


SCRIPT = """
import helping
import pandas as pd
import eventmill as em

LIMIT = 3

class Select:
    def __init__(self, more=0):
        self.limit = LIMIT + more

    def __call__(self, events, where):
        return pd.DataFrame({"event": helping.keep(events, self.limit)})

if __name__ == "__main__":
    keys = {"name": "c", "inputs": {"generated": {"events": 9}}, "output": {"store": "out"}}
    tried = em.try_payload(keys | {"payload": {"callable": Select, "parameters": {"more": 1}}}, events=9)
    print(tried.result["event"].tolist())
    raise SystemExit(0 if "notebook_cell" not in __import__("sys").modules else 1)
"""


def test_a_script_gives_its_class_with_the_modules_beside_it(tmp_path: Path) -> None:
    """In a process of its own, whose main module is the script."""
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "helping.py").write_text("def keep(events, limit):\n    return [e for e in events if e < limit]\n")
    ended = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "[0, 1, 2, 3]\n"), ended.stderr


IN_IPYTHON = """
from IPython.core.interactiveshell import InteractiveShell
from eventmill.config.cell_code import written_out

shell = InteractiveShell.instance()
for cell in (
    "import math\\nclass Base:\\n    unit = 2",
    "%precision 3\\nclass Select(Base):\\n    def __call__(self, e, w): return math.pi",
    "def plain(events, where):\\n    return Select().unit",
):
    shell.run_cell(cell)
    shell.run_cell("answer = 1")
import sys
shell.run_cell("from eventmill.config.cell_code import written_out; made = written_out(plain, role='payload')")
print(shell.user_ns["made"]["source"])
"""


def test_cells_of_ipython_are_written_out(tmp_path: Path) -> None:
    """By IPython itself, with a class that has no methods, and a magic in its cell."""
    pytest.importorskip("IPython")
    (tmp_path / "script.py").write_text(IN_IPYTHON)
    ended = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr
    source = ended.stdout[ended.stdout.index("import math") :]
    assert used(source, "plain")(None, None) == 2


def test_a_traceback_names_the_file_that_was_shipped_and_not_its_copy() -> None:
    """Also the modules beside it; what is in neither stays as it is."""
    spec = PayloadSpec("analysis/payload.py:select", {}, "0123456789abcdef")
    told = "".join(
        f'  File "{file}", line 7, in f\n    1 / 0\n'
        for file in ("/dev/shm/code-0/0123456789abcdef/payload.py", "/s/0123456789abcdef/a/b.py", "/usr/numpy.py")
    )
    found = with_places(FailureReport(FailureKind.PAYLOAD, "x", told, told), spec, folder="/home/me")
    for text in (found.traceback, found.printed):
        assert re.findall('File "(.*)", line 7', text) == [
            *("/home/me/analysis/payload.py", "/home/me/analysis/a/b.py", "/usr/numpy.py")
        ]
