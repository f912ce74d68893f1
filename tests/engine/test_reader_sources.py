"""What a reader returns is checked: nothing of the user's code is trusted. In this process, without a worker."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from eventmill.core.ranges import EventRange
from eventmill.errors import InputError, PayloadError
from eventmill.payloads.reader import OpenInputs, bind_reader
from eventmill.payloads.reader_calls import InspectCall, ReadCall


def inputs(**source: Any) -> OpenInputs:
    """A reader whose sources are like this."""
    made = {"events": 10, "read": lambda start, stop: list(range(start, stop)), "identity": "1"} | source
    return OpenInputs(lambda url: SimpleNamespace(**made), name="open_it", credentials=None)


def read(opened: OpenInputs, start: int, stop: int, *, identity: str = "1", events: int = 10) -> Any:
    return opened.read(ReadCall("u", EventRange(start, stop), Path(), identity, events))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"events": -1}, "must return a source: an object with 'events'"),
        ({"events": 2**63}, "reader open_it gives 9,223,372,036,854,775,808 events for u; at most"),
        ({"events": True}, "must return a source"),
        ({"events": 2.5}, "must return a source"),
        ({"events": None}, "must return a source"),
        ({"read": None}, "must return a source"),
        ({"boundaries": [5, 3]}, r"boundaries for u that are not sorted event numbers: \[5, 3\]"),
        ({"boundaries": ["a"]}, "not sorted event numbers"),
        ({"layout": [("a", "no type")]}, "neither an Arrow schema nor pairs of names and types"),
        ({"layout": 5}, "neither an Arrow schema nor pairs"),
        ({"identity": None}, r"u cannot be opened: .*the source needs an attribute 'identity'"),
    ],
)
def test_what_is_no_source_is_refused(source: dict[str, Any], said: str) -> None:
    """By the name of the reader and the input, with what it should be."""
    with pytest.raises(InputError, match=said):
        inputs(**source).inspect(InspectCall("u"))


def test_whatever_counts_is_a_number_of_events() -> None:
    """NumPy's integers, too; edges outside are dropped, and equal ones are one."""
    found = inputs(events=np.int64(10), boundaries=np.array([0, 3, 3, 10, 12])).inspect(InspectCall("u")).found
    assert (found.events, found.boundaries, found.identity) == (10, (3,), "1")


@pytest.mark.parametrize(
    "layout", [pa.schema([("a", pa.large_string())]), [("a", "string")], [("a", pa.string())]]
)
def test_a_layout_may_be_told_in_three_ways(layout: Any) -> None:
    """As those of other sources, it is the same for types that are alike."""
    assert inputs(layout=layout).inspect(InspectCall("u")).found.layout == (("a", "string"),)


@pytest.mark.parametrize(
    "events",
    [
        [1, 2, 3],
        np.arange(3),
        pd.DataFrame({"a": [1, 2, 3]}),
        pa.table({"a": [1, 2, 3]}),
    ],
)
def test_any_table_array_or_list_will_do(events: Any) -> None:
    """If it has an element for each event."""
    assert read(inputs(read=lambda start, stop: events), 4, 7) is events


@pytest.mark.parametrize(
    ("events", "got"),
    [
        ([1, 2], "a list of 2"),
        ({"a": [1, 2, 3]}, "a dict"),
        (None, "a NoneType"),
        ("abc", "a str"),
        ({1, 2, 3}, "a set, which has no order,"),
        (iter(()), "a "),
    ],
)
def test_another_number_of_events_is_refused(events: Any, got: str) -> None:
    """Also what has none, such as a dict of columns, which often has as many columns as events."""
    with pytest.raises(InputError, match=rf"reader open_it gave {got}.* for the 3 events \[4, 7\) of u"):
        read(inputs(read=lambda start, stop: events), 4, 7)


def test_a_changed_input_is_never_read(tmp_path: Path) -> None:
    """By what identifies it and by its number of events; before a read and after it."""
    with pytest.raises(InputError, match="u has changed since it was split"):
        read(inputs(), 0, 3, identity="2")
    with pytest.raises(InputError, match="it had 11 events"):
        read(inputs(), 0, 3, events=11)
    file = tmp_path / "in"
    file.write_text("1")

    def touch(start: int, stop: int) -> list[int]:
        os.utime(file, ns=(5, 5))
        return [0] * (stop - start)

    source = SimpleNamespace(events=10, read=touch)
    opened = OpenInputs(lambda url: source, name="r", credentials=None)
    found = opened.inspect(InspectCall(str(file))).found
    call = ReadCall(str(file), EventRange(0, 3), tmp_path / "out", found.identity, 10)
    with pytest.raises(InputError, match="has changed since it was split"):
        opened.read(call)


def test_few_inputs_stay_open() -> None:
    """The others are closed, those that are inspected again, too; an error of `close` is nobody's."""
    closed: list[str] = []

    def open_it(url: str) -> Any:
        def close() -> None:
            closed.append(url)
            raise OSError

        return SimpleNamespace(events=1, read=lambda start, stop: [0], identity="1", close=close)

    opened = OpenInputs(open_it, name="r", credentials=None)
    for url in ("a", "b", "a", "c"):
        opened.read(ReadCall(url, EventRange(0, 1), Path(), "1", 1))
    assert closed == ["b"]
    opened.inspect(InspectCall("a"))
    opened.close()
    assert sorted(closed) == ["a", "a", "b", "c"]


def test_a_reader_gets_what_it_takes() -> None:
    """The address, its parameters, and the columns if it has a parameter for them."""

    def plain(url: str, *, field: int = 0) -> Any:
        return url, field

    def choosing(url: str, columns: list[str] | None) -> Any:
        return url, columns

    assert bind_reader(plain, "plain", parameters={"field": 7}, columns=None)("u") == ("u", 7)
    assert bind_reader(choosing, "choosing", parameters={}, columns=("a",))("u") == ("u", ["a"])
    assert bind_reader(choosing, "choosing", parameters={}, columns=None)("u") == ("u", None)

    @functools.wraps(choosing)
    def wrapped(*args: Any, **given: Any) -> object:
        return choosing(*args, **given)

    assert bind_reader(wrapped, "wrapped", parameters={}, columns=None)("u") == ("u", None)
    with pytest.raises(PayloadError, match="reader plain has no parameter 'columns'"):
        bind_reader(plain, "plain", parameters={}, columns=("a",))
    with pytest.raises(PayloadError, match=r"it does not take 'feld' \(did you mean 'field'\?\)"):
        bind_reader(plain, "plain", parameters={"feld": 7}, columns=None)
