"""What commands import decides how long people wait: each takes only what it needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from eventmill.campaign.leadership import hold_leadership
from eventmill.cli.commands import COMMANDS, load_command
from eventmill.ledger import open_ledger
from tests.story.command_line.conftest import CAMPAIGN, write_campaign

STARTED = {"prefect", "prefect_dask", "dask", "distributed", "uvicorn"}
"""What a run with work needs: seconds."""

TABLES = {"pandas", "uproot", "awkward", "hist", "matplotlib", "pyarrow.dataset"}
"""Half a second and more."""

DATABASES = {"alembic", "eventmill.ledger.memory", "eventmill.ledger.migrations"}
REMOTE = {"fsspec", "s3fs", "aiohttp", "httpx"}

PROGRAM = """
import json, sys
from eventmill.cli import main
try:
    main()
except SystemExit as end:
    print(json.dumps([int(end.code or 0), sorted(sys.modules)]), file=open("modules", "w"))
"""


def imported_by(*words: str, folder: Path) -> tuple[int, set[str]]:
    """The exit code of `eventmill` with these words, and what it imported."""
    subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    code, modules = json.loads((folder / "modules").read_text())
    return code, set(modules)


def test_the_help_imports_no_command(tmp_path: Path) -> None:
    """Nor what commands need."""
    code, modules = imported_by("--help", folder=tmp_path)
    ours = {name for name in modules if name.startswith("eventmill.")}
    assert code == 0 and not modules & (STARTED | TABLES | REMOTE | {"sqlalchemy", "pyarrow", "numpy", "psutil"})
    assert ours <= {
        *("eventmill.cli", "eventmill.cli.command_time", "eventmill.cli.commands"),
        *("eventmill.errors", "eventmill.text", "eventmill.logs"),
        *("eventmill.runtime", "eventmill.runtime.imports", "eventmill.runtime.interrupts"),
        *("eventmill.core", "eventmill.core.python_words", "eventmill.core.version"),
    }


@pytest.mark.parametrize("named", ["squares", "campaign.yaml"])
def test_status_imports_the_ledger_and_no_file_format(named: str, processed_campaign: Path) -> None:
    """Of a campaign file it needs two words, not what checks the rest."""
    code, modules = imported_by("status", named, folder=processed_campaign)
    assert code == 0
    assert not modules & (STARTED | TABLES | DATABASES | REMOTE | {"pyarrow", "numpy", "stamina"})
    assert "eventmill.config.campaign_spec" not in modules


def test_a_run_with_nothing_to_do_and_a_refusal_start_nothing(processed_campaign: Path, tmp_path: Path) -> None:
    """It is finished, or differs from what was begun, or another process runs it, or its file is missing."""
    unneeded = STARTED | TABLES | DATABASES | REMOTE
    assert imported_by("run", "nothing.yaml", folder=processed_campaign)[0] == 1
    code, modules = imported_by("run", "campaign.yaml", folder=processed_campaign)
    assert code == 0 and not modules & unneeded

    other = tmp_path / "other.yaml"
    data = yaml.safe_load((processed_campaign / "campaign.yaml").read_text())
    other.write_text(yaml.safe_dump(data | {"target": 0.8}))
    code, modules = imported_by("run", str(other), folder=processed_campaign)
    assert code == 5 and not modules & unneeded

    ledger = open_ledger(str(processed_campaign / ".eventmill/ledger.sqlite"))
    with hold_leadership(ledger, ledger.campaign("squares").id):
        code, modules = imported_by("run", "campaign.yaml", folder=processed_campaign)
    assert code == 6 and not modules & unneeded
    assert not (processed_campaign / ".eventmill" / "prefect").exists()


def test_a_campaign_that_was_not_finished_is_refused_as_fast(tmp_path: Path) -> None:
    """The payload that its file names is not there: exit code 1, before anything is imported to run it."""
    write_campaign(tmp_path, CAMPAIGN | {"payload": {"callable": "payload.py:cube"}})
    code, modules = imported_by("run", "campaign.yaml", folder=tmp_path)
    assert code == 1 and not modules & (STARTED | TABLES | DATABASES | REMOTE)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_says_what_each_command_says_of_itself(name: str) -> None:
    """The list of commands and the page of each are written in two places."""
    said = " ".join((COMMANDS[name].load().__doc__ or "").split())
    assert said.startswith(COMMANDS[name].summary)
    assert load_command(name).name == name
