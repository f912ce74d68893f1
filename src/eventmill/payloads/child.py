"""The process of a payload: sets up the user's code once, then answers calls until its worker is gone.

Started as `python -m eventmill.payloads.child FD LEASH PARENT`; it forks at once, and the parent becomes the
keeper. Imports neither Prefect nor Dask, and large modules only when needed. Standard output and error are a pipe
to the worker, so the output of C++ code is captured, too.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import pickle
import sys
from dataclasses import replace
from io import TextIOWrapper

from eventmill.core.leases import FailureKind
from eventmill.errors import CampaignError, ScratchError
from eventmill.payloads import manners
from eventmill.payloads.calls import Answer, Imports, RangeCall, RangeResult, Ready, Refusal, SetUp, Where
from eventmill.payloads.import_shipped import import_from
from eventmill.payloads.keeper import fork_payload
from eventmill.payloads.loading import Payload, imported, load_payload, load_reader
from eventmill.payloads.memory import is_out_of_memory, limit_memory, told_limit
from eventmill.payloads.missing_files import Shipped
from eventmill.payloads.reader import OpenInputs
from eventmill.payloads.reader_calls import EventsRead, InspectCall, Inspected, ReadCall
from eventmill.payloads.refusals import cpu_seconds, refuse
from eventmill.payloads.wire import Line
from eventmill.payloads.zygote import Zygote

_LINE_BUFFERED = 1  # _IOLBF of glibc, musl and macOS
_libc = ctypes.CDLL(None)


def main(descriptor: int, leash: int, parent: int) -> None:
    """Serve the worker `parent` over the socket `descriptor` until it closes it; `leash` is the keeper's."""
    for inherited in (descriptor, leash):
        os.set_inheritable(inherited, False)
    keeper, oom_score = os.getpid(), manners.oom_score()
    roster = os.pipe()
    code = fork_payload(leash=leash, descriptor=descriptor, parents=(parent,), roster=roster)
    if code is not None:
        os._exit(code)
    manners.end_with_parent(keeper)
    manners.hear_no_signals()
    manners.be_killed_first()
    _print_by_lines()
    zygote = Zygote(keeper, roster[1], oom_score)
    try:
        _serve(Line(descriptor), zygote)
    except BaseException as error:
        is_gone = isinstance(error, EOFError | ConnectionError)
        if zygote.is_slot:
            zygote.leave(None if is_gone else error)
        if not is_gone:
            raise


def _serve(line: Line, zygote: Zygote) -> None:
    request: SetUp | Imports = line.receive()
    while isinstance(request, Imports):
        _import_early(request.modules)
        line.answer(_answer(None))
        request = line.receive()
    zygote.before_set_up(shared=request.shared)
    served = _set_up(request, line)
    if isinstance(served, Refusal):
        line.answer(_answer(served))
        return
    if request.shared:
        why_alone = zygote.why_alone(imported(request)[0])
        line.answer(_answer(Ready(why_alone)))
        if why_alone is None:
            line = zygote.serve(line)
    else:
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


def _import_early(modules: tuple[str, ...]) -> None:
    for name in modules:
        with contextlib.suppress(Exception):  # a missing module is reported when the payload imports it
            importlib.import_module(name)


def _end_if_fork(line: Line, error: BaseException | None = None) -> None:
    """End a fork that returned from the user's code: it must not answer or write the output."""
    if not line.is_ours:
        manners.leave(error)


def _answer(value: RangeResult | Inspected | EventsRead | Refusal | Ready | None) -> Answer:
    manners.flush()
    return Answer(value, cpu_seconds())


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
        _import_early(request.imports)
        return payload
    except BaseException as error:  # user code: sys.exit() in it must not look like a crash
        _end_if_fork(line, error)
        refusal = refuse(FailureKind.SETUP, error, begun, _shipped(request))
        if request.memory_bytes is not None and is_out_of_memory(error):
            return replace(refusal, summary=f"{refusal.summary}; {told_limit(request.memory_bytes)}")
        return refusal


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
