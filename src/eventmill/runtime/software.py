"""Whether this process runs where a campaign's software is: packages, a path, an image. Starts nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from importlib.metadata import PackageNotFoundError, version

from packaging.requirements import Requirement

from eventmill.core.environment import Environment
from eventmill.runtime.daemon_executor import Reader

IMAGE_VARIABLES = ("EVENTMILL_IMAGE", "APPTAINER_CONTAINER", "SINGULARITY_CONTAINER")
"""What a process knows of the container that it runs in: from whoever starts it, or from Apptainer."""

MOST_TOLD = 10
"""So many things that are missing are named; the others are counted."""

PATH_SECONDS = 30.0
"""How long a path may take to answer: one on a server that is gone would hang for ever."""

_found: set[str] = set()
"""Digests of environments that were here: what was imported from them stays in this process."""

_looks: dict[str, tuple[Reader, Future[bool]]] = {}
"""Paths that have not answered yet: nobody looks for one twice at a time."""


def lacking(
    environment: Environment | None,
    *,
    variables: Mapping[str, str] = os.environ,
    path_seconds: float = PATH_SECONDS,
) -> tuple[str, ...]:
    """What is missing here, each with what was found instead; empty if all is here.

    A path that does not answer for `path_seconds` is missing, too. All that is here is looked for once in a
    process, what is missing each time.
    """
    if environment is None or environment.digest in _found:
        return ()
    missing = (*_packages(environment), *_path(environment, path_seconds), *_image(environment, variables))
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


def _path(environment: Environment, seconds: float) -> Iterator[str]:
    path = environment.path
    if path is None:
        return
    known = _looks.get(path)
    if known is None:
        reader = Reader()
        known = _looks[path] = reader, reader.submit(lambda: os.path.exists(path))
    reader, look = known
    try:
        is_there = look.result(seconds)
    except TimeoutError:
        yield f"{path} (no answer for {seconds:g} s)"
        return
    _looks.pop(path, None)
    reader.close()
    if not is_there:
        yield f"{path} (not there)"


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
