"""`eventmill init`: an example campaign for whoever has no clone of the repository."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from eventmill.campaign.try_payload import try_payload
from eventmill.cli import main
from eventmill.cli.init import EXAMPLES
from eventmill.config.campaign_spec import read_campaign

ROOT = Path(__file__).parents[3]


def eventmill(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_written_as_the_repository_has_it(example: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Twice is harmless; the files that the next commands name are there."""
    for _ in range(2):
        assert eventmill("init", example) == 0
    told = capsys.readouterr().out
    written = [path for path in Path("examples").rglob("*") if path.is_file()]
    assert written and all(path.read_bytes() == (ROOT / path).read_bytes() for path in written)
    named = [word for command in EXAMPLES[example][2] for word in command.split() if word.startswith("examples/")]
    assert named and all(Path(name).is_file() for name in named)
    assert all(command in told for command in EXAMPLES[example][2])
    for path in written:
        if path.suffix == ".yaml":
            read_campaign(path)


def test_the_example_that_needs_nothing_else_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its stars are made, and its payload selects some of them."""
    assert eventmill("init", "stars") == 0
    monkeypatch.setattr(sys, "argv", ["make_stars.py"])
    runpy.run_path("examples/stars/make_stars.py", run_name="__main__")
    campaign = read_campaign(Path("examples/stars/campaign.yaml"))
    trial = try_payload(campaign, events=1_000, start=0, input=0)
    assert trial.table is not None and 0 < trial.table.num_rows < 1_000


def test_nothing_of_ones_own_is_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    """Not one file is written if another one differs."""
    Path("examples/stars").mkdir(parents=True)
    Path("examples/stars/payload.py").write_text("mine")
    assert eventmill("init", "stars") == 1
    assert (
        "examples/stars/payload.py exists and differs from the example. Nothing was written"
        in capsys.readouterr().err
    )
    assert [path.name for path in Path("examples/stars").iterdir()] == ["payload.py"]


def test_the_examples_are_listed_and_others_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert eventmill("init") == 0
    listed = capsys.readouterr().out
    assert all(f"eventmill init {name}" in listed for name in EXAMPLES)
    assert eventmill("init", "nothing") == 1
    assert "'nothing' is not an example; choose one of: stars, dimuon." in capsys.readouterr().err
