"""Ctrl-C before anything has begun: one line, and no traceback of an import."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAM = """
import builtins, os, signal, sys
from eventmill.__main__ import main

def importing(name, *rest, real=builtins.__import__):
    if name == "eventmill.cli":
        os.kill(os.getpid(), signal.SIGINT)  # while its imports run
    return real(name, *rest)

builtins.__import__ = importing
main()
"""


def test_an_interrupt_while_the_command_is_imported_is_one_line(tmp_path: Path) -> None:
    """As later, and with the same exit code; nothing is made."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120
    )
    assert (done.returncode, done.stdout) == (128 + signal.SIGINT, "")
    assert done.stderr == "eventmill: interrupted before anything was begun.\n"
    assert list(tmp_path.iterdir()) == []


def test_the_command_can_be_run_as_a_module() -> None:
    """Where no script of it is on the path."""
    done: Any = subprocess.run(
        [sys.executable, "-m", "eventmill", "--version"], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.startswith("eventmill ")
