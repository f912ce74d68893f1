"""Names of flow runs that Prefect makes up, its server or its two forms, and names that people type."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import prefect
from hypothesis import given
from hypothesis import strategies as st
from prefect.utilities.names import generate_slug

from eventmill.prefect_api.run_names import is_made_up
from eventmill.prefect_api.ui_vocabulary import ADJECTIVES, ANIMALS, LETTERS, PLACES, REGIONS

LONGEST_ANIMAL = 6
"""Characters: the second form takes no longer ones."""


@cache
def scripts(ui: Path) -> str:
    """All scripts of one design of the UI."""
    return "\n".join(file.read_text() for file in sorted((ui / "assets").glob("*.js")))


def words_of(ui: Path, *, first: str) -> list[str]:
    """The list in the scripts of a design that begins with some words, and has been joined with dots."""
    (found,) = re.findall(rf"`({re.escape(first)}\.[^`]*)`\.split\(`\.`\)", scripts(ui))
    return str(found).split(".")


def test_the_words_are_those_of_the_installed_ui() -> None:
    """Where this fails, Prefect was updated: take over its lists."""
    first, second = prefect.__ui_static_path__, prefect.__ui_v2_static_path__
    assert {re.sub(r"\d|RANDOM", "", word) for word in words_of(first, first="alpha.alpha2")} == LETTERS
    assert set(words_of(first, first="andromedae")) - {""} == PLACES
    assert set(words_of(first, first="a.b.c.d.e.f.g")) == REGIONS
    assert {word for word in words_of(second, first="Aardvark") if len(word) <= LONGEST_ANIMAL} == ANIMALS
    (adjectives,) = re.findall(r"\[(`Awesome`[^\]]*)\]", scripts(second))
    assert set(re.findall(r"`(\w+)`", adjectives)) == ADJECTIVES


LETTER = st.builds("{}{}".format, st.sampled_from(sorted(LETTERS)), st.just("") | st.integers(2, 999))
PLACE, REGION = (st.sampled_from(sorted(words)) for words in (PLACES, REGIONS))


@given(
    st.builds("{}-{}-{}".format, LETTER, PLACE, REGION)
    | st.builds("{}-{}".format, LETTER, PLACE)
    | st.builds("{}--{}".format, LETTER, REGION)  # the first form sometimes leaves the place empty
    | st.builds("{}-{}".format, st.sampled_from(sorted(ADJECTIVES)), st.sampled_from(sorted(ANIMALS)))
)
def test_every_name_that_a_form_makes_up_is_known(name: str) -> None:
    """Of all its parts, in the order in which the forms put them together."""
    assert is_made_up(name)


def test_names_that_the_server_makes_up_are_known() -> None:
    """For runs that no form starts: of a schedule, an automation, a command."""
    assert all(is_made_up(generate_slug(2)) for _ in range(200))


@given(st.builds("{}-{}".format, LETTER, st.text("abcdefghijklmnopqrstuvwxyz0123456789 ")))
def test_a_greek_letter_alone_makes_no_name(name: str) -> None:
    """People of this field type such names: `pi-minus`, `tau-scan`, `mu-2026`."""
    assert is_made_up(name) == (name.partition("-")[2] in PLACES)


def test_names_that_people_type_stay() -> None:
    """The name of a campaign, words with spaces, a run's number."""
    typed = ("dimuon", "night-run-7", "squares · merge", "my run", "", "run3-v2", "pi-minus", "tau3", "alpha", "-")
    typed += ("Small-Muons", "Awesome-", "omega-run-quadrant", "omicron287-rakosa-quadrant-2")
    assert [name for name in typed if is_made_up(name)] == []
