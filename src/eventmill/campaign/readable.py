"""Which files hold the results of a campaign at one moment: merged ones, and what is committed and not merged yet.

What is not merged is put into one temporary file of the campaign's format, so that readers know one kind of file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from eventmill.campaign.campaign import Campaign
from eventmill.config.output_spec import format_of
from eventmill.core.outputs import CommittedOutput
from eventmill.errors import CorruptOutput
from eventmill.formats import open_format
from eventmill.store import Store
from eventmill.work.merge import part_of

TRIES = 5
"""How often results are looked up anew because merges took their range outputs meanwhile."""


@dataclass(frozen=True, slots=True)
class ResultFile:
    """A file of the campaign's format, and the name by which messages call it."""

    name: str
    open: Callable[[], IO[bytes]]


@dataclass(frozen=True, slots=True)
class _Moment:
    """Merged files, each by the keys where it may be, and range outputs: all committed events, each once."""

    files: tuple[tuple[str, ...], ...]
    unmerged: tuple[CommittedOutput, ...]


@contextmanager
def merged_files(campaign: Campaign) -> Iterator[tuple[ResultFile, ...]]:
    """The merged files that are shown, by their first events."""
    yield _shown(campaign, [(file.key,) for file in campaign.ledger.published_outputs(campaign.id)])


@contextmanager
def all_files(campaign: Campaign) -> Iterator[tuple[ResultFile, ...]]:
    """All that is committed: merged files by their first events, then one temporary file of the rest.

    Each event is there once, also while merges go on. Raises `CorruptOutput` or `StoreError` if a range output
    cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="eventmill-read-") as folder:
        path = Path(folder) / "unmerged"
        yield _gathered(campaign, path)


def _gathered(campaign: Campaign, path: Path) -> tuple[ResultFile, ...]:
    for tries in range(1, TRIES + 1):
        moment = _moment(campaign)
        try:
            rest = _merged_here(campaign, moment.unmerged, path)
        except CorruptOutput:
            path.unlink(missing_ok=True)
            if tries == TRIES or _moment(campaign) == moment:  # not merged meanwhile: it is damaged
                raise
        else:
            return *_shown(campaign, moment.files), *rest
    raise AssertionError("unreachable")


def _moment(campaign: Campaign) -> _Moment:
    """What is where. Read again if a merge ended in between, since its outputs would be missing or there twice."""
    ledger = campaign.ledger
    while True:
        before = ledger.merged_outputs(campaign.id)
        unmerged = ledger.committed_outputs(campaign.id)
        staged = {number: (key,) for number, key, _ in ledger.unpublished(campaign.id)}
        if ledger.merged_outputs(campaign.id) == before:
            # While a file is published, it may be under one key or the other.
            return _Moment(tuple((*staged.get(file.merge_id, ()), file.key) for file in before), unmerged)


def _shown(campaign: Campaign, files: Sequence[tuple[str, ...]]) -> tuple[ResultFile, ...]:
    return tuple(ResultFile(keys[-1], partial(_open_one_of, campaign.store, keys)) for keys in files)


def _open_one_of(store: Store, keys: tuple[str, ...]) -> IO[bytes]:
    for key in keys[:-1]:
        with suppress(CorruptOutput):  # it is not there any more: it was published
            return store.open(key)
    return store.open(keys[-1])


def _merged_here(campaign: Campaign, outputs: tuple[CommittedOutput, ...], path: Path) -> tuple[ResultFile, ...]:
    if not outputs:
        return ()
    row = campaign.read_row()
    format, parts = open_format(format_of(row.spec)), [part_of(campaign.store, output) for output in outputs]
    schema = format.read_schema(parts[0]) if row.schema is None else row.schema
    format.merge(parts, schema=schema, path=path)
    return (ResultFile("what is not merged yet", lambda: path.open("rb")),)
