"""Whether this process runs where a campaign's software is: packages, a path, an image. Starts nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

from packaging.requirements import Requirement

from eventmill.core.environment import Environment

IMAGE_VARIABLES = ("EVENTMILL_IMAGE", "APPTAINER_CONTAINER", "SINGULARITY_CONTAINER")
"""What a process knows of the container that it runs in: from whoever starts it, or from Apptainer."""

MOST_TOLD = 10
"""So many things that are missing are named; the others are counted."""

_found: set[str] = set()
"""Digests of environments that were here: what was imported from them stays in this process."""


def lacking(environment: Environment | None, *, variables: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """What is missing here, each with what was found instead; empty if all is here.

    All that is here is looked for once in a process, what is missing each time.
    """
    if environment is None or environment.digest in _found:
        return ()
    missing = (*_packages(environment), *_path(environment), *_image(environment, variables))
    if not missing:
        _found.add(environment.digest)
    return missing


def in_one_line(missing: Sequence[str]) -> str:
    """What is missing, as one clause."""
    more = f", and {len(missing) - MOST_TOLD} more" if len(missing) > MOST_TOLD else ""
    return f"{', '.join(missing[:MOST_TOLD])}{more}"


def _packages(environment: Environment) -> Iterator[str]:
    for pin in environment.packages:
        wanted = Requirement(pin)
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        shown = f"{wanted.name} {next(iter(wanted.specifier)).version}"
        try:
            found = version(wanted.name)
        except PackageNotFoundError:
            yield f"{shown} (not installed)"
            continue
        if not wanted.specifier.contains(found, prereleases=True):
            yield f"{shown} (found {found})"


def _path(environment: Environment) -> Iterator[str]:
    if environment.path is not None and not os.path.exists(environment.path):
        yield f"{environment.path} (not there)"


def _image(environment: Environment, variables: Mapping[str, str]) -> Iterator[str]:
    if environment.image is None:
        return
    told = {name: value for name in IMAGE_VARIABLES if (value := variables.get(name))}
    if _plain(environment.image) not in map(_plain, told.values()):
        found = " and ".join(f"{name} is {value}" for name, value in told.items())
        yield f"the container image {environment.image} ({found or f'{IMAGE_VARIABLES[0]} is not set'})"


def _plain(image: str) -> str:
    """Without the scheme that some programs write before it."""
    return image.removeprefix("docker://").removeprefix("oras://")
