"""Beginning a campaign, or going on with it: what is new, what differs, and what the user chose to do about it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from eventmill.access import how_to_look_up, look_up_with
from eventmill.campaign.crashing_inputs import DEATHS, is_suspect, looking
from eventmill.campaign.crashing_inputs import forget as forget_suspect
from eventmill.campaign.leadership import leading
from eventmill.config.campaign_spec import (
    Campaign,
    Duplicates,
    Unreadable,
    ledger_address,
    merged_suffix,
    parse_campaign,
)
from eventmill.core.model import (
    CampaignRecord,
    Input,
    NewInput,
    PayloadCode,
    PayloadSpec,
    SeenLayout,
    SourceSpec,
    Wanted,
    WorkOrder,
)
from eventmill.errors import (
    CampaignChanged,
    CampaignError,
    CampaignRests,
    InputError,
    LedgerError,
    NameTaken,
    StoreTaken,
)
from eventmill.formats.schemas import schema_from_columns, schema_to_bytes
from eventmill.ledger import Ledger, create_ledger, open_ledger
from eventmill.payloads.bundles import in_utf8
from eventmill.payloads.locate import find_payload
from eventmill.runtime.isolated_call import Ended, run_apart
from eventmill.sources import (
    Named,
    find_inputs,
    generated_urls,
    identity_of,
    look,
    object_of,
    partition_types,
    source_format,
)
from eventmill.sources.layouts import disagreement, layouts_of, unreadable_columns
from eventmill.store import Store, open_store
from eventmill.work.block import locate
from eventmill.work.store_mark import check_store_is_free, check_store_is_ours, clear_store, hold_store, is_marked

LOOKS_AT_ONCE = 8

WARNING = "warning"
"""Kind of journal lines that people should see at the end of a run: nothing is wrong, so far as anybody knows."""

Result = TypeVar("Result")


class Changed(StrEnum):
    """What to do when the campaign, its payload or an input is not what was begun."""

    STOP = "stop"  # name the differences and do nothing
    ACCEPT = "accept"  # go on with the new; what is done stays as it is
    RESTART = "restart"  # throw away what is done and begin anew
    KEEP = "keep"  # go on with what was begun, as the ledger has it; look at nothing else
    RESCUE = "rescue"  # the same, but leave it alone if it was paused or cancelled: nobody asks for it now


FIXED = (
    "inputs.tree",
    "inputs.columns",
    "inputs.format",
    "inputs.generated",
    "output.store",
    "output.format",
    "output.options",
    "output.root",
    "output.bytes",
    "output.columns",
    "output.merge.events",  # ranges that are done may cross the new windows
)
"""Keys that cannot change while results made under the old value are kept."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A campaign that is in the ledger, with all that is needed to work on it."""

    ledger: Ledger
    record: CampaignRecord
    order: WorkOrder
    urls: tuple[str, ...]


def list_inputs(campaign: Campaign) -> Named:
    """All inputs in campaign order; `InputError` names a pattern that matches nothing, and what is there twice."""
    inputs = campaign.inputs
    if inputs.generated is not None:
        return Named(generated_urls(inputs.generated.events, inputs.generated.files), None)
    return find_inputs(
        inputs.files or (),
        tree=inputs.tree,
        credentials=input_credentials(campaign),
        keep_duplicates=inputs.duplicates is Duplicates.KEEP,
    )


def input_credentials(campaign: Campaign) -> str | None:
    """The name of the credentials for inputs."""
    return campaign.inputs.credentials or campaign.credentials


def source_spec(campaign: Campaign, named: Named) -> SourceSpec:
    """How to open the inputs of a campaign."""
    if campaign.inputs.generated is not None:
        return SourceSpec("generated")
    columns = tuple(campaign.inputs.columns) if campaign.inputs.columns else None
    format = source_format(named.urls, campaign.inputs.format)
    return SourceSpec(
        format,
        named.tree,
        columns,
        partitions=partition_types(named.urls, columns) if format == "parquet" else (),
        credentials=input_credentials(campaign),
    )


def settled(campaign: Campaign, spec: SourceSpec) -> Campaign:
    """The campaign as the ledger keeps it: the tree that was named with a file stands under `tree`."""
    inputs = campaign.inputs.model_copy(update={"tree": spec.tree})
    return campaign.model_copy(update={"inputs": inputs})


def open_campaign(
    campaign: Campaign, *, folder: Path, changed: Changed = Changed.STOP, asked_at: datetime | None = None
) -> Opened:
    """Write a new campaign into the ledger, or find the one that was begun under this name.

    `asked_at` is when the user asked for it, now if it is left out: what he has said of it since is his last word.

    Raises `CampaignChanged`, naming every difference, unless `changed` says what to do about it; `StoreTaken` if
    the store is another campaign's of this name, or shows more than the ledger knows; `CampaignLed` if that, or
    that it is to run at all, would change what another coordinator drives; `CampaignRests` for a rescue that came
    too late, or if it was paused or cancelled since it was asked for; and `PayloadError` or `InputError` before
    anything is written.
    """
    if not in_utf8(str(folder.absolute())):
        raise CampaignError(
            f"the working folder {folder.absolute()} has a name that is not UTF-8; run in another."
        )
    if changed in (Changed.KEEP, Changed.RESCUE):
        return _as_begun(campaign, folder=folder, changed=changed, asked_at=asked_at)
    code = find_payload(campaign.payload.callable, folder=folder)
    named = list_inputs(campaign)
    spec = source_spec(campaign, named)
    campaign = settled(campaign, spec)
    declared = schema_from_columns(campaign.output.columns) if campaign.output.columns else None
    ledger = create_ledger(campaign.ledger_url)
    store = open_store(campaign.store_url, credentials=campaign.credentials)
    record = find_record(ledger, campaign.name)
    urls = named.urls if record is None else as_known(ledger, record, named.urls, folder=folder)
    # Folders of another spelling may hold other partition columns than those with which it was begun.
    spec = source_spec(campaign, replace(named, urls=urls))
    if record is None:
        try:
            _take_place(store, campaign, changed=changed)
        except StoreTaken:
            if find_record(ledger, campaign.name) is None:
                raise
            # Somebody else began it just now, with this ledger: it is there, as if it had been before.
            return open_campaign(campaign, folder=folder, changed=changed, asked_at=asked_at)
    else:
        taken = why_taken(ledger, record)
        if taken is not None and changed is not Changed.RESTART:
            raise taken
        differences = compare(ledger, record, campaign, code, urls=urls, spec=spec, folder=folder)
        if (differences or taken) and changed is Changed.RESTART:
            if record.store_url != campaign.store_url and not is_marked(store, record):
                _take_place(store, campaign, changed=Changed.STOP)  # nobody was told what is there
            with leading(ledger, record.id):
                forget(ledger, record)
            record = None
        elif differences:
            _accept(ledger, record, campaign, code, differences=differences, changed=changed, store=store)
    if record is None:
        try:
            record = _begin(ledger, campaign, code, declared=declared)
        except NameTaken:  # somebody else began it just now: it is there, as if it had been before
            return open_campaign(campaign, folder=folder, changed=changed, asked_at=asked_at)
    hold_store(ledger, store, record)
    _want_to_run(ledger, record, asked_at=asked_at)
    record = ledger.campaign(campaign.name)
    return Opened(ledger, record, work_order(campaign, record, spec=spec, folder=folder), urls)


def _take_place(store: Store, campaign: Campaign, *, changed: Changed) -> None:
    """See that the store has room for a campaign that the ledger does not know, or make it."""
    suffix = merged_suffix(campaign.model_dump(mode="json"))
    if changed is Changed.RESTART:
        clear_store(store, campaign.name, suffix=suffix)
    else:
        check_store_is_free(store, campaign.name, suffix=suffix)


def _begin(ledger: Ledger, campaign: Campaign, code: PayloadCode, *, declared: pa.Schema | None) -> CampaignRecord:
    record = ledger.open_campaign(
        campaign.name,
        spec=campaign.model_dump(mode="json"),
        rules=campaign.rules,
        code=code,
        store_url=campaign.store_url,
    )
    if declared is not None:
        ledger.fix_schema(record.id, schema_to_bytes(declared))
    return record


def recall(ledger_url: str, name: str, *, folder: Path) -> Opened:
    """A campaign as the ledger has it, without its file. `LedgerError` if there is none."""
    ledger = open_ledger(ledger_url)
    record = ledger.campaign(name)
    campaign = parse_campaign(dict(record.spec), source=f"campaign '{name}' in the ledger")
    # As they were found then, also if a list of them is gone meanwhile.
    known = tuple(item.url for item in ledger.inputs(record.id))
    named = Named(known, campaign.inputs.tree) if known else list_inputs(campaign)
    spec, urls = source_spec(campaign, named), named.urls
    order = work_order(campaign, record, spec=spec, folder=folder)
    # As it was found now: the path in the campaign starts from where it was begun.
    return Opened(ledger, record, replace(order, ledger_url=ledger_address(ledger_url)), urls)


def _as_begun(campaign: Campaign, *, folder: Path, changed: Changed, asked_at: datetime | None) -> Opened:
    opened = recall(campaign.ledger, campaign.name, folder=folder)
    if (taken := why_taken(opened.ledger, opened.record)) is not None:
        raise taken
    hold_store(opened.ledger, store_of(opened.record), opened.record)
    wanted = opened.record.wanted
    if changed is Changed.RESCUE and wanted is not Wanted.RUN:
        raise CampaignRests(
            f"campaign '{campaign.name}' is {wanted} by now, so it is left alone. 'eventmill run' goes on with it."
        )
    _want_to_run(opened.ledger, opened.record, asked_at=asked_at)
    return replace(opened, record=opened.ledger.campaign(campaign.name))


def _want_to_run(ledger: Ledger, record: CampaignRecord, *, asked_at: datetime | None) -> None:
    """To run it is what the user wants now; unless it runs, and was just told to rest."""
    if record.wanted is not Wanted.RUN:
        said_at = ledger.wanted_at(record.id)
        if asked_at is not None and said_at is not None and said_at > asked_at:
            raise CampaignRests(
                f"campaign '{record.name}' was {record.wanted} while it was being started, so it is left alone. "
                "'eventmill run' goes on with it."
            )
        with leading(ledger, record.id):
            ledger.want(record.id, Wanted.RUN)


def reopen(opened: Opened) -> int:
    """ABANDONED -> READY; returns how many events are tried again. `CampaignLed` while somebody drives it."""
    with leading(opened.ledger, opened.record.id):
        return opened.ledger.reopen(opened.record.id)


def find_record(ledger: Ledger, name: str) -> CampaignRecord | None:
    """The campaign of that name, None if it was never begun."""
    with suppress(LedgerError):
        return ledger.campaign(name)
    return None


def work_order(campaign: Campaign, record: CampaignRecord, *, spec: SourceSpec, folder: Path) -> WorkOrder:
    """What travels to the workers."""
    return WorkOrder(
        campaign_id=record.id,
        campaign=record.name,
        folder=str(folder.absolute()),
        ledger_url=campaign.ledger_url,
        store_url=record.store_url,
        source=spec,
        payload=PayloadSpec(campaign.payload.callable, campaign.payload.parameters, record.payload),
        merge_events=record.rules.merge_events,
        columns=campaign.output.columns,
        format=campaign.output.spec,
        credentials=campaign.credentials,
        event_seconds=campaign.limits.event_seconds,
        memory_bytes=campaign.limits.memory,
        input_seconds=campaign.limits.input_patience.total_seconds(),
        setup_seconds=campaign.limits.setup_patience.total_seconds(),
    )


def as_known(ledger: Ledger, record: CampaignRecord, urls: Sequence[str], *, folder: Path) -> tuple[str, ...]:
    """The same inputs, each by the address under which the ledger knows it, if it knows it by any."""
    inputs = [item.url for item in ledger.inputs(record.id)]
    known = {object_of(locate(url, folder=str(folder))): url for url in inputs} | {url: url for url in inputs}
    return tuple(known.get(url) or known.get(object_of(locate(url, folder=str(folder))), url) for url in urls)


def compare(
    ledger: Ledger,
    record: CampaignRecord,
    campaign: Campaign,
    code: PayloadCode,
    *,
    urls: Sequence[str],
    spec: SourceSpec,
    folder: Path,
) -> tuple[str, ...]:
    """How the campaign, its payload and its inputs differ from what was begun, one clause each."""
    differences = [
        f"{key}: {old!r} -> {new!r}"
        for key, old, new in _changed_keys(record.spec, campaign.model_dump(mode="json"))
        if key != "inputs.files"
    ]
    if code.digest != record.payload:
        differences.append(f"the code of payload {code.callable}: {record.payload} -> {code.digest}")
    known = {item.url: item for item in ledger.inputs(record.id)}
    differences += [f"input {url} was removed" for url in known if url not in set(urls)]
    left_out = {incident.reason for incident in ledger.journal(record.id, "left out")}
    if known:
        differences += [f"input {url} was added" for url in urls if url not in known and not _named(url, left_out)]
    looked = _side_by_side(
        lambda url: tuple(_input_changes(known[url], spec, folder)), [url for url in urls if url in known]
    )
    differences += [text for texts in looked for text in texts]
    return tuple(differences)


def store_of(record: CampaignRecord) -> Store:
    """Where a campaign's outputs are."""
    return open_store(record.store_url, credentials=record.spec.get("credentials"))


def why_taken(ledger: Ledger, record: CampaignRecord) -> StoreTaken | None:
    """What `check_store_is_ours` finds of the campaign's store, None if it is this campaign's."""
    try:
        check_store_is_ours(ledger, store_of(record), record, suffix=merged_suffix(record.spec))
    except StoreTaken as error:
        return error
    return None


def forget(ledger: Ledger, record: CampaignRecord) -> None:
    """Throw a campaign away: all that the store holds under its name, and all that the ledger knows of it."""
    store = store_of(record)
    store.delete(merged.key for merged in ledger.merged_outputs(record.id))
    clear_store(store, record.name, suffix=merged_suffix(record.spec))
    ledger.forget_campaign(record.id)


def split(urls: Iterable[str], spec: SourceSpec, *, folder: str) -> tuple[tuple[NewInput, ...], tuple[str, ...]]:
    """Look into these inputs: what was learned, and one line for each that cannot be read.

    One that somebody was at who was ended is looked into in a process apart: only what ends that one, time after
    time, cannot be read.
    """

    def learn(url: str) -> NewInput | str:
        address = locate(url, folder=folder)
        try:
            suspect = is_suspect(address)
            with looking(address):
                learned = _look_apart(address, spec) if suspect else look(address, spec)
            return replace(learned, url=url)
        except InputError as error:
            return f"{url}: {error}"

    urls = list(urls)
    suspects = [address for url in urls if is_suspect(address := locate(url, folder=folder))]
    learned = _side_by_side(learn, urls)
    for address in suspects:  # not before all are through, or two such would end processes in turn for ever
        forget_suspect(address)
    found = tuple(item for item in learned if isinstance(item, NewInput))
    return found, tuple(line for line in learned if isinstance(line, str))


def _look_with(
    look_up: Any, look: Callable[[str, SourceSpec], NewInput], address: str, spec: SourceSpec
) -> NewInput:
    """What the process apart does: it asks for credentials as this one does."""
    if look_up is not None:
        look_up_with(look_up)
    return look(address, spec)


def _look_apart(address: str, spec: SourceSpec) -> NewInput:
    endings = []
    for _ in range(DEATHS):
        outcome = run_apart(_look_with, how_to_look_up(), look, address, spec)
        if not isinstance(outcome, Ended):
            return outcome
        endings.append(str(outcome))
    raise InputError(f"{DEATHS} processes ended while they looked into it ({', '.join(dict.fromkeys(endings))}).")


def _side_by_side(work: Callable[[str], Result], urls: Sequence[str]) -> list[Result]:
    """`work` for each url, for several remote ones at once: they wait for answers, local ones for the CPU."""
    remote = any("://" in url for url in urls)
    with ThreadPoolExecutor(LOOKS_AT_ONCE if remote else 1) as pool:
        tasks = [pool.submit(copy_context().run, work, url) for url in urls]
        return [task.result() for task in tasks]


def register(
    opened: Opened, campaign: Campaign, found: Iterable[NewInput], unreadable: Sequence[str]
) -> tuple[Input, ...]:
    """Put split inputs into the ledger, in campaign order; by policy refuse or leave out what is unreadable."""
    if unreadable:
        listed = "; ".join(unreadable[:5]) + ("; …" if len(unreadable) > 5 else "")
        if campaign.inputs.unreadable is Unreadable.STOP:
            raise InputError(
                f"{len(unreadable)} of {len(opened.urls)} inputs cannot be read: {listed} "
                "Mend them, or set 'inputs.unreadable: leave_out'."
            )
        opened.ledger.leave_out(opened.record.id, unreadable)
    found = list(found)
    check_alike(campaign, [*opened.ledger.layouts(opened.record.id), *layouts_of(found)])
    opened.ledger.leave_out(opened.record.id, unreadable_columns(found))
    place = {url: number for number, url in enumerate(opened.urls)}
    if campaign.inputs.duplicates is Duplicates.REFUSE:
        known = {incident.reason for incident in opened.ledger.journal(opened.record.id, WARNING)}
        seen = [(item.url, item.identity) for item in opened.ledger.inputs(opened.record.id)]
        for line in same_content([*seen, *((item.url, item.identity) for item in found)]):
            if line not in known:
                opened.ledger.note(opened.record.id, kind=WARNING, reason=line)
    return opened.ledger.add_inputs(opened.record.id, sorted(found, key=lambda item: place[item.url]))


def check_alike(campaign: Campaign, layouts: Sequence[SeenLayout]) -> None:
    """Raise `InputError` unless inputs with these layouts may be worked on together."""
    output = campaign.output
    has_types = output.columns is not None or output.format in ("hist", "bytes")
    if told := disagreement(layouts, results_have_types=has_types):
        raise InputError(told)


def same_content(inputs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """One line for each two `(url, identity)` whose servers say that they hold the same, by size and ETag."""
    first: dict[str, str] = {}
    lines = []
    for url, identity in inputs:
        if "etag=" in identity and (other := first.setdefault(identity, url)) != url:
            lines.append(
                f"{other} and {url} seem to be the same file twice ({identity}), and both are processed. If they "
                "are, name one of them; if both are meant, set 'inputs.duplicates: keep'."
            )
    return tuple(lines)


def _accept(
    ledger: Ledger,
    record: CampaignRecord,
    campaign: Campaign,
    code: PayloadCode,
    *,
    differences: Sequence[str],
    changed: Changed,
    store: Store,
) -> None:
    listed = "; ".join(differences)
    if changed is Changed.STOP:
        raise CampaignChanged(
            f"campaign '{record.name}' differs from what was begun: {listed}. Choose: '--changed accept' goes on "
            "with the new and keeps what is done, '--changed restart' throws it away and begins anew."
        )
    fixed = [text for text in differences if _is_fixed(text)]
    if is_marked(store, record):  # it was moved, or its address is written in another way
        fixed = [text for text in fixed if not text.startswith("output.store:")]
    if fixed:
        raise CampaignChanged(
            f"campaign '{record.name}' cannot go on with: {'; '.join(fixed)}. What is done was made under the old "
            "value: undo the change, give the campaign a new name, or use '--changed restart'."
        )
    with leading(ledger, record.id):
        ledger.change_campaign(
            record.id,
            spec=campaign.model_dump(mode="json"),
            rules=campaign.rules,
            code=code,
            store_url=campaign.store_url,
            reason=listed,
        )


def _is_fixed(difference: str) -> bool:
    if difference.startswith("input "):
        return not difference.endswith("was added")
    return difference.startswith(FIXED)


def _changed_keys(
    old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = ""
) -> Iterable[tuple[str, Any, Any]]:
    for key in dict.fromkeys([*old, *new]):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _changed_keys(before, after, f"{prefix}{key}.")
        elif json.dumps(before) != json.dumps(after):  # 1, 1.0 and True are equal to Python, not to a payload
            yield f"{prefix}{key}", before, after


def _input_changes(item: Input, spec: SourceSpec, folder: Path) -> Iterable[str]:
    if spec.format == "generated":
        return
    try:
        if identity_of(locate(item.url, folder=str(folder)), spec) == item.identity:
            return
        (now,), _ = split([item.url], spec, folder=str(folder))
    except (InputError, ValueError):
        yield f"input {item.url} cannot be read any more"
        return
    if (now.identity, now.events) != (item.identity, item.events):
        yield f"input {item.url} changed: {item.events} events then, {now.events} now"


def _named(url: str, lines: Iterable[str]) -> bool:
    return any(line.startswith(f"{url}:") for line in lines)
