"""Converts any exception of a payload into a short, clean report that can be pickled."""

from __future__ import annotations

import importlib
import resource
import traceback
from pathlib import Path

from eventmill import text
from eventmill.core.leases import FailureKind
from eventmill.errors import CampaignError, InputError, PayloadError, ScratchError
from eventmill.payloads.calls import Refusal
from eventmill.payloads.missing_files import Shipped, file_hint

_OURS = str(Path(__file__).parent)


def refuse(kind: FailureKind, error: BaseException, begun: float, shipped: Shipped | None = None) -> Refusal:
    """The report for `error` of a call that began at `begun` CPU seconds. Never raises.

    `shipped` is the user's code, if a file may be missing that was to be shipped with it.
    """
    if isinstance(error, MemoryError) and kind is not FailureKind.SETUP:
        kind = FailureKind.MEMORY
    try:
        summary, told = _tell(error)
        summary += file_hint(error, shipped)
    except BaseException as second:  # the user's own methods: names, words, causes, or no memory for them
        summary, told = f"{text.words_of(error)} (it cannot be shown: {type(second).__name__})", ""
    return Refusal(kind, text.line(summary), text.told(told), cpu_seconds() - begun)


def _tell(error: BaseException) -> tuple[str, str]:
    """One line, and the traceback from the user's first frame on."""
    if isinstance(error, CampaignError | InputError | PayloadError | ScratchError):
        return str(error), ""
    frames = error.__traceback__
    while frames is not None and _is_ours(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    told = traceback.TracebackException(type(error), error, frames)
    # SyntaxErrors have several lines, the last one says what is wrong.
    lines = [line for part in told.format_exception_only() for line in part.splitlines() if line.strip()]
    if not lines:
        return "an exception without a name and without words", "".join(told.format())
    return lines[-1 if isinstance(error, SyntaxError) else 0].strip(), "".join(told.format())


def _is_ours(file: str) -> bool:
    return file.startswith((_OURS, "<frozen ")) or file == importlib.__file__


def cpu_seconds() -> float:
    """User and system time of this process and of the children that it waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
