"""What of a payload's folder belongs to the payload."""

from __future__ import annotations

from eventmill.payloads.needed_modules import needed

FILES = {
    "payload.py": b"import cuts\nfrom physics.mass import pair\n",
    "cuts.py": b"import numpy, constants\n",
    "constants.py": b"Z = 91.19\n",
    "physics/__init__.py": b"",
    "physics/mass.py": b"from . import angles\n",
    "physics/angles.py": b"",
    "plot.py": b"import payload\n",
}


def test_what_is_imported_directly_or_through_others_is_needed() -> None:
    """A module, what that imports, and a package as a whole."""
    assert set(needed(FILES, start="payload.py")) == set(FILES) - {"plot.py"}


def test_a_script_beside_the_payload_is_not_needed() -> None:
    """So changing a plot does not make the payload another one."""
    assert "plot.py" not in needed(FILES, start="payload.py")


def test_a_computed_import_needs_everything() -> None:
    """Whatever cannot be told is shipped."""
    for source in (b"import importlib\n", b"__import__('cu' + 'ts')\n", b"def broken(:\n"):
        assert needed(FILES | {"payload.py": source}, start="payload.py") == FILES | {"payload.py": source}
