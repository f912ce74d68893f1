"""A payload is set up once and called per range; whatever goes wrong in it is a report."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from eventmill.core.leases import FailureKind, FailureReport
from eventmill.formats.schemas import schema_from_columns, schema_to_bytes
from eventmill.payloads.calls import PayloadEntry, RangeCall, RangeResult
from eventmill.payloads.runner import WarmPayload
from tests.engine.payload_lab import Bench, make

pytest_plugins = ["tests.engine.payload_lab"]


def test_a_payload_is_set_up_once_and_called_per_range(lab: WarmPayload, bench: Bench) -> None:
    """The payload counts its own calls, in one process that is not ours, and is told where its events are."""
    first = bench.result(lab, "count")
    second = bench.result(lab, "count")
    assert second["calls"][0] == first["calls"][0] + 1
    assert first["pid"] == second["pid"] != [os.getpid()]
    assert first["at"] == ["Where(file='file.root', start=100, stop=110)"]


def test_a_function_gets_its_parameters_at_each_call(bundle: tuple[Path, str], bench: Bench) -> None:
    """`function(events, where, **parameters)`."""
    payload = make(bundle, "scale", factor=3)
    assert bench.result(payload, "a", "b") == {"scaled": [6]}
    payload.stop()


def test_an_exception_is_a_report_with_the_users_frames_only(lab: WarmPayload, bench: Bench) -> None:
    """One line, the user's traceback with its causes, and all that was printed, by C too, in this call."""
    report = bench.report(lab, "raises")
    assert (report.kind, report.summary) == (FailureKind.PAYLOAD, "ValueError: negative")
    assert "KeyError: 'cause'" in report.traceback
    assert "lab.py" in report.traceback and "child.py" not in report.traceback
    assert sorted(report.printed.split("\n")) == ["", "and error", "buffered by C", "from C", "outüput"]
    assert bench.report(lab, "exits").summary == "SystemExit: enough"
    assert bench.report(lab, "interrupts").kind is FailureKind.PAYLOAD
    assert bench.result(lab, "count")["calls"][0] > 3


def test_what_was_printed_is_bounded_and_belongs_to_its_call(lab: WarmPayload, bench: Bench) -> None:
    """Megabytes pass through, the last 4 kB stay; the next call begins with nothing."""
    outcome = lab.run(bench.call("prints", 5))
    assert isinstance(outcome, RangeResult)
    assert len(outcome.printed) == 4096 and outcome.printed.endswith("x\nthe end\n")
    quiet = lab.run(bench.call("count"))
    assert isinstance(quiet, RangeResult) and quiet.printed == ""


def test_a_child_imports_neither_prefect_nor_dask_nor_pandas(lab: WarmPayload, bench: Bench) -> None:
    """It starts quickly because it imports what the payload needs, and Arrow."""
    names = {name.partition(".")[0] for name in bench.result(lab, "modules")["name"]}
    assert not names & {"prefect", "dask", "distributed", "pandas", "awkward", "sqlalchemy", "pydantic"}


@pytest.mark.parametrize(
    ("name", "parameters", "summary"),
    [
        ("Broken", {"mode": "raise"}, "RuntimeError: no calibration"),
        ("Broken", {"mode": "crash"}, "payload process died with signal SIGABRT (6) while it was set up"),
        (
            "Broken",
            {"mood": "x"},
            "Broken cannot be called with these parameters (payload.parameters): it does not",
        ),
        (
            "scale",
            {},
            "scale cannot be called with these parameters (payload.parameters): it needs ",
        ),
        ("NotCallable", {}, "class NotCallable lacks '__call__(self, events, where)'."),
        ("Unprepared", {}, "Unprepared.__call__ takes no argument by position"),
        ("number", {}, "broken has no class or function 'number'."),
        ("absent", {}, "broken has no class or function 'absent'."),
    ],
)
def test_a_set_up_that_fails_is_a_report(
    bundle: tuple[Path, str], bench: Bench, name: str, parameters: dict[str, str], summary: str
) -> None:
    """Kind SETUP: no event is at fault. With what was printed and no process left."""
    code = PayloadEntry(f"broken:{name}", bundle[1], bundle[0])
    payload = WarmPayload(code=code, parameters=parameters, columns=None)
    report = payload.start()
    assert report is not None
    assert report.kind is FailureKind.SETUP
    assert report.summary.startswith(summary)
    assert report.printed.startswith("loud set-up\n")
    assert (name == "Broken" and "mode" in parameters) == ("about to fail" in report.printed)
    assert not payload.alive
    assert bench.report(payload, "count").kind is FailureKind.SETUP


def test_a_set_up_that_never_ends_is_a_report(tmp_path: Path, bench: Bench) -> None:
    """Its time is `limits.setup_timeout`; then the process is ended, and no event is at fault."""
    (tmp_path / "hanging.py").write_text(
        "import threading\n\nclass Hanging:\n    def __init__(self):\n        threading.Event().wait()\n"
        "    def __call__(self, events, where): ...\n"
    )
    code = PayloadEntry("hanging:Hanging", "", tmp_path)
    payload = WarmPayload(code=code, parameters={}, columns=None, setup_seconds=0.5)
    for report in (payload.start(), bench.report(payload, "count")):
        assert report is not None
        assert report.kind is FailureKind.SETUP
        assert report.summary.endswith("gave no answer for 0.5 s while it was set up (limits.setup_timeout)")
        assert not payload.alive


def test_code_that_cannot_be_imported_is_a_report(tmp_path: Path) -> None:
    """A missing module, a syntax error of a neighbour, a file hidden by an installed module."""
    (tmp_path / "lacking.py").write_text("import no_such_module\n")
    (tmp_path / "neighbour.py").write_text("def f(:\n")
    (tmp_path / "using.py").write_text("import neighbour\n")
    (tmp_path / "eventmill.py").write_text("class Lab: ...\n")
    for entry, summary in [
        ("lacking:Lab", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("using:Lab", "SyntaxError: "),
        ("eventmill:Lab", "eventmill.py is hidden by <module 'eventmill'"),
    ]:
        code = PayloadEntry(entry, "", tmp_path)
        report = WarmPayload(code=code, parameters={}, columns=None).start()
        assert report is not None
        assert report.summary.startswith(summary)
        assert "importlib" not in report.traceback


def test_parameters_that_cannot_travel_are_a_report(bundle: tuple[Path, str]) -> None:
    """Not an exception: the caller has one way to fail."""
    report = make(bundle, "Lab", lock=threading.Lock()).start()
    assert report is not None
    assert report.summary.startswith("the payload's parameters cannot be pickled: ")


def test_a_result_that_cannot_be_stored_is_a_report(lab: WarmPayload, bench: Bench) -> None:
    """Kind RESULT: the wrong thing, or not the campaign's columns."""
    report = bench.report(lab, "nothing")
    assert (report.kind, report.traceback) == (FailureKind.RESULT, "")
    assert report.summary.startswith("the payload returned a NoneType")
    schema = schema_from_columns({"pt": "float64"})
    fits = lab.run(bench.call("column", [1.5], schema=schema))
    assert isinstance(fits, RangeResult) and fits.schema == schema_to_bytes(schema) and fits.infers
    empty = lab.run(bench.call("column", [], schema=schema))
    assert isinstance(empty, RangeResult) and empty.schema == schema_to_bytes(schema) and not empty.infers
    differs = lab.run(bench.call("column", ["1"], schema=schema))
    assert isinstance(differs, FailureReport) and differs.kind is FailureKind.RESULT
    assert "column 'pt' is string" in differs.summary


def test_declared_columns_are_cast_to(bundle: tuple[Path, str], bench: Bench) -> None:
    """Without a schema from the campaign too, and whatever that says."""
    code = PayloadEntry("lab:Lab", bundle[1], bundle[0])
    payload = WarmPayload(code=code, parameters={}, columns={"pt": "float32"})
    outcome = payload.run(bench.call("column", [1]))
    payload.stop()
    assert isinstance(outcome, RangeResult)
    assert outcome.schema == schema_to_bytes(pa.schema({"pt": pa.float32()}))


def test_events_or_scratch_that_are_not_there_are_reports(lab: WarmPayload, bench: Bench) -> None:
    """Unreadable events are INPUT, a scratch folder that is gone is nobody's event's fault."""
    call = bench.call("count")
    call.events_path.write_bytes(b"no pickle")
    report = lab.run(call)
    assert isinstance(report, FailureReport) and report.kind is FailureKind.INPUT
    call.events_path.unlink()
    report = lab.run(call)
    assert isinstance(report, FailureReport) and report.kind is FailureKind.INPUT
    assert report.summary.startswith("FileNotFoundError")
    good = bench.call("count")
    gone = RangeCall(good.range, good.url, good.events_path, bench.folder / "gone" / "out.parquet", None)
    report = lab.run(gone)
    assert isinstance(report, FailureReport) and report.kind is FailureKind.SETUP


def test_where_gives_the_positions() -> None:
    """int64, as long as the events are."""
    from eventmill.payloads import Where

    where = Where("file.root", 7, 10)
    assert (len(where), where.positions.tolist(), where.positions.dtype) == (3, [7, 8, 9], np.dtype("int64"))
