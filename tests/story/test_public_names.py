"""`import eventmill as em`: which names there are, that each is documented, and that a scientist can use them."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import eventmill as em
from eventmill.campaign.choice import Changed
from eventmill.campaign.doing import Board
from eventmill.campaign.open import open_campaign
from eventmill.campaign.progress import Observation
from eventmill.config.campaign_spec import CampaignSpec
from tests.crew import Crew

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")

NAMES = [
    "AbandonedSpan",
    "AccessError",
    "Audit",
    "AuditFailed",
    "Campaign",
    "CampaignAborted",
    "CampaignChanged",
    "CampaignError",
    "CampaignIncomplete",
    "CampaignLocked",
    "CampaignPaused",
    "CampaignSpec",
    "ClusterError",
    "CorruptOutput",
    "DrillFailed",
    "EventmillError",
    "Format",
    "IllegalMove",
    "InputError",
    "Interrupted",
    "LedgerError",
    "MergeTimeout",
    "MergedFile",
    "NameTaken",
    "NoCampaign",
    "PartitionBroken",
    "PayloadError",
    "PrefectUnavailable",
    "Progress",
    "Report",
    "RunResult",
    "ScratchError",
    "Source",
    "Store",
    "StoreError",
    "StoreTaken",
    "Trial",
    "Where",
    "__version__",
    "campaigns",
    "open_campaign",
    "read",
    "read_histograms",
    "run",
    "try_payload",
]

FRAMES = ["abandoned", "events", "failures", "losses", "outputs", "samples", "spans", "workers"]

ASK_METHODS = [
    *("abandoned_spans", "audit", "cancel", "merged_files", "pause", "plot_map", "plot_progress", "read"),
    *("reopen", "report", "status", *FRAMES),
]

HEAVY = {"pyarrow", "pandas", "numpy", "prefect", "dask", "distributed", "sqlalchemy", "pydantic", "fsspec"}


def test_these_names_are_public_and_no_others() -> None:
    """Whoever adds or removes one changes this list, too."""
    assert em.__all__ == sorted(NAMES)
    assert set(dir(em)) >= set(NAMES)
    with pytest.raises(AttributeError, match="no attribute 'rnu'"):
        em.rnu  # type: ignore[attr-defined]  # noqa: B018


def test_every_error_is_public() -> None:
    """And is below the one that catches all."""
    from eventmill import errors

    defined = {name for name, value in vars(errors).items() if inspect.isclass(value)}
    assert defined <= set(NAMES)
    assert all(issubclass(getattr(em, name), em.EventmillError) for name in defined)


def test_each_name_is_documented_and_annotated() -> None:
    """A docstring of its own, and a type for each parameter and for what comes back."""
    for name in set(NAMES) - {"__version__"}:
        value = getattr(em, name)
        assert inspect.getdoc(value), name
        functions = [value] if inspect.isfunction(value) else []
        if name == "Campaign":
            functions = [getattr(value, method) for method in ASK_METHODS]
        for function in functions:
            assert function.__doc__
            signature = inspect.signature(function)
            assert signature.return_annotation is not inspect.Signature.empty, name
            given = [p for p in signature.parameters.values() if p.name != "self"]
            assert all(p.annotation is not inspect.Parameter.empty for p in given), name


def test_the_page_names_every_name_and_no_other() -> None:
    """In its tables."""
    tables = PAGE[PAGE.index("## All names") :]
    assert set(re.findall(r"`(\w+)`", tables)) - {"audit", "drill"} == set(NAMES)
    assert set(re.findall(r"\bem\.(\w+)", PAGE)) <= set(NAMES)
    assert set(re.findall(r"\bcampaign\.(\w+)\(", PAGE)) == set(ASK_METHODS)


def test_importing_it_imports_nothing_heavy() -> None:
    """A payload's process imports it, and so does one that only annotates with `em.Where`."""
    code = "import sys, eventmill as em; em.Where; em.PayloadError; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert not HEAVY & set(done.stdout.split())


PAYLOAD = """
import pyarrow as pa

def square(events, where):
    numbers = events.tolist()
    digits = [[int(digit) for digit in str(number)] for number in numbers]
    return pa.table({"event": events, "square": events**2, "digits": digits, "name": [str(n) for n in numbers]})
"""


@pytest.mark.parametrize("format", ["parquet", "root"])
def test_merged_tables_are_read_as_whatever_analysis_works_with(
    format: str, campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """Every row of every file, in event order, with the payload's columns alone and their types."""
    (tmp_path / "squares.py").write_text(PAYLOAD)
    spec = campaign(f"{tmp_path}/squares.py:square", events=900, output={"format": format})
    with Crew(spec, tmp_path) as crew:
        crew.run()
    table = em.read(spec)
    assert {name: str(type) for name, type in zip(table.schema.names, table.schema.types, strict=True)} == {
        "event": "int64",
        "square": "int64",
        "digits": "list<element: int64>" if format == "parquet" else "list<item: int64>",
        "name": "string",
    }
    rows = [
        {"event": n, "square": n * n, "digits": [int(digit) for digit in str(n)], "name": str(n)}
        for n in range(900)
    ]
    assert table.to_pylist() == rows
    assert em.read(em.open_campaign(spec), as_="awkward").to_list() == rows
    frame = em.read("story", as_="pandas", ledger=tmp_path / "ledger.sqlite")
    assert list(frame.columns) == ["event", "square", "digits", "name"] and frame.square.sum() == sum(
        row["square"] for row in rows
    )


def test_histograms_are_read_added(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """And as nothing else; the error says as what."""
    spec = campaign("count", events=900, output={"format": "hist"})
    with Crew(spec, tmp_path) as crew:
        crew.run()
    found = em.read(spec, as_="hist")
    assert found["parity"].sum() == 900 and set(found) == {"numbers", "parity"}
    with pytest.raises(em.CampaignError, match="hist', which cannot be read as 'arrow'; use as_='h"):
        em.read(spec)
    with pytest.raises(
        em.CampaignError, match=r"cannot be read as 'numpy'; with 'output\.format: hist' choose 'hist'"
    ):
        em.read(spec, as_="numpy")  # type: ignore[call-overload]


def test_what_is_not_there_is_said(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """No ledger, no such campaign, nothing merged yet, a ledger too many."""
    spec = campaign("number", events=900)
    with pytest.raises(em.LedgerError):
        em.open_campaign(spec)
    open_campaign(spec, folder=tmp_path)
    with pytest.raises(em.LedgerError, match="other"):
        em.open_campaign("other", ledger=tmp_path / "ledger.sqlite")
    begun = em.open_campaign("story", ledger=tmp_path / "ledger.sqlite")
    assert begun.name == "story" and begun.merged_files() == () and begun.outputs().empty
    with pytest.raises(em.LedgerError, match="no merged file yet"):
        em.read(begun)
    with pytest.raises(em.CampaignError, match="this campaign names its own ledger"):
        em.open_campaign(spec, ledger="elsewhere")


def test_an_observer_is_told_of_the_end_and_may_fail(
    campaign: Callable[..., CampaignSpec], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What it raises is logged, and the campaign does not hear of it. Its link is in no repr."""
    opened = open_campaign(campaign("number", events=900), folder=tmp_path)
    told: list[em.Progress] = []
    board = Board()
    with Observation("story", told.append, board=board) as observation:
        board.watch_url = "http://secret"
        observation.follow(opened)
    assert [progress.is_last for progress in told] == [False] * (len(told) - 1) + [True]
    assert told[-1].watch_url == "http://secret" and "secret" not in repr(told)

    def failing(progress: em.Progress) -> None:
        raise ValueError("a plot went wrong")

    with Observation("story", failing) as observation:
        observation.follow(opened)
    assert "observer of campaign 'story' failed" in caplog.text and "a plot went wrong" in caplog.text


def test_a_flow_goes_on_with_what_was_opened(
    campaign: Callable[..., CampaignSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is looked for or compared again, unless somebody has changed the campaign meanwhile."""
    spec = campaign("copy", inputs={"files": [str(two_files(tmp_path) / "*.parquet")]})
    with Crew(spec, tmp_path) as crew:
        crew.run()
    looked: list[str] = []
    monkeypatch.setattr("eventmill.campaign.changes.identity_of", lambda url, spec: looked.append(url))
    monkeypatch.setattr("eventmill.campaign.open.list_inputs", lambda spec: looked.append("inputs"))
    again = open_campaign(spec, folder=tmp_path, opened=crew.opened)
    assert looked == [] and (again.id, again.order, again.urls) == (
        crew.opened.id,
        crew.opened.order,
        crew.opened.urls,
    )
    monkeypatch.undo()
    other = spec.model_copy(update={"target": 0.5})
    changed = open_campaign(other, folder=tmp_path, changed=Changed.ACCEPT)
    assert open_campaign(other, folder=tmp_path, opened=crew.opened).record.spec == changed.record.spec


@pytest.mark.system
def test_a_run_compares_its_inputs_once(tmp_path: Path) -> None:
    """The command line, the flow and all below it go on with what was opened first."""
    files = two_files(tmp_path)
    (tmp_path / "counted.py").write_text(
        "import eventmill as em\n"
        "from eventmill.campaign import changes, open\n"
        "looked = []\n"
        "def counting(module, name):\n"
        "    real = getattr(module, name)\n"
        "    setattr(module, name, lambda *given: looked.append(name) or real(*given))\n"
        "counting(changes, 'identity_of')\n"
        "counting(open, 'list_inputs')\n"
        f"spec = {{'name': 'two', 'inputs': {{'files': ['{files}/*.parquet']}},\n"
        "        'payload': {'callable': 'same.py:same'}, 'output': {'store': 'out'}}\n"
        "for _ in range(2):\n"
        "    em.run(spec, workers=1)\n"
        "    print(*looked)\n"
        "    looked.clear()\n"
    )
    (tmp_path / "same.py").write_text("def same(events, where):\n    return events\n")
    first, again = run_script(tmp_path, "counted.py").splitlines()
    assert first.split() == ["list_inputs"]
    assert again.split() == ["list_inputs", "identity_of", "identity_of"]


@pytest.mark.system
def test_a_scientist_uses_them_as_the_page_says(tmp_path: Path) -> None:
    """Its blocks in order, as a script without a guard: three campaigns' worth of questions in one process."""
    lines = ["import os"]
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL):
        first = block.partition("\n")[0]
        if re.fullmatch(r"# \w+\.py", first):
            (tmp_path / first.removeprefix("# ")).write_text(block)
        else:
            lines.append(block)
    (tmp_path / "story.py").write_text("\n".join(lines))
    told = run_script(tmp_path, "story.py")
    assert "10 rows," in told
    assert "300 of 300 events, 0 losses\n300 events in 3 files; _squares-manifest.json\n" in told
    assert "differs from what was begun: payload.parameters.offset: not set -> 1" in told
    assert "\ndone\n" in told
    assert "\nTrue ()\n" in told and "\n300 89401\n" in told
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    assert "which cannot be read as 'hist'; use as_='arrow' or as_='pandas'" in told


def two_files(folder: Path) -> Path:
    """A folder with two Parquet files of numbers."""
    (folder / "in").mkdir()
    for number in range(2):
        pq.write_table(pa.table({"event": range(10 * number, 10 * number + 10)}), folder / f"in/{number}.parquet")
    return folder / "in"


def run_script(folder: Path, name: str) -> str:
    """What a script prints; its errors are shown if it fails."""
    done = subprocess.run([sys.executable, name], cwd=folder, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return done.stdout
