"""The notebooks run from their first cell to their last, and the second shows what the committed one does."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
OF_A_MACHINE = re.compile(r"(?<![\w.:/])/(home|root|tmp|work|Users|usr|var|opt)\b|\w:\d+:\d{4,}|File \"")
"""Paths of somebody's machine, worker ids, tracebacks."""


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a copy, by the script that made its outputs; any error in any cell fails."""
    if name.startswith("01"):
        pytest.importorskip("pythia8mc", reason="there is no wheel of Pythia for this Python")
    for folder in ("notebooks", "examples"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    execute = runpy.run_path(str(ROOT / "notebooks/execute.py"))["execute"]
    executed = execute(tmp_path / "notebooks" / name)
    if name.startswith("02"):  # nothing in it depends on the machine, but for times
        committed = nbformat.read(ROOT / "notebooks" / name, as_version=4)
        assert without_times(shown(executed)) == without_times(shown(committed))
    assert re.findall(r"^each event .*: (True|False)$", shown(executed), flags=re.MULTILINE) == ["True"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_committed_notebook_shows_its_outputs_and_no_machine(name: str) -> None:
    """Readers on the web see results and pictures, and nothing of where they were made."""
    notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs)
    assert not OF_A_MACHINE.search(shown(notebook))
    assert set(notebook.metadata) == {"kernelspec"} and not any(cell.metadata for cell in cells)


def without_times(text: str) -> list[str]:
    """Lines in any order, since a file has its own; CPU and wall seconds are of one execution."""
    return sorted(re.sub(r"seconds=[\d.e-]+", "seconds=…", text).splitlines())


def shown(notebook: Any) -> str:
    """All text that the outputs hold."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    texts = [output.get("text", "") for output in outputs]
    texts += [str(text) for output in outputs for kind, text in output.get("data", {}).items() if "text" in kind]
    return "\n".join(texts)
