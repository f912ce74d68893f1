"""A payload and a reader from a notebook: run by workers, compared when the campaign goes on."""

from __future__ import annotations

import linecache
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eventmill.campaign.changes import Changed
from eventmill.config.campaign_spec import CampaignSpec, parse_campaign
from eventmill.errors import CampaignChanged
from tests.crew import Crew

CELL = """
import json
from pathlib import Path
import pandas as pd

SIGN = 1

def scale():
    return json.loads((Path(__file__).parent / "scale.json").read_text())

def select(events, where):
    return pd.DataFrame({"event": [SIGN * scale() * each for each in events]})

class Lines:
    def __init__(self, url):
        self.numbers = [int(line) for line in Path(url).read_text().split()]
        self.events = len(self.numbers)

    def read(self, start, stop):
        return self.numbers[start:stop]
"""


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """Runs a cell in the main module of a notebook."""
    main = types.ModuleType("__main__")
    vars(main)["__file__"] = "<none>"

    def run(text: str) -> dict[str, Any]:
        name = f"<ipython-input-{len(linecache.cache)}>"
        linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
        with monkeypatch.context() as patched:
            patched.setitem(sys.modules, "__main__", main)
            exec(compile(text, name, "exec", dont_inherit=True), vars(main))
        return vars(main)

    return run


def test_a_campaign_from_a_notebook(
    notebook: Callable[[str], dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Payload, reader and data file reach the workers; the same cell again is no difference."""
    (tmp_path / "scale.json").write_text("10")
    (tmp_path / "in.txt").write_text("\n".join(map(str, range(40))))

    def spec() -> CampaignSpec:
        cells = notebook("0")
        with monkeypatch.context() as patched:
            patched.setitem(sys.modules, "__main__", types.SimpleNamespace(**cells))
            keys = {
                "name": "cells",
                "ledger": str(tmp_path / "ledger.sqlite"),
                "inputs": {"files": str(tmp_path / "in.txt"), "reader": cells["Lines"]},
                "payload": {"callable": cells["select"], "files": ["scale.json"]},
                "ranges": {"events": 7},
                "output": {"store": str(tmp_path / "merged"), "merge": {"events": 100}},
            }
            return parse_campaign(keys, source="the notebook")

    notebook(CELL)
    with Crew(spec(), tmp_path, workers=1) as crew:
        crew.run(until=lambda counts: counts.done > 0)
    notebook(CELL)
    with Crew(spec(), tmp_path) as crew:
        assert crew.run().merged == 40
        assert crew.rows()["event"].to_pylist() == [10 * number for number in range(40)]
    notebook("SIGN = -1")
    with pytest.raises(CampaignChanged, match=r"what was begun: the code of payload select: SIGN 1 -> -1\."):
        Crew(spec(), tmp_path)
    with Crew(spec(), tmp_path, changed=Changed.ACCEPT) as crew:
        assert crew.run().merged == 40


FAILING = """
def select(events, where):
    raise ValueError("negative mass")
"""


def test_the_traceback_of_a_payload_names_the_line_of_its_cell(
    notebook: Callable[[str], dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the text of that line, which workers have in their copy."""
    cells = notebook(FAILING)
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "__main__", types.SimpleNamespace(**cells))
        keys = {
            "name": "cells",
            "ledger": str(tmp_path / "ledger.sqlite"),
            "inputs": {"generated": {"events": 1}},
            "payload": {"callable": cells["select"]},
            "limits": {"failures": 1},
            "output": {"store": str(tmp_path / "merged")},
        }
        spec = parse_campaign(keys, source="the notebook")
    with Crew(spec, tmp_path, workers=1) as crew:
        assert crew.run().abandoned == 1
        (failure,) = crew.journal("abandoned")
    assert 'File "notebook cell", line 3, in select\n    raise ValueError("negative mass")' in failure.detail
