"""Shows where the code of a notebook or script was written, in place of the module as which it is shipped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from eventmill.core.leases import FailureKind, FailureReport
from eventmill.core.work_order import PayloadSpec, Place, ReaderSpec, WorkOrder
from eventmill.payloads.locate import CELL

_FRAME = re.compile(rf'File "(?:[^"\n]*/)?{CELL}\.py", line (\d+)')
"""A frame of a traceback, also of one that Python prints when it crashes."""


def as_written(failure: FailureReport, order: WorkOrder) -> FailureReport:
    """The failure of a range, or of a set-up, with the files and lines that the user knows."""
    code: PayloadSpec | ReaderSpec = order.payload
    if order.source.reader is not None and failure.kind is FailureKind.INPUT:
        code = order.source.reader
    return with_places(failure, code.places)


def with_places(failure: FailureReport, places: Sequence[Place]) -> FailureReport:
    """The same, with the places of the code that failed."""
    traceback, printed = text_with_places(failure.traceback, places), text_with_places(failure.printed, places)
    return replace(failure, traceback=traceback, printed=printed)


def text_with_places(traceback: str, places: Sequence[Place]) -> str:
    """A traceback with the files and lines that the user knows; `notebook cell` for what has no place."""

    def shown(frame: re.Match[str]) -> str:
        number = int(frame[1])
        for place in places:
            if place.first <= number < place.first + place.lines:
                return f'File "{place.file}", line {place.line + number - place.first}'
        return f'File "notebook cell", line {number}'

    return _FRAME.sub(shown, traceback)
