"""Events without a file: each event is its number, from which payloads derive everything, such as random seeds."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

from eventmill.core.ranges import Layout
from eventmill.core.work_order import SourceSpec
from eventmill.errors import InputError
from eventmill.sources.file_source import check_bounds

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_URL = re.compile(r"generated:(\d{1,18})-(\d{1,18})")


class GeneratedSource:
    """The event numbers `[first, stop)` of a url `generated:first-stop`. It has no clusters."""

    def __init__(self, url: str) -> None:
        numbers = _URL.fullmatch(url)
        if numbers is None or int(numbers[1]) >= int(numbers[2]):
            raise InputError(f"'{url}' does not name generated events; 'generated:0-1000' names 0 to 999.")
        self.url = url
        self.identity = url
        self.boundaries: tuple[int, ...] = ()
        self.layout: Layout = ()
        self.left_out: tuple[str, ...] = ()
        self.first = int(numbers[1])
        self.events = int(numbers[2]) - self.first

    def read(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """The campaign-wide numbers of the events at `[start, stop)` of this input, as int64."""
        import numpy as np

        check_bounds(self.url, start, stop, events=self.events)
        return np.arange(self.first + start, self.first + stop, dtype=np.int64)

    def close(self) -> None:
        """Nothing to do."""


def open_generated(url: str, spec: SourceSpec) -> GeneratedSource:
    """Generated events have neither tree nor columns; InputError if `spec` wants some."""
    if spec.tree is not None or spec.columns is not None:
        raise InputError(f"{url}: generated events are plain numbers and have neither a tree nor columns.")
    return GeneratedSource(url)


def generated_urls(events: int, files: int) -> tuple[str, ...]:
    """Names of `files` virtual inputs that cover `[0, events)` as evenly as possible, in order."""
    if not 1 <= files <= events:
        raise InputError(f"{events} generated events cannot be divided into {files} inputs.")
    edges = [number * events // files for number in range(files + 1)]
    return tuple(f"generated:{a}-{b}" for a, b in itertools.pairwise(edges))
