"""Inputs that end the process that looks into them are named in the end, and nobody else is."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import uuid
from pathlib import Path

import pytest

LOOK = """
    import ctypes, sys
    from eventmill.model import NewInput
    from eventmill import opening

    def look(address, spec):
        if "killer" in address:
            ctypes.string_at(0)
        return NewInput(address, 10, "i")

    opening.look = look
    found, unreadable = opening.split(sys.argv[1:], None, folder=".")
    print(*(item.url.rsplit("/")[-1] for item in found))
    print(*unreadable, sep=chr(10))
"""


def look_into(names: list[str], *, place: str) -> subprocess.CompletedProcess[str]:
    """What a process says of these inputs, if it lives."""
    command = [sys.executable, "-c", textwrap.dedent(LOOK), *(f"{place}/{name}" for name in names)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize("at", [".", "s3://bucket"], ids=["one by one", "side by side"])
def test_inputs_that_end_whoever_looks_into_them_are_named(at: str) -> None:
    """At most three processes die of each of the two, and the next one names both; the others are as they are."""
    place = f"{at}/{uuid.uuid4().hex}"  # of which this machine remembers nothing
    names = ["a", "killer", "b", "c", "d", "other-killer", "e", "f"]
    died = 0
    while (start := look_into(names, place=place)).returncode == -signal.SIGSEGV:
        died += 1
        assert died <= 6
    assert start.returncode == 0, start.stderr
    found, *named = start.stdout.splitlines()
    assert sorted(found.split()) == ["a", "b", "c", "d", "e", "f"]
    assert sorted(named) == [
        f"{place}/{name}: 3 processes ended while they looked into it." for name in ("killer", "other-killer")
    ]
    mended = look_into([name.replace("killer", "mended") for name in names], place=place)
    assert len(mended.stdout.split()) == len(names)
