"""`eventmill-pilot` works where there is neither Prefect, nor Dask, nor a database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import eventmill
from eventmill.config.campaign_spec import CampaignSpec
from tests.pilot_environment import ROOT, PilotEnvironment, make_environment
from tests.pilots import led_by_pilots

UNWANTED = {"prefect", "dask", "distributed", "sqlalchemy", "alembic", "fastapi", "starlette", "uvicorn"}

OPTIONAL = {"uproot", "awkward", "hist", "uhi", "astropy", "s3fs", "botocore", "aiohttp", "pandas"}
"""What its extras bring."""

PLAIN = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
"""Nothing that leads to the environment of the tests."""

NUMBERS = """
import json
import sys
from pathlib import Path
import numpy as np
import pyarrow as pa


def numbers(events, where, *, folder):
    Path(folder, f"{where.start}.json").write_text(json.dumps(sorted(sys.modules)))
    numbers = np.ascontiguousarray(events, np.int64)
    array = pa.Array.from_buffers(pa.int64(), len(numbers), [None, pa.py_buffer(numbers)])
    return pa.Table.from_arrays([array], names=["event"])
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> PilotEnvironment:
    return make_environment(tmp_path_factory.mktemp("pilot"))


@pytest.fixture
def numbers(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> CampaignSpec:
    """A campaign whose payload tells which modules its process has."""
    (tmp_path / "told_modules.py").write_text(NUMBERS)
    (tmp_path / "modules").mkdir()
    callable, parameters = f"{tmp_path}/told_modules.py:numbers", {"folder": str(tmp_path / "modules")}
    return campaign(callable, events=1000, parameters=parameters, ranges={"events": 100, "block": "1s"})


def tops(modules: list[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def modules_of_payloads(folder: Path) -> set[str]:
    told = [json.loads(path.read_text()) for path in (folder / "modules").glob("*.json")]
    assert told
    return {top for modules in told for top in tops(modules)}


def test_it_requires_little(environment: PilotEnvironment) -> None:
    """Whatever is required by what it requires."""
    assert not environment.distributions & (UNWANTED | {"eventmill", "prefect-dask", "pyyaml"})


def test_it_has_the_version_and_the_requirements_of_eventmill(environment: PilotEnvironment) -> None:
    told = subprocess.run([environment.command, "--version"], capture_output=True, text=True, env=PLAIN)
    assert told.stdout == f"eventmill-pilot {eventmill.__version__}\n", told.stderr
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pilot = tomllib.loads((ROOT / "deployments" / "pilot" / "pyproject.toml").read_text())["project"]
    assert whole["version"] == eventmill.__version__
    assert whole["requires-python"] == pilot["requires-python"]
    assert set(pilot["dependencies"]) <= set(whole["dependencies"])
    for extra, lines in pilot["optional-dependencies"].items():
        assert lines == whole["optional-dependencies"].get(extra, lines)
        assert extra in whole["optional-dependencies"] or set(lines) <= set(whole["dependencies"])


def test_every_module_of_it_can_be_imported(environment: PilotEnvironment) -> None:
    """Unless it is for a format that an extra brings."""
    names = [name for name in environment.modules if not name.endswith("__main__")]
    assert {"eventmill.pilot.command", "eventmill.payloads.child", "eventmill.ledger.protocol"} <= set(names)
    code = f"""
import importlib, json, sys
failed = {{}}
for name in {names!r}:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        failed[name] = error.name.partition(".")[0]
print(json.dumps(failed))
"""
    told = subprocess.run([environment.python, "-c", code], capture_output=True, text=True, env=PLAIN, check=True)
    failed: dict[str, str] = json.loads(told.stdout)
    assert {name: missing for name, missing in failed.items() if missing not in OPTIONAL} == {}


def test_what_only_eventmill_has_is_told(environment: PilotEnvironment) -> None:
    code = "import eventmill; eventmill.Where; eventmill.run"
    told = subprocess.run([environment.python, "-c", code], capture_output=True, text=True, env=PLAIN)
    assert told.stderr.splitlines()[-1] == (
        "ImportError: 'eventmill.run' is not in eventmill-pilot, which is installed here: install eventmill "
        "instead."
    )


def test_it_does_a_campaign(environment: PilotEnvironment, numbers: CampaignSpec, tmp_path: Path) -> None:
    """Of a service in the environment of the tests; every event is in the merged files, once."""
    with (
        led_by_pilots(numbers, folder=tmp_path / "led") as led,
        led.pilot(slots=2, command=[str(environment.command)], environment=PLAIN, inherit=False),
    ):
        led.wait()
    assert led.events() == list(range(1000))
    assert "are both installed" not in led.said()
    assert not modules_of_payloads(tmp_path) & (UNWANTED | {"pandas"})


def test_a_pilot_imports_none_of_them_where_they_are_installed(numbers: CampaignSpec, tmp_path: Path) -> None:
    """Nor does a payload's process: each import costs every slot time and memory."""
    command = [sys.executable, "-X", "importtime", "-m", "eventmill.pilot"]
    with led_by_pilots(numbers, folder=tmp_path / "led") as led, led.pilot(command=command):
        led.wait()
    assert led.events() == list(range(1000))
    lines = [line for line in led.said().splitlines() if line.startswith("import time:")]
    imported = tops([line.rpartition("|")[2].strip() for line in lines])
    assert {"eventmill", "httpx"} <= imported
    assert not imported & UNWANTED
    assert not modules_of_payloads(tmp_path) & UNWANTED


def test_a_pilot_that_waits_for_work_has_imported_nothing_for_events() -> None:
    """It is there in a moment; numpy, Arrow and what reads formats come with the first block."""
    code = "import json, sys, eventmill.pilot.command; print(json.dumps(sorted(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not tops(json.loads(told.stdout)) & {*OPTIONAL, *UNWANTED, "numpy", "pyarrow", "fsspec", "stamina"}


def test_both_in_one_environment_is_told(environment: PilotEnvironment, tmp_path: Path) -> None:
    """They share files, so that removing one breaks the other."""
    metadata = tmp_path / "eventmill-0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: eventmill\nVersion: 0\n")
    told = subprocess.run(
        [environment.command, "--server", "http://127.0.0.1:9", "--patience", "0s"],
        capture_output=True,
        text=True,
        env={**PLAIN, "PYTHONPATH": str(tmp_path), "EVENTMILL_TOKEN": "evm_"},
    )
    assert "eventmill and eventmill-pilot are both installed here" in told.stderr
