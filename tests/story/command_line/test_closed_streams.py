"""A command whose standard streams are closed, as by some schedulers of jobs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = "import os; from eventmill import __main__; __main__._open_what_is_closed(); {rest}"


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_command_works_without_its_streams(closed: str, tmp_path: Path) -> None:
    """It says what it can, and its exit code is that of any other."""
    for words, code in (("--version", 0), ("no-such-command", 2)):
        shell = ["sh", "-c", f'"$0" -m eventmill {words} {closed}', sys.executable]
        assert subprocess.run(shell, cwd=tmp_path, stderr=subprocess.DEVNULL).returncode == code


def test_no_file_takes_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    """What a library or a child process prints would end in the ledger."""
    program = PROGRAM.format(rest="raise SystemExit(os.open('ledger', os.O_CREAT | os.O_RDWR))")
    shell = ["sh", "-c", '"$0" -c "$1" <&- >&- 2>&-', sys.executable, program]
    assert subprocess.run(shell, cwd=tmp_path).returncode > 2
