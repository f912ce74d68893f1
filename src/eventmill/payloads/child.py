"""The process of a payload: sets up the user's code once, then answers calls until its worker is gone.

Started as `python -m eventmill.payloads.child FD LEASH PARENT`; it forks at once, and the parent becomes the
keeper. Imports neither Prefect nor Dask, and large modules only when needed. Standard output and error are a pipe
to the worker, so the output of C++ code is captured, too.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import inspect
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from eventmill.core.leases import FailureKind
from eventmill.core.signatures import declared_by, why_no_payload
from eventmill.errors import CampaignError, PayloadError, ScratchError
from eventmill.payloads.calls import Answer, Imports, RangeCall, RangeResult, Refusal, SetUp, Where
from eventmill.payloads.import_shipped import import_from
from eventmill.payloads.keeper import POLITE, fork_payload, go_on_at, hear_nothing
from eventmill.payloads.memory import is_out_of_memory, limit_memory, told_limit
from eventmill.payloads.missing_files import Shipped
from eventmill.payloads.reader import OpenInputs, bind_reader
from eventmill.payloads.reader_calls import EventsRead, InspectCall, Inspected, ReadCall, ReaderSetUp
from eventmill.payloads.refusals import cpu_seconds, refuse
from eventmill.payloads.wire import Line

_LINE_BUFFERED = 1  # _IOLBF of glibc, musl and macOS
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_libc = ctypes.CDLL(None)
_held = threading.local()  # the mask of a thread that forks

Payload = Callable[[Any, Where], object]


def main(descriptor: int, leash: int, parent: int) -> None:
    """Serve the worker `parent` over the socket `descriptor` until it closes it; `leash` is the keeper's."""
    for inherited in (descriptor, leash):
        os.set_inheritable(inherited, False)
    keeper = os.getpid()
    code = fork_payload(leash=leash, descriptor=descriptor, parent=parent)
    if code is not None:
        os._exit(code)
    end_with_parent(keeper)
    # Signals to every process of a job, and Ctrl-C in a terminal: the worker, or the run, handles them.
    go_on_at(*POLITE)
    os.register_at_fork(before=_hold_signals, after_in_parent=_let_signals, after_in_child=_hear_again)
    _be_killed_first()
    _print_by_lines()
    with contextlib.suppress(EOFError, ConnectionError):
        _serve(Line(descriptor))


def _hold_signals() -> None:
    """Block signals, so that those sent to a fork before it can handle them are kept."""
    _held.before = signal.pthread_sigmask(signal.SIG_BLOCK, POLITE)


def _let_signals() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _held.before)


def _hear_again() -> None:
    """In a fork of the payload, restore the default handlers, so that signals can end it."""
    if threading.current_thread() is threading.main_thread():  # always so after a fork
        for number in POLITE:
            if signal.getsignal(number) is hear_nothing:
                signal.signal(number, signal.SIG_DFL)
    _let_signals()


def _serve(line: Line) -> None:
    request: SetUp | Imports = line.receive()
    while isinstance(request, Imports):
        for name in request.modules:
            with contextlib.suppress(Exception):  # a missing module is reported when the payload imports it
                importlib.import_module(name)
        line.answer(_answer(None))
        request = line.receive()
    served = _set_up(request, line)
    if isinstance(served, Refusal):
        line.answer(_answer(served))
        return
    line.answer(_answer(None))
    while True:
        call = line.receive()
        answer: RangeResult | Inspected | EventsRead | Refusal
        if isinstance(served, OpenInputs):
            answer = _read(served, call, request, line)
        else:
            answer = _work(served, call, request, line)
        if isinstance(answer, Refusal) and answer.kind is FailureKind.MEMORY and request.memory_bytes is not None:
            answer = replace(answer, summary=f"{answer.summary}; {told_limit(request.memory_bytes)}")
        line.answer(_answer(answer))


def _end_if_fork(line: Line, error: BaseException | None = None) -> None:
    """End a fork that returned from the user's code: it must not answer or write the output."""
    if line.is_ours:
        return
    code = 0
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        code = 1
        with contextlib.suppress(Exception):
            traceback.print_exception(error)
    _flush()
    os._exit(code & 0xFF)


def _answer(value: RangeResult | Inspected | EventsRead | Refusal | None) -> Answer:
    _flush()
    return Answer(value, cpu_seconds())


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # the payload may have closed or replaced it
            stream.flush()
    _libc.fflush(None)


def _set_up(request: SetUp, line: Line) -> Payload | OpenInputs | Refusal:
    begun = cpu_seconds()
    # After our own entries, so that nothing on the path of the worker can hide what this process needs.
    sys.path += [entry for entry in request.path if entry not in sys.path]
    if request.bundle_folder is not None:
        import_from(request.bundle_folder)
    try:
        if request.memory_bytes is not None:
            limit_memory(request.memory_bytes)
        if request.reader is not None:
            reader = load_reader(request, request.reader)
            _end_if_fork(line)
            return reader
        payload = load_payload(request)
        _end_if_fork(line)
        # Imported now, not in the first range; after the payload, which may depend on the import order.
        importlib.import_module("eventmill.formats.parquet")
        return payload
    except BaseException as error:  # user code: sys.exit() in it must not look like a crash
        _end_if_fork(line, error)
        refusal = refuse(FailureKind.SETUP, error, begun, _shipped(request))
        if request.memory_bytes is not None and is_out_of_memory(error):
            return replace(refusal, summary=f"{refusal.summary}; {told_limit(request.memory_bytes)}")
        return refusal


def load_payload(request: SetUp) -> Payload:
    """Import and set up the user's code; its folder must be on `sys.path`.

    Raises the exceptions of that code, and `PayloadError` if it cannot be called as
    `name(events, where, **parameters)`.
    """
    target, name = _imported(request)
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
    target, name = _imported(request)
    if reader.look_up is not None:
        from eventmill.access import look_up_with

        look_up_with(reader.look_up)
    parameters = pickle.loads(request.parameters)
    bound = bind_reader(target, name, parameters=parameters, columns=reader.columns)
    return OpenInputs(bound, name=name, credentials=reader.credentials)


def _imported(request: SetUp) -> tuple[Any, str]:
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


def _shipped(request: SetUp) -> Shipped | None:
    """The code that was shipped; None for an installed package."""
    if request.bundle_folder is None:
        return None
    key = "payload.files" if request.reader is None else "inputs.reader.files"
    return Shipped(request.bundle_folder, request.entry.partition(":")[0], key)


def _read(
    inputs: OpenInputs, call: InspectCall | ReadCall, request: SetUp, line: Line
) -> Inspected | EventsRead | Refusal:
    begun = cpu_seconds()
    try:
        answer = inputs.inspect(call) if isinstance(call, InspectCall) else inputs.stage(call)
        _end_if_fork(line)
        return answer
    except ScratchError as error:  # scratch is full or gone: no event is at fault
        return refuse(FailureKind.SETUP, error, begun)
    except BaseException as error:  # the user's code, with sys.exit() and KeyboardInterrupt
        _end_if_fork(line, error)
        return refuse(FailureKind.INPUT, error, begun, _shipped(request))


def _work(payload: Payload, call: RangeCall, request: SetUp, line: Line) -> RangeResult | Refusal:
    begun = cpu_seconds()
    try:
        with call.events_path.open("rb") as file:
            events = pickle.load(file)
    except Exception as error:  # unpickling runs foreign code
        return refuse(FailureKind.INPUT, error, begun)
    try:
        said = call.described
        where = Where(call.url, call.range.start, call.range.stop, said.label, dict(said.parameters))
        result = payload(events, where)
        _end_if_fork(line)
    except BaseException as error:  # the user's code, with sys.exit() and KeyboardInterrupt
        _end_if_fork(line, error)
        return refuse(FailureKind.PAYLOAD, error, begun, _shipped(request))
    try:
        return _store(result, call, request, begun)
    except OSError as error:  # scratch is full or gone: no event is at fault
        return refuse(FailureKind.SETUP, error, begun)
    except CampaignError as error:  # the format's package is not installed here
        return refuse(FailureKind.SETUP, error, begun)
    except Exception as error:  # the conversion calls methods of the user's objects
        return refuse(FailureKind.RESULT, error, begun)


def _store(result: object, call: RangeCall, request: SetUp, begun: float) -> RangeResult:
    from eventmill.formats import open_format

    written = open_format(call.format).write_range(
        result, call.output_path, events=len(call.range), schema=call.schema, declared=request.columns
    )
    return RangeResult(
        rows=written.rows,
        schema=written.schema,
        infers=written.infers,
        cpu_seconds=cpu_seconds() - begun,
        bytes=call.output_path.stat().st_size,
    )


def end_with_parent(parent: int) -> None:
    """Let this process end as soon as `parent` is gone, whatever the payload is doing.

    On Linux the kernel kills it, even if its code never returns to Python. Elsewhere a thread checks once a
    second, and a payload that holds the GIL ends when it releases it.
    """
    if sys.platform != "linux" or _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        threading.Thread(target=watch_parent, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # the parent ended before the call
        os._exit(1)


def watch_parent(parent: int) -> None:
    """End this process within a second of the end of `parent`. Never returns."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _be_killed_first() -> None:
    """Ask the kernel to kill the payload first when memory runs out (a failure), not its worker (a loss)."""
    with contextlib.suppress(OSError):  # not on Linux, or /proc is read-only
        Path("/proc/self/oom_score_adj").write_text("500")


def _print_by_lines() -> None:
    """Flush after each line, so that the last lines are in the pipe when the process dies."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
    with contextlib.suppress(ValueError):  # a libc that names its stdout differently
        name = "__stdoutp" if sys.platform == "darwin" else "stdout"
        _libc.setvbuf(ctypes.c_void_p.in_dll(_libc, name), None, _LINE_BUFFERED, ctypes.c_size_t(0))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
