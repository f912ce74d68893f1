"""Executes a notebook, first cell to last, and writes its outputs into it, without traces of the machine.

`python notebooks/execute.py` does so for all of them, where they are: after a change, before a commit.
"""

from __future__ import annotations

import base64
import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

TIMEOUT_SECONDS = 240  # for one cell; on a busy machine a cluster takes its time to start

PICTURES = {"03_lose_half_the_workers.ipynb": Path("docs/timeline.png")}
"""Notebooks whose last picture a page shows, and where it is kept."""

OF_A_FOLDER = re.compile(rf"{re.escape(tempfile.gettempdir())}/[\w-]+/")
"""The temporary folder in which a notebook works: its files are told by their names there."""

OF_A_TERMINAL = re.compile(r"\x1b\[[0-9;]*m")
"""Bold and colours, which not every viewer of notebooks knows."""


def execute(path: Path) -> nbformat.NotebookNode:
    """The notebook at `path`, executed in the folder that it is in. `CellExecutionError` if a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        record_timing=False,
        coalesce_streams=True,
    )
    client.execute(env=os.environ | {"DO_NOT_TRACK": "1"})
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if output.output_type == "stream":
                output.text = OF_A_TERMINAL.sub("", output.text).replace(f"{path.parent.parent}/", "")
            elif "text/plain" in output.get("data", {}):
                output.data["text/plain"] = OF_A_FOLDER.sub("", output.data["text/plain"])
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    )
    return notebook


def last_picture(notebook: nbformat.NotebookNode) -> bytes:
    """The last image that a cell shows."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    images = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    return base64.b64decode(images[-1])


def main() -> None:
    """Command line: the notebooks to execute in place, all in this folder unless some are named."""
    for path in map(Path, sys.argv[1:] or sorted(map(str, Path(__file__).parent.glob("*.ipynb")))):
        notebook = execute(path.absolute())
        nbformat.write(notebook, path)
        if path.name in PICTURES:
            (Path(__file__).parents[1] / PICTURES[path.name]).write_bytes(last_picture(notebook))


if __name__ == "__main__":
    main()
