"""Inputs that end the process that looks into them are named in the end, and nobody else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import uuid
from pathlib import Path

import pytest

from eventmill.campaign.crashing_inputs import forget, is_suspect, looking

LOOK = """
    import ctypes
    from eventmill.errors import InputError
    from eventmill.core.ranges import NewInput

    def look(address, spec):
        name = address.rsplit("/")[-1]
        if "killer" in name:
            ctypes.string_at(0)
        if "unreadable" in name:
            raise InputError(f"{name} is empty")
        return NewInput(address, 10, "i")
"""

SPLIT = """
    import sys
    import lookers
    from eventmill.campaign import split_inputs
    from eventmill.core.work_order import SourceSpec

    split_inputs.inspect_input = lookers.look
    found, unreadable = split_inputs.split(sys.argv[1:], SourceSpec("generated"), folder=".")
    print(*(item.url.rsplit("/")[-1] for item in found))
    print(*unreadable, sep=chr(10))
"""


@pytest.fixture
def place(tmp_path: Path) -> str:
    """Where inputs are of which this machine remembers nothing; and how they are looked into."""
    (tmp_path / "lookers.py").write_text(textwrap.dedent(LOOK))
    (tmp_path / "split.py").write_text(textwrap.dedent(SPLIT))
    return uuid.uuid4().hex


def look_into(folder: Path, urls: list[str]) -> subprocess.CompletedProcess[str]:
    """What a process says of these inputs, if it lives."""
    command = [sys.executable, "split.py", *urls]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


@pytest.mark.parametrize("at", [".", "s3://bucket"], ids=["one by one", "side by side"])
def test_inputs_that_end_whoever_looks_into_them_are_named(at: str, place: str, tmp_path: Path) -> None:
    """One process dies of each of the two, and the next one names both; the others are as they are."""
    names = ["a", "killer", "b", "c", "unreadable", "other-killer", "e", "f"]
    urls = [f"{at}/{place}/{name}" for name in names]
    died = 0
    while (start := look_into(tmp_path, urls)).returncode == -signal.SIGSEGV:
        died += 1
        assert died <= 2
    assert start.returncode == 0, start.stderr
    found, *named = start.stdout.splitlines()
    assert sorted(found.split()) == ["a", "b", "c", "e", "f"]
    assert sorted(named) == [
        *(
            f"{at}/{place}/{name}: 3 processes ended while they inspected it (SIGSEGV)."
            for name in ("killer", "other-killer")
        ),
        f"{at}/{place}/unreadable: unreadable is empty",
    ]
    mended = look_into(tmp_path, [url.replace("killer", "mended").replace("un", "") for url in urls])
    assert len(mended.stdout.split()) == len(names)


def test_processes_that_are_ended_from_outside_say_nothing_of_an_input(place: str, tmp_path: Path) -> None:
    """Five were preempted while they looked into it: whoever comes next finds it as it is."""
    address = str(tmp_path / place / "preempted")
    for _ in range(5):
        preempted_at(address)
    assert look_into(tmp_path, [address]).stdout.split() == ["preempted"]
    assert not is_suspect(address)


def preempted_at(address: str) -> None:
    """A process is ended from outside while it looks into an input."""
    child = os.fork()
    if child == 0:
        with looking(address):
            os._exit(9)
    os.waitpid(child, 0)


def test_a_suspect_is_one_until_it_is_known_what_it_is(place: str) -> None:
    """Whoever is ended while he looks leaves a note; a look that ends, well or not, leaves none of its own."""
    address = f"/{place}/input"
    with pytest.raises(ZeroDivisionError), looking(address):
        raise ZeroDivisionError
    assert not is_suspect(address)
    preempted_at(address)
    with looking(address):
        assert is_suspect(address)
    assert is_suspect(address)
    forget(address)
    assert not is_suspect(address)
