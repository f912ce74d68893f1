"""An environment that has `eventmill-pilot` and what it requires, and nothing else; made without a network.

The wheel is built from these sources. What it requires is linked, file by file, from the environment of the tests:
exactly the distributions that its metadata names, and those that these name.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from importlib.util import cache_from_source
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]

UV = Path(sys.executable).with_name("uv")


@dataclass(frozen=True, slots=True)
class PilotEnvironment:
    """Its Python, its command, and the modules of Eventmill in it."""

    python: Path
    command: Path
    modules: tuple[str, ...]
    distributions: frozenset[str]
    """Without `eventmill-pilot` itself."""


def build_wheel(folder: Path) -> Path:
    """The wheel of `eventmill-pilot`, built in a copy of the sources: several tests may do so at once."""
    for part in ("src/eventmill", "deployments/pilot"):
        ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
        shutil.copytree(ROOT / part, folder / part, ignore=ignored)
    shutil.copy(ROOT / "LICENSE", folder)
    line = [UV, "build", "--quiet", "--wheel", "--no-build-isolation", "--offline", "--python", sys.executable]
    subprocess.run([*line, "--out-dir", folder, folder / "deployments" / "pilot"], check=True)
    (wheel,) = folder.glob("eventmill_pilot-*.whl")
    return wheel


def make_environment(folder: Path) -> PilotEnvironment:
    """Build the wheel and install it into a new environment, both in this folder."""
    wheel = build_wheel(folder / "sources")
    venv.create(folder / "env", with_pip=False, symlinks=True)
    python = folder / "env" / "bin" / "python"
    (site,) = (folder / "env" / "lib").glob("python*/site-packages")
    needed = _closure(_requires(wheel))
    for each in needed.values():
        _link(each, site)
    install = [UV, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", python, wheel]
    subprocess.run(install, check=True)
    subprocess.run([UV, "pip", "check", "--quiet", "--offline", "--python", python], check=True)
    modules = tuple(
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in zipfile.ZipFile(wheel).namelist()
        if name.endswith(".py")
    )
    return PilotEnvironment(python, python.with_name("eventmill-pilot"), modules, frozenset(needed))


def _requires(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as opened:
        (name,) = (name for name in opened.namelist() if name.endswith(".dist-info/METADATA"))
        return re.findall(r"^Requires-Dist: (.+)$", opened.read(name).decode(), re.MULTILINE)


def _closure(requires: Iterable[str], extra: str = "") -> dict[str, Distribution]:
    """What is required, and what that requires, by name."""
    found: dict[str, Distribution] = {}
    waiting = [(line, extra) for line in requires]
    seen = set(waiting)
    while waiting:
        line, extra = waiting.pop()
        needed = Requirement(line)
        if needed.marker is not None and not needed.marker.evaluate({"extra": extra}):
            continue
        installed = distribution(needed.name)
        found[installed.name.lower().replace("_", "-")] = installed
        more = {(each, name) for each in installed.requires or () for name in ("", *needed.extras)}
        waiting += more - seen
        seen |= more
    return found


def _link(installed: Distribution, site: Path) -> None:
    """Each of its files that lies in site-packages, and its bytecode: compiling it takes longer."""
    for file in installed.files or ():
        if file.parts[0] == ".." or file.suffix == ".pyc":
            continue
        _symlink(Path(str(file.locate())), site / file)
        if file.suffix == ".py":
            compiled = Path(cache_from_source(str(file.locate())))
            if compiled.is_file():
                _symlink(compiled, Path(cache_from_source(str(site / file))))


def _symlink(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source)
