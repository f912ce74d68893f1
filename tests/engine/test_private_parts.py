"""Private parts of libraries that we reach into: each is listed with its reason and the version that was read.

With a newer version in the lock this fails, so that somebody reads whether there is a public way by now.
"""

from __future__ import annotations

import ast
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PRIVATE = {
    "_client": ("prefect-dask", "0.3.7", "a task runner's Dask client, None before its cluster starts"),
    "_created": ("distributed", "2026.8.0", "nannies of a cluster, those that it has forgotten included"),
    "_reschedule": ("distributed", "2026.8.0", "takes a task from a worker that is silent and still connected"),
    "_call_s3": ("s3fs", "2026.9.0", "calls of S3 that s3fs has no method for, with its own retries and errors"),
    "_strip_protocol": ("fsspec", "2026.9.0", "the path that a filesystem makes of a url"),
    "_upgrade_revs": ("alembic", "1.20.1", "as Alembic's own documentation uses it without an env.py"),
    "_forkserver": ("", "", "Python: which process workers are forked from"),
    "_forkserver_pid": ("", "", "Python: the same"),
    "_parse_exception_table": ("", "", "Python: where the code of a function handles exceptions"),
    "_run_finalizers": ("", "", "Python: what multiprocessing does at an exit, before one that does without"),
    "_config": ("", "", "Python: multiprocessing hands a temporary folder on in it"),
    "_clear": (
        "",
        "",
        "Python: atexit, so that a fork does not call the exit handlers of what it was forked from",
    ),
    "_run_exitfuncs": ("", "", "Python: atexit, calls them in a process that ends without"),
    "_shutdown": ("", "", "Python: waits for threads, as an exit does, before one that does without"),
    "_to_uhi_": ("", "", "uhi's own protocol for histograms, and public by it"),
}
"""Name -> library, version that was read, and why."""

WORKAROUNDS = {
    "prefect_api/tls_cache.py": ("prefect", "3.8.8", "its clients read all certificates anew for each task run"),
    "prefect_api/terminal_run.py": ("prefect", "3.8.8", "it stumbles over the watcher of a run of a deployment"),
    "prefect_api/whole_settings.py": ("prefect", "3.8.8", "it writes and reads all settings for each task run"),
    "cluster/worker_plugins.py": ("distributed", "2026.8.0", "register_plugin waits for each worker, for ever"),
    "config/campaign_spec.py": ("pydantic", "2.14.3", "__pydantic_base_init__: an __init__ that validation skips"),
    "cluster/dispatcher.py": ("distributed", "2026.8.0", "what a future raises while its worker vanishes"),
}
"""Module -> the library whose ways it works around, the version that was read, and what is wrong there."""

PUBLIC = {"_exit", "_asdict"}
"""Of os and of named tuples: documented, whatever they are called."""


def private_names() -> set[str]:
    """Attributes with a leading underscore that no code of ours defines."""
    trees = [
        ast.parse(path.read_text()) for top in ("src", "flows", "tasks") for path in (ROOT / top).rglob("*.py")
    ]
    ours, used = set[str](), set[str]()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            ours.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            ours.add(node.id)
        elif isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            (ours if isinstance(node.ctx, ast.Store) else set() if own else used).add(node.attr)
    return used - ours - PUBLIC


def test_what_is_private_is_listed_with_its_reason() -> None:
    """No more, and no less."""
    assert private_names() == set(PRIVATE)


@pytest.mark.parametrize("module", WORKAROUNDS)
def test_a_workaround_is_read_again_with_a_newer_version(module: str) -> None:
    """Try whether the module may go; if it may not, write the new version down here."""
    library, read, why = WORKAROUNDS[module]
    assert (ROOT / "src/eventmill" / module).is_file()
    assert version(library) == read, f"{module} ({why}) was needed with {library} {read}"


@pytest.mark.parametrize("name", [name for name, (library, _, _) in PRIVATE.items() if library])
def test_a_newer_version_is_read_again(name: str) -> None:
    """Read whether the library offers it in public by now; if it does not, write the new version down here."""
    library, read, why = PRIVATE[name]
    assert version(library) == read, f"{name} ({why}) was read in {library} {read}"
