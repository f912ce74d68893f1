"""Split inputs: inspect each one, and check that they can be processed together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from typing import Any, TypeVar

from eventmill.access import how_to_look_up, look_up_with
from eventmill.campaign.crashing_inputs import DEATHS, is_suspect, looking
from eventmill.campaign.crashing_inputs import forget as forget_suspect
from eventmill.campaign.handle import CampaignHandle
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.config.inputs_spec import Duplicates, Unreadable
from eventmill.core.ranges import MOST_EVENTS, Input, NewInput, SeenLayout, UnreadableInput
from eventmill.core.records import JournalKind
from eventmill.core.units import counted
from eventmill.core.work_order import SourceSpec
from eventmill.errors import (
    InputError,
)
from eventmill.runtime.isolated_call import Ended, run_apart
from eventmill.sources import (
    inspect_input,
)
from eventmill.sources.file_source import NO_COLUMN
from eventmill.sources.layouts import disagreement, layouts_of, unreadable_columns
from eventmill.sources.patterns import told_format
from eventmill.sources.text_types import with_common_types
from eventmill.work.block import locate
from eventmill.work.reading import inspect_by_reader

logger = logging.getLogger(__name__)

LOOKS_AT_ONCE = 8


Result = TypeVar("Result")

Split = tuple[tuple[NewInput, ...], tuple[UnreadableInput, ...]]


def split(urls: Iterable[str], spec: SourceSpec, *, folder: str) -> Split:
    """Inspect these inputs. Returns what was learned, and those that cannot be read.

    If a process ended while it inspected an input, the input is inspected in a separate process. It counts as
    unreadable only if it ends several of these.
    """

    def learn(url: str) -> NewInput | UnreadableInput:
        address = locate(url, folder=folder)
        try:
            if spec.reader is not None:  # a process of its own reads it: a crash ends nothing else
                return replace(inspect_by_reader(address, spec), url=url)
            suspect = is_suspect(address)
            with looking(address):
                learned = _look_apart(address, spec) if suspect else inspect_input(address, spec)
            return replace(learned, url=url)
        except InputError as error:
            return UnreadableInput(url, str(error))

    urls = list(urls)
    suspects = [address for url in urls if is_suspect(address := locate(url, folder=folder))]
    learned = side_by_side(learn, urls)
    for address in suspects:  # only after all: two such inputs would otherwise end processes in turn for ever
        forget_suspect(address)
    found = tuple(item for item in learned if isinstance(item, NewInput))
    return found, tuple(item for item in learned if isinstance(item, UnreadableInput))


def _look_with(
    look_up: Any, inspect_input: Callable[[str, SourceSpec], NewInput], address: str, spec: SourceSpec
) -> NewInput:
    """Runs in the separate process, which looks up credentials as this process does."""
    if look_up is not None:
        look_up_with(look_up)
    return inspect_input(address, spec)


def _look_apart(address: str, spec: SourceSpec) -> NewInput:
    endings = []
    for _ in range(DEATHS):
        outcome = run_apart(_look_with, how_to_look_up(), inspect_input, address, spec)
        if not isinstance(outcome, Ended):
            return outcome
        endings.append(str(outcome))
    raise InputError(f"{DEATHS} processes ended while they inspected it ({', '.join(dict.fromkeys(endings))}).")


def can_be_read(url: str, spec: SourceSpec, *, folder: str) -> bool:
    """Whether an input can be inspected, found in a separate process: it may end whatever process looks at it."""
    try:
        _look_apart(locate(url, folder=folder), spec)
    except InputError:
        return False
    return True


def side_by_side(work: Callable[[str], Result], urls: Sequence[str]) -> list[Result]:
    """`work` for each url; for several remote urls at once, because these mostly wait for answers."""
    remote = any("://" in url for url in urls)
    with ThreadPoolExecutor(LOOKS_AT_ONCE if remote else 1) as pool:
        tasks = [pool.submit(copy_context().run, work, url) for url in urls]
        return [task.result() for task in tasks]


def register(
    opened: CampaignHandle,
    campaign: CampaignSpec,
    found: Iterable[NewInput],
    unreadable: Sequence[UnreadableInput],
) -> tuple[Input, ...]:
    """Add split inputs to the ledger, in campaign order; refuse or leave out unreadable ones, as configured."""
    if unreadable:
        listed = "; ".join(map(str, unreadable[:5])) + ("; …" if len(unreadable) > 5 else "")
        if campaign.inputs.unreadable is Unreadable.STOP:
            raise InputError(
                f"{len(unreadable)} of {len(opened.urls)} inputs cannot be read: {listed} {remedy_for(unreadable)}"
            )
        opened.note_once(kind=JournalKind.LEFT_OUT, lines={str(item): item.url for item in unreadable})
    found = [replace(item, described=opened.described.get(item.url, item.described)) for item in found]
    total = sum(item.events for item in opened.inputs()) + sum(item.events for item in found)
    if total > MOST_EVENTS:
        most = max(found, key=lambda item: item.events)
        raise InputError(
            f"the inputs have {total:,} events together, {most.url} alone {most.events:,}; at most "
            f"{MOST_EVENTS:,} can be counted."
        )
    found = with_common_types(found, opened.inputs())
    check_alike(campaign, [*opened.ledger.layouts(opened.id), *layouts_of(found)])
    opened.note_once(kind=JournalKind.COLUMNS_LEFT_OUT, lines=dict.fromkeys(unreadable_columns(found), ""))
    place = {url: number for number, url in enumerate(opened.urls)}
    if campaign.inputs.duplicates is Duplicates.REFUSE:
        seen = [(item.url, item.identity) for item in opened.inputs()]
        twice = same_content([*seen, *((item.url, item.identity) for item in found)])
        opened.note_once(kind=JournalKind.WARNING, lines=dict.fromkeys(twice, ""))
    if found or unreadable:
        events = sum(item.events for item in found)
        logger.info(
            "campaign '%s': %s with %s split, %d cannot be read",
            *(opened.name, counted(len(found), "input"), counted(events, "event"), len(unreadable)),
            extra={"campaign": opened.name, "events": events},
        )
    return opened.ledger.add_inputs(opened.id, sorted(found, key=lambda item: place[item.url]))


def remedy_for(unreadable: Sequence[UnreadableInput]) -> str:
    """What to do about inputs that cannot be read: of a column that none of them has, the campaign is to blame."""
    if all(NO_COLUMN in str(item) for item in unreadable):
        return "Correct 'inputs.columns', or the files."
    return "Repair them, or set 'inputs.unreadable: leave_out'."


def check_alike(campaign: CampaignSpec, layouts: Sequence[SeenLayout]) -> None:
    """Raise `InputError` unless inputs with these layouts can be processed together."""
    output = campaign.output
    has_types = output.columns is not None or output.format in ("hist", "bytes")
    if told := disagreement(layouts, results_have_types=has_types):
        format = campaign.inputs.format or told_format(layouts[0].url)
        if format in ("csv", "jsonl"):
            told += (
                " Or give the column one type in all files, as 'inputs.types: {name: float64}' does: a value that "
                "does not fit is then named."
            )
        raise InputError(told)


def same_content(inputs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """One line for each pair of `(url, identity)` with equal content, according to size and ETag."""
    first: dict[str, str] = {}
    lines = []
    for url, identity in inputs:
        if "etag=" in identity and (other := first.setdefault(identity, url)) != url:
            lines.append(
                f"{other} and {url} seem to be the same file ({identity}), and both are processed. If they are, "
                "name only one of them; to keep both, set 'inputs.duplicates: keep'."
            )
    return tuple(lines)
