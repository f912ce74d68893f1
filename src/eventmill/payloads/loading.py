"""Imports the user's code and sets it up. Its folder must be on `sys.path`."""

from __future__ import annotations

import importlib
import inspect
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from eventmill.core.signatures import declared_by, why_no_payload
from eventmill.errors import PayloadError
from eventmill.payloads.calls import SetUp, Where
from eventmill.payloads.reader import OpenInputs, bind_reader
from eventmill.payloads.reader_calls import ReaderSetUp

Payload = Callable[[Any, Where], object]


def load_payload(request: SetUp) -> Payload:
    """Import and set up the user's code; its folder must be on `sys.path`.

    Raises the exceptions of that code, and `PayloadError` if it cannot be called as
    `name(events, where, **parameters)`.
    """
    target, name = imported(request)
    parameters = pickle.loads(request.parameters)
    # Now: in a call it would look like a fault of the events. A generator is for the format to judge.
    if wrong := why_no_payload(replace(declared_by(target), name=name), parameters, may_generate=True):
        raise PayloadError(f"{wrong}.")
    if inspect.isclass(target):
        instance = target(**parameters)
        if not callable(instance):
            raise PayloadError(f"{name}(...) is a {type(instance).__name__}, which cannot be called.")
        return instance
    return lambda events, where: target(events, where, **parameters)


def load_reader(request: SetUp, reader: ReaderSetUp) -> OpenInputs:
    """Import a reader; its folder must be on `sys.path`. Opens no input.

    Raises the exceptions of that code, and `PayloadError` if it cannot be called as `name(url, ...)`.
    """
    target, name = imported(request)
    if reader.look_up is not None:
        from eventmill.access import look_up_with

        look_up_with(reader.look_up)
    parameters = pickle.loads(request.parameters)
    bound = bind_reader(target, name, parameters=parameters, columns=reader.columns)
    return OpenInputs(bound, name=name, credentials=reader.credentials)


def imported(request: SetUp) -> tuple[Any, str]:
    """The class or function that is meant, and its name."""
    module_name, _, name = request.entry.partition(":")
    module = importlib.import_module(module_name)
    folder = request.bundle_folder
    if folder is not None and Path(getattr(module, "__file__", None) or "/").parent != folder:
        raise PayloadError(f"{module_name}.py is hidden by {module!r}; rename it.")
    target = getattr(module, name, None)
    if not callable(target):
        raise PayloadError(f"{module_name} has no class or function '{name}'.")
    return target, name
