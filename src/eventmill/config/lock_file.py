"""Reads files that pin packages to versions: requirements with `name==version`, and pylock.toml (PEP 751)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from eventmill.errors import CampaignError, PayloadError

KEY = "payload.environment.packages"

MOST_PINS = 2_000
"""Each is looked up before work is taken, and stored with the campaign."""

_EXPORT = "'uv export --format requirements-txt -o requirements.lock' writes one"

_MEANS_NOTHING_HERE = re.compile(
    r"^(--hash|-i|--index-url|--extra-index-url|--no-index|-f|--find-links|--only-binary|--no-binary|--prefer-binary"
    r"|--pre|--trusted-host|--require-hashes|--use-feature)(=|\s|$)"
)
"""Options that say where packages come from: nothing is installed here."""


def read_lock(name: str, *, folder: Path) -> tuple[str, ...]:
    """The pins of a lock file, sorted, such as `numpy==2.1.0` with a marker if it has one.

    A relative path starts from `folder`. Raises `CampaignError` with the file and the line of what is no pin, and
    `PayloadError` if there is no such file.
    """
    path = folder / name
    if path.name in ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock"):
        raise CampaignError(f"'{KEY}': {path} cannot be read; give a requirements file: {_EXPORT}.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise PayloadError(f"'{KEY}': the lock file {path} does not exist.", path=name) from None
    except OSError as error:
        raise CampaignError(f"'{KEY}': the lock file {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise CampaignError(
            f"'{KEY}': the lock file {path} is not text: byte {error.start} is not UTF-8."
        ) from None
    is_toml = path.suffix == ".toml"
    try:
        found = all_of(_of_toml(path, text) if is_toml else _of_requirements(path, text))
    except ValueError as error:
        raise CampaignError(f"'{KEY}': {path}: {error}.") from None
    if not found:
        raise CampaignError(f"'{KEY}': the lock file {path} pins no package.")
    if len(found) > MOST_PINS:
        raise CampaignError(
            f"'{KEY}': {path} pins {len(found):,} packages, and at most {MOST_PINS:,} are checked."
        )
    return tuple(found)


def all_of(pins: Iterable[str]) -> list[str]:
    """Each pin once, sorted; ValueError if no place could have two of them: there, nobody would ever get work."""
    found, versions = sorted(set(pins)), dict[tuple[str, str], str]()
    for pin in found:
        wanted, _, marker = pin.partition(";")
        name, _, version = wanted.partition("==")
        other = versions.setdefault((name, marker), version)
        if not (_is_within(version, other) or _is_within(other, version)):
            raise ValueError(f"{name} cannot be {other} and {version} at once; pin one version")
    return found


def _is_within(version: str, other: str) -> bool:
    return SpecifierSet(f"=={version}").contains(other, prereleases=True)


def as_pin(text: str) -> str:
    """A pin as it is kept; ValueError says what is wrong with it."""
    try:
        wanted = Requirement(text)
    except InvalidRequirement as error:
        raise ValueError(f"'{text}' is no package with a version: {str(error).splitlines()[0]}") from None
    if wanted.url is not None:
        raise ValueError(f"'{text}' names an address, not a version; write name==version")
    versions = list(wanted.specifier)
    if len(versions) != 1 or versions[0].operator != "==" or versions[0].version.endswith(".*"):
        raise ValueError(f"'{text}' does not pin one version; write name==version")
    try:
        if wanted.marker is not None:
            wanted.marker.evaluate()
    except (UndefinedComparison, UndefinedEnvironmentName) as error:
        raise ValueError(f"the marker of '{text}' cannot be evaluated: {error}") from None
    marker = f"; {wanted.marker}" if wanted.marker is not None else ""
    return f"{canonicalize_name(wanted.name)}=={versions[0].version}{marker}"


def _of_requirements(path: Path, text: str) -> Iterator[str]:
    for number, line in _whole_lines(text):
        if not line or _MEANS_NOTHING_HERE.match(line):
            continue
        if line.startswith("-"):
            raise CampaignError(
                f"'{KEY}': {path}:{number}: '{line}' is not followed; give one file that has all pins: {_EXPORT}."
            )
        try:
            yield as_pin(re.split(r"\s--hash[=\s]", line)[0].strip())
        except ValueError as error:
            raise CampaignError(f"'{KEY}': {path}:{number}: {error}.") from None


def _whole_lines(text: str) -> Iterator[tuple[int, str]]:
    """Each line with its number, continued ones as one, without comments."""
    begun, parts = 0, list[str]()
    for number, line in enumerate(text.splitlines(), start=1):
        begun = begun if parts else number
        is_continued = line.endswith("\\")
        parts.append(re.sub(r"(^|\s)#.*$", "", line.removesuffix("\\")).strip())
        if not is_continued:
            yield begun, " ".join(filter(None, parts))
            parts = []
    if parts:
        yield begun, " ".join(filter(None, parts))


def _of_toml(path: Path, text: str) -> Iterator[str]:
    try:
        packages: Any = tomllib.loads(text).get("packages")
    except tomllib.TOMLDecodeError as error:
        raise CampaignError(f"'{KEY}': {path} is not valid TOML: {error}.") from None
    if not isinstance(packages, list):
        raise CampaignError(f"'{KEY}': {path} is no pylock.toml: it has no list 'packages'.")
    for number, package in enumerate(packages):
        name, wanted = (package.get(key) if isinstance(package, dict) else None for key in ("name", "version"))
        marker = f"; {package['marker']}" if isinstance(package, dict) and package.get("marker") else ""
        where = f"'{KEY}': {path}: packages[{number}]"
        try:
            pinned = Version(str(wanted))
        except InvalidVersion:
            raise CampaignError(f"{where} ({name or 'without a name'}) has no version to be checked.") from None
        try:
            yield as_pin(f"{name}=={pinned}{marker}")
        except ValueError as error:
            raise CampaignError(f"{where}: {error}.") from None
