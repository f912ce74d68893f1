"""How two versions of the user's code differ, in the words of who changed it."""

from __future__ import annotations

import pytest

from eventmill.payloads.code_changes import code_changes

CODE = b'''"""A payload."""
import json

CUT = 20
TOKEN = "abc"
TABLE = [1, 2]


def select(events, where):
    """Some."""
    return events


class Payload:
    size = 3

    def __init__(self): ...

    def __call__(self, events, where):
        return events
'''


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        (b"CUT = 20", b"CUT = 30", "payload.py: CUT 20 -> 30"),
        (b"TABLE = [1, 2]", b"TABLE = [1, 2, 3]", "payload.py: TABLE [1, 2] -> [1, 2, 3]"),
        (b"[1, 2]", b"[" + b"1, " * 50 + b"]", "payload.py: TABLE changed"),
        (b'"abc"', b'"def"', "payload.py: TOKEN changed"),
        (b"return events\n\n\nclass", b"return events[1:]\n\n\nclass", "payload.py: function select changed"),
        (b"size = 3", b"size = 4", "payload.py: class Payload: size changed"),
        (b"__init__(self)", b"__init__(self, cut=1)", "payload.py: class Payload: __init__ changed"),
        (b"class Payload:", b"class Payload(dict):", "payload.py: class Payload changed"),
        (b"def select", b"def choose", "payload.py: function select removed, function choose added"),
        (b"import json", b"import json, os", "payload.py: imports or other statements changed"),
        (b"CUT = 20\n", b"", "payload.py: CUT removed"),
        (b'"""Some."""', b'"""All."""  # really', "payload.py: only comments, layout or docstrings changed"),
        (b"def select(", b"def select(((", f"payload.py changed ({len(CODE)} -> {len(CODE) + 2} bytes)"),
    ],
)
def test_what_changed_in_a_module_is_named(was: bytes, becomes: bytes, said: str) -> None:
    """Functions, classes and their parts, constants with their values, unless they may be secrets."""
    assert was in CODE
    assert code_changes({"payload.py": CODE}, {"payload.py": CODE.replace(was, becomes, 1)}) == said


def test_files_that_changed_came_or_went_are_named() -> None:
    """Data and modules; of too many, their number. The code of a notebook is in no file."""
    old = {"model.json": b"1", "help.py": b"", "notebook_cell.py": b"CUT = 1"}
    new = {"model.json": b"20", "more.csv": b"", "notebook_cell.py": b"CUT = 2"}
    assert (
        code_changes(old, new) == "help.py removed, model.json changed (1 -> 2 bytes), more.csv added, CUT 1 -> 2"
    )
    assert code_changes(old, old) == ""
    many = {f"{number:02}.csv": b"" for number in range(20)}
    assert code_changes({}, many).endswith("07.csv added, and 12 more files")
