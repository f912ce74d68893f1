"""The events that `try` hands to a payload, read in this process, so that a reader can be debugged, too."""

from __future__ import annotations

import bdb
import difflib
import importlib
import pickle
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eventmill.campaign.code import reader_code
from eventmill.campaign.inputs import list_inputs, source_spec
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.ranges import EventRange
from eventmill.core.units import counted
from eventmill.core.work_order import PayloadCode, Place, SourceSpec
from eventmill.errors import InputError, PayloadError
from eventmill.payloads import bundles
from eventmill.payloads.calls import SetUp, Where
from eventmill.payloads.import_shipped import importing_from
from eventmill.payloads.loading import load_reader
from eventmill.payloads.missing_files import Shipped, file_hint
from eventmill.payloads.reader_calls import InspectCall, ReadCall, ReaderSetUp
from eventmill.payloads.shown_places import text_with_places
from eventmill.payloads.unpack import put_code
from eventmill.runtime.scratch import code_folder
from eventmill.sources import open_source
from eventmill.sources.patterns import NOTHING

_NOT_THEIRS = (str(Path(__file__).parents[1]), "<frozen ", str(importlib.__file__))


@dataclass(frozen=True, slots=True)
class TriedInput:
    """Some events of one input, where they are from, and how many it has."""

    found: Any
    where: Where
    input_events: int


def read_some(campaign: CampaignSpec, *, events: int, start: int, input: int | str) -> TriedInput:
    """Up to `events` events from position `start` of an input; `InputError` if there are none."""
    reader = reader_code(campaign, folder=Path.cwd())
    named = list_inputs(campaign)
    url = _chosen(named.urls, input)
    spec = source_spec(campaign, named, reader=None if reader is None else reader.digest)
    said = named.described.get(url, NOTHING)

    def where(total: int) -> Where:
        if start >= total:
            raise InputError(f"{url} has {counted(total, 'event')}; position {start} is beyond the last one.")
        return Where(url, start, min(start + events, total), said.label, dict(said.parameters))

    if reader is not None:
        places = () if spec.reader is None else spec.reader.places
        with (
            unpacked(reader, key="inputs.reader.files") as shipped,
            users_code(f"reader {reader.callable} failed for {url}", places, shipped),
        ):
            opened = load_reader(_set_up(spec, reader, shipped), ReaderSetUp(spec.columns, spec.credentials))
            found = opened.inspect(InspectCall(url)).found
            here = where(found.events)
            piece = EventRange(here.start, here.stop)
            read = opened.read(ReadCall(url, piece, Path(), found.identity, found.events))
            opened.close()
        return TriedInput(read, here, found.events)
    source = open_source(url, spec)
    here = where(source.events)
    return TriedInput(source.read(here.start, here.stop), here, source.events)


def _chosen(urls: Sequence[str], input: int | str) -> str:
    """The input of that number, address or file name; `InputError` if there is none, or if there are several."""
    if isinstance(input, int) or (input.isdecimal() and input not in map(_file_name, urls)):
        number, has = int(input), counted(len(urls), "input")
        if number >= len(urls):
            raise InputError(f"the campaign has no input {number}: it has {has}, counted from 0.")
        return urls[number]
    path = str(Path(input).absolute())
    found = [url for url in urls if input in (url, _file_name(url)) or str(Path(url).absolute()) == path]
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(found[:NAMED]) + (", …" if len(found) > NAMED else "")
        raise InputError(f"{len(found)} inputs of the campaign are called '{input}': {listed}. Give one of these.")
    close = difflib.get_close_matches(input, [*urls, *map(_file_name, urls)], n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    raise InputError(
        f"the campaign has no input '{input}': give its address, its file name, or its number, from 0 to "
        f"{len(urls) - 1}.{hint}"
    )


def _file_name(url: str) -> str:
    return url.rstrip("/").rpartition("/")[2]


NAMED = 3
"""The maximum number of inputs in a message."""


def _set_up(spec: SourceSpec, code: PayloadCode, shipped: Shipped | None) -> SetUp:
    assert spec.reader is not None
    folder = None if shipped is None else shipped.folder
    return SetUp(code.entry, folder, pickle.dumps(spec.reader.parameters), None, path=())


@contextmanager
def unpacked(code: PayloadCode, *, key: str) -> Iterator[Shipped | None]:
    """The shipped copy, to import from; None for an installed package. `key` is that of its data files.

    What was not shipped is missing here, too. Debuggers and tracebacks show the file that the user edits.
    """
    if code.bundle is None:
        yield None
        return
    files = bundles.unpack(code.bundle, entry=code.entry, digest=code.digest)
    folder = put_code(files, code.digest, code_folder())
    place = code.callable.rpartition(":")[0]
    written_in = (Path.cwd() / place).parent.resolve() if place else None
    with importing_from(folder, files, written_in=written_in):
        yield Shipped(folder, code.entry.partition(":")[0], key, written_in or Path.cwd())


@contextmanager
def users_code(what: str, places: Sequence[Place] = (), shipped: Shipped | None = None) -> Iterator[None]:
    """Turn whatever the user's code raises into a PayloadError with that code's own traceback."""
    try:
        yield
    except (PayloadError, InputError):
        raise
    except bdb.BdbQuit:
        raise PayloadError(f"{what}: you quit the debugger.") from None
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        summary = " ".join("".join(traceback.format_exception_only(error)).split())
        trace = text_with_places(_their_traceback(error), places)
        raise PayloadError(f"{what}: {summary}{file_hint(error, shipped)}{trace}") from error


def _their_traceback(error: BaseException) -> str:
    """The frames from the first one that is not Eventmill's, behind a line's end; empty if there are none."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_NOT_THEIRS):
        frames = frames.tb_next
    if frames is None:
        return ""
    return "\n" + "".join(traceback.format_exception(type(error), error, frames)).rstrip()
