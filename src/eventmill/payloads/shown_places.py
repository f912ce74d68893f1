"""Shows where the user wrote the code that failed, in place of the copy that was shipped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

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
    return with_places(failure, code, folder=order.folder)


def with_places(failure: FailureReport, code: PayloadSpec | ReaderSpec, *, folder: str | None) -> FailureReport:
    """The same for a failure of this code; a file that it names starts from `folder`, if that is known."""

    def shown(text: str) -> str:
        text = text_with_places(text, code.places)
        if folder is None:
            return text
        file = Path(folder, code.callable.rpartition(":")[0])
        written_in = file.parent if file.suffix == ".py" else Path(folder)
        copies = re.compile(rf'File "[^"\n]*/{re.escape(code.digest)}/([^"\n]+)"')
        return copies.sub(lambda frame: f'File "{written_in / frame[1]}"', text)

    return replace(failure, traceback=shown(failure.traceback), printed=shown(failure.printed))


def text_with_places(traceback: str, places: Sequence[Place]) -> str:
    """A traceback with the places of code that is in no file of its own; `notebook cell` for what has none."""

    def shown(frame: re.Match[str]) -> str:
        number = int(frame[1])
        for place in places:
            if place.first <= number < place.first + place.lines:
                return f'File "{place.file}", line {place.line + number - place.first}'
        return f'File "notebook cell", line {number}'

    return _FRAME.sub(shown, traceback)
