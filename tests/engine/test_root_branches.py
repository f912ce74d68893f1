"""Branches of a TTree: each has a name of its own, and what no array can hold is found before an event is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from eventmill.core.work_order import SourceSpec
from eventmill.errors import InputError
from eventmill.sources import inspect_input, open_source

FILES = Path(__file__).parent / "files"
OBJECTS = str(FILES / "objects.root")
MEMBERWISE = str(FILES / "memberwise.root")

MEMBERS = {
    "px": 1003.0,
    "mu1/px": 3.0,
    "mu1/py": 3.5,
    "mu2/px": -3.0,
    "mu2/py": -3.5,
    "ev/one/one.px": 103.0,
    "ev/one/one.py": 203.0,
    "ev/two/two.px": 303.0,
    "ev/two/two.py": 403.0,
    "ev/px": 503,
    "ev2/one/one.px": -103.0,
    "ev2/one/one.py": -203.0,
    "ev2/two/two.px": -303.0,
    "ev2/two/two.py": -403.0,
    "ev2/px": -503,
    "h/a": 6,
    "h/b": 0.75,
    "same/same": 603.0,
    "o/in/in.a": 703,
    "o/in/in.b": 803.0,
    "o/c": 903,
}
"""Full names of all members that an array can hold, and their values in event 3."""

SHORT = {"h/a": "a", "h/b": "b", "o/in/in.a": "in.a", "o/in/in.b": "in.b", "o/c": "c"}
"""Those that no other branch shares its name with."""


def event(*columns: str) -> Any:
    """Event 3 with these columns, or with all."""
    return open_source(OBJECTS, SourceSpec("root", columns=columns or None)).read(3, 4).to_list()[0]


def test_every_member_is_read_once_under_a_name_of_its_own() -> None:
    """Two objects with members of the same names, at two and three levels, beside a branch that is called so."""
    assert event() == {SHORT.get(path, path): value for path, value in MEMBERS.items()}


@settings(max_examples=15, deadline=None)
@given(chosen=st.lists(st.sampled_from([*MEMBERS, *SHORT.values()]), min_size=1, unique=True))
def test_a_name_that_was_read_can_be_chosen(chosen: list[str]) -> None:
    """In any order, and is called in the payload as it was in the campaign."""
    full = {short: path for path, short in SHORT.items()}
    assert event(*chosen) == {name: MEMBERS[full.get(name, name)] for name in chosen}
    assert list(event(*chosen)) == chosen


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("py", "mu1/py, mu2/py"),
        ("one.px", "ev/one/one.px, ev2/one/one.px"),
        ("two", "ev/two, ev2/two"),
    ],
)
def test_a_short_name_of_several_is_an_error_that_lists_them(name: str, meant: str) -> None:
    """Nobody guesses which one is wanted; the full names are all that is needed."""
    with pytest.raises(
        InputError, match=f"column '{name}' .* is ambiguous; it may mean any of {meant}: use the full name"
    ):
        inspect_input(OBJECTS, SourceSpec("root", columns=("a", name)))


def test_a_whole_object_may_be_chosen() -> None:
    """Then it is a record, at any depth."""
    assert event("ev2", "same") == {
        "ev2": {
            "one": {"one.px": -103.0, "one.py": -203.0},
            "two": {"two.px": -303.0, "two.py": -403.0},
            "px": -503,
        },
        "same": {"same": 603.0},
    }


def test_what_no_array_can_hold_is_left_out_by_name() -> None:
    """All else of the tree is read, and the split tells what is not."""
    seen = inspect_input(OBJECTS, SourceSpec("root"))
    assert seen.left_out == ("h/who (TNamed*)", "o/in/in.who (TNamed*)")
    assert [name for name, _ in seen.layout] == list(event())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "h",
            r"contains parts that cannot be read as arrays: h/who \(TNamed\*\)\. Choose parts of it: h/a, h/b\.",
        ),
        ("o", r"arrays: o/in/in\.who \(TNamed\*\)\. Choose parts of it: o/in/in\.a, o/in/in\.b, o/c\."),
        ("h/who", r"has type TNamed\*, which cannot be read as an array"),
        ("who", r"has type TNamed\*"),
    ],
)
def test_what_no_array_can_hold_is_refused_if_it_is_asked_for(name: str, said: str) -> None:
    """At the split, with what could be chosen in its place."""
    with pytest.raises(InputError, match=said):
        inspect_input(OBJECTS, SourceSpec("root", columns=(name,)))


def test_objects_that_were_written_in_an_unknown_way_are_found_at_the_split() -> None:
    """Their types alone do not tell; one event does, and the rest of the tree is sound."""
    with uproot.open(MEMBERWISE) as file, pytest.raises(NotImplementedError, match="memberwise"):
        file["T/d"].array()
    seen = inspect_input(MEMBERWISE, SourceSpec("root"))
    assert (seen.left_out, seen.layout) == (("d (Deep)",), (("i", "int32"),))
    assert open_source(MEMBERWISE, SourceSpec("root")).read(0, 20)["i"].to_list() == list(range(20))
    with pytest.raises(InputError, match=r"column 'd' .* has type Deep, which cannot be read as an array"):
        inspect_input(MEMBERWISE, SourceSpec("root", columns=("d",)))
