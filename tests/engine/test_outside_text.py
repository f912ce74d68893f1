"""Whatever text comes from outside, it is stored, bounded, clean, and no verb of the ledger fails for it."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventmill import text
from eventmill.errors import InputError

ANYTHING = st.text(st.characters(exclude_categories=()), max_size=200)
"""With halves of characters, NUL and all the rest."""

HUGE = st.builds(lambda piece, times: piece * times, ANYTHING, st.sampled_from([1, 50, 500]))

_ORDERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


@given(words=HUGE, most=st.sampled_from([100, 2_000, 16_000]))
@example(words="\x1b[31m" * 1_000_000, most=2_000)
@example(words="é" * 70, most=100)
def test_told_text_is_clean_bounded_and_stays_as_it_is(words: str, most: int) -> None:
    """Of any text; and what is fit already is not touched."""
    told = text.told(words, most_bytes=most)
    assert len(told.encode()) <= most
    assert not _ORDERS.search(told)
    assert text.told(told, most_bytes=most) == told
    if len(words) <= most and not text._UNFIT.search(words) and len(words.encode()) <= most:
        assert told == words


def test_what_is_left_out_is_said() -> None:
    """The beginning and the end stay, with the number of characters between them."""
    told = text.told("begin" + "x" * 100_000_000 + "end")
    found = re.fullmatch(r"(begin.*) … ([\d,]+) characters left out … (.*end)", told)
    assert found is not None
    kept = len(found[1]) + len(found[3])
    assert kept + int(found[2].replace(",", "")) == 100_000_008


@given(one=HUGE, other=HUGE)
@example(one="caf\udce9", other="caf\\udce9")
@example(one="x" * 9_000, other="x" * 9_001)
def test_names_stay_apart(one: str, other: str) -> None:
    """Two names are one in the ledger only if they were one before; a name that fits is not touched."""
    assert (text.name(one) == text.name(other)) == (one == other)
    assert len(text.name(one).encode()) <= text.NAME_BYTES
    assert text.name(text.name(one)) == text.name(one)


@given(words=HUGE)
def test_a_line_is_one_line(words: str) -> None:
    """However many there were."""
    told = text.line(words)
    assert "\n" not in told and len(told.encode()) <= text.LINE_BYTES
    assert text.line(told) == told


class Mute(Exception):
    def __str__(self) -> str:
        raise SystemExit("not me")


@pytest.mark.parametrize("error", [Mute(), ValueError("\udce9\x00"), InputError("\x1b]0;title\x07" * 10_000)])
def test_an_error_can_always_say_something(error: Exception) -> None:
    """Also one whose own method raises."""
    assert not _ORDERS.search(text.words_of(error))
    assert text.words_of(error)


class Odd(str):
    """A string that is not what it seems."""

    def __len__(self) -> int:
        raise RuntimeError

    def __getitem__(self, place: object) -> str:
        raise RuntimeError


def test_a_string_of_another_class_becomes_a_plain_one() -> None:
    """No database driver knows it."""
    assert type(text.told(Odd("x"))) is str
    assert type(text.name(Odd("x"))) is str
