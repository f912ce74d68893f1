"""What N slots of one process cost: forks of one set-up against a set-up each.

Run it with `python -m benchmarks.memory_of_slots`. Memory is that of all processes below this one (payloads,
keepers, and what was set up to be forked), after each slot has made three calls. PSS counts a page of n processes
for an n-th in each, so its sum is what the machine gives; RSS counts it n times.
"""

from __future__ import annotations

import sys
import tempfile
import textwrap
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from eventmill.core.leases import FailureReport
from eventmill.core.ranges import EventRange
from eventmill.payloads.calls import PayloadEntry, RangeCall
from eventmill.payloads.pool import Pool
from eventmill.payloads.runner import WarmPayload
from eventmill.runtime.scratch import stage

SLOTS = (1, 2, 4, 8, 16)
CALLS = 3
EVENTS = 20
_MIB = 1024**2
_EXAMPLE = Path(__file__).parent.parent / "examples" / "dimuon"

CODE = textwrap.dedent(
    """
    import random

    import numpy as np
    import pyarrow as pa


    class Array:
        '''100 MB of numbers, all of which each call reads.'''

        def __init__(self):
            self.table = np.random.default_rng(1).random(12_500_000)

        def __call__(self, events, where):
            return pa.table({"sum": np.full(len(events), self.table.sum())})


    class Dictionary:
        '''Some 50 MB of Python objects, of which each call reads `part`.'''

        def __init__(self, part):
            self.part = part
            self.table = {number: (number / 7, str(number)) for number in range(250_000)}

        def __call__(self, events, where):
            if self.part == 1:
                total = sum(value for value, _ in self.table.values())
            else:
                wanted = random.Random(1).sample(range(len(self.table)), int(self.part * len(self.table)))
                total = sum(self.table[number][0] for number in wanted)
            return pa.table({"sum": [total] * len(events)})
    """
)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of all slots together; CPU is that of set-ups, and `ready_seconds` pass until the last slot is ready."""

    pss_mib: float
    rss_mib: float
    setup_cpu_seconds: float
    ready_seconds: float


def main() -> None:
    """Measure, and print a table in Markdown."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "payloads_of_bench.py").write_text(CODE)
        cases: dict[str, tuple[PayloadEntry, dict[str, Any]]] = {
            "an array of 100 MB": (_entry("Array", folder), {}),
            "a dict of some 50 MB, 1 % is looked up": (_entry("Dictionary", folder), {"part": 0.01}),
            "the same dict, all is read": (_entry("Dictionary", folder), {"part": 1}),
            "examples/dimuon (Pythia)": (PayloadEntry("payload:Dimuon", "", _EXAMPLE), {"min_pt": 3.0}),
        }
        print("| payload | slots | PSS, MiB | RSS, MiB | CPU of set-ups, s | ready after, s |")
        print("|---|--:|--:|--:|--:|--:|")
        for told, (code, parameters) in cases.items():
            for slots in SLOTS:
                costs = {}
                for shares in (False, True):
                    wanted = 0.0 if not costs else costs[False].rss_mib * _MIB
                    if max(wanted, slots * 350 * _MIB) > psutil.virtual_memory().available / 2:
                        break
                    costs[shares] = measure(code, parameters, slots, shares=shares, folder=folder)
                else:
                    print(f"| {told} | {slots} | {' | '.join(_cells(costs[False], costs[True]))} |", flush=True)


def _entry(name: str, folder: Path) -> PayloadEntry:
    return PayloadEntry(f"payloads_of_bench:{name}", "", folder)


def _cells(alone: Cost, forked: Cost) -> list[str]:
    """Separate -> forked."""
    cells = []
    for field in fields(Cost):
        digits = ".0f" if field.name.endswith("mib") else ".1f"
        cells.append(f"{getattr(alone, field.name):{digits}} -> {getattr(forked, field.name):{digits}}")
    return cells


def measure(code: PayloadEntry, parameters: dict[str, Any], slots: int, *, shares: bool, folder: Path) -> Cost:
    """The cost of this many payloads, borrowed, set up and called in threads of this process."""
    pool = Pool(shares=shares)
    try:
        with ExitStack() as stack:
            payloads = [
                stack.enter_context(pool.borrow(code, parameters=parameters, columns=None)) for _ in range(slots)
            ]
            begun = time.monotonic()
            _in_threads(payloads, lambda _, payload: _checked(payload.start()))
            ready = time.monotonic() - begun
            _in_threads(payloads, lambda slot, payload: _call(payload, folder, slot))
            pss, rss = _memory()
            return Cost(pss, rss, sum(payload.take_setup_seconds() for payload in payloads), ready)
    finally:
        pool.stop_all()


def _call(payload: WarmPayload, folder: Path, slot: int) -> None:
    events, output = folder / f"{slot}.events", folder / f"{slot}.output"
    for number in range(CALLS):
        span = EventRange(number * EVENTS, (number + 1) * EVENTS)
        _checked(stage(np.arange(span.start, span.stop), events))
        _checked(payload.run(RangeCall(span, "generated:", events, output, None)))


def _checked(outcome: object) -> None:
    if isinstance(outcome, FailureReport):
        print(outcome.summary, outcome.traceback, outcome.printed, file=sys.stderr)
        raise SystemExit(1)


def _in_threads(payloads: list[WarmPayload], work: Any) -> None:
    failed: list[BaseException] = []

    def one(slot: int, payload: WarmPayload) -> None:
        try:
            work(slot, payload)
        except BaseException as error:  # raised again below
            failed.append(error)

    threads = [threading.Thread(target=one, args=pair) for pair in enumerate(payloads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in failed:
        raise error


def _memory() -> tuple[float, float]:
    infos = [process.memory_full_info() for process in psutil.Process().children(recursive=True)]
    return sum(info.pss for info in infos) / _MIB, sum(info.rss for info in infos) / _MIB


if __name__ == "__main__":
    main()
