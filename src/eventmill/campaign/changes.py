"""The differences between a campaign and what was begun under its name, and which changes can be accepted."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eventmill.campaign.choice import Changed
from eventmill.campaign.environment import KEY as ENVIRONMENT
from eventmill.campaign.environment import environment_changes
from eventmill.campaign.leadership import hold_leadership
from eventmill.campaign.split_inputs import side_by_side, split
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.ranges import Description, Input
from eventmill.core.records import CampaignRow, JournalKind, is_about
from eventmill.core.units import counted
from eventmill.core.work_order import PayloadCode, SourceSpec
from eventmill.errors import (
    CampaignChanged,
    InputError,
    PayloadError,
    StoreError,
)
from eventmill.ledger import Ledger
from eventmill.payloads.code_changes import code_changes
from eventmill.payloads.locate import check_installed, source_of
from eventmill.payloads.pool import stop_readers
from eventmill.sources import (
    Named,
    how_changed,
    identity_of,
)
from eventmill.sources.patterns import NOTHING
from eventmill.store import Store
from eventmill.work.block import locate
from eventmill.work.store_mark import is_marked

logger = logging.getLogger(__name__)


STORE = "output.store"

FIXED = (
    "inputs.tree",
    "inputs.columns",
    "inputs.format",
    "inputs.generated",
    "inputs.types",
    "inputs.csv",
    STORE,
    "output.format",
    "output.options",
    "output.root",
    "output.bytes",
    "output.columns",
    "output.merge.events",  # ranges that are done may cross the new windows
)
"""Keys that cannot change while results made under the old value are kept."""


TOLD_OTHERWISE = ("inputs.files", "payload.source", "inputs.reader.source", ENVIRONMENT)
"""Keys of which the differences are told by input, as other code, or by package."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One clause for people, and what decides: which `key` of the campaign file it is about, `input` or `code`.

    `is_fixed` tells that what is done cannot be kept with it.
    """

    key: str
    text: str
    is_fixed: bool


INPUT, REMOVED, CODE, READER = "input", "removed input", "code", "reader"
"""What no key of the campaign file says.

An input that is new, or no longer as it was begun; one that still is, but is no longer named; the payload's code,
and that of the reader.
"""


def compare(
    ledger: Ledger,
    record: CampaignRow,
    campaign: CampaignSpec,
    code: PayloadCode,
    *,
    named: Named,
    spec: SourceSpec,
    reader: PayloadCode | None,
    folder: Path,
) -> tuple[Difference, ...]:
    """How the campaign, its payload and its inputs differ from what was begun."""
    urls = named.urls
    now = campaign.model_dump(mode="json")
    differences = [
        Difference(key, f"{key}: {_shown(old)} -> {_shown(new)}", is_fixed=_is_fixed(key))
        for key, old, new in changed_keys(record.spec, now)
        if not _is_within(key, TOLD_OTHERWISE)
    ]
    differences += [
        Difference(key, f"{key}: {change}", is_fixed=False)
        for key, change in environment_changes(record.spec, now)
    ]
    if code.digest != record.payload:
        told = f"the code of payload {code.callable}: {_code_changes(ledger.code(record.payload), code)}"
        differences.append(Difference(CODE, told, is_fixed=False))
    if reader is not None and record.reader is not None and reader.digest != record.reader:
        told = f"the code of reader {reader.callable}: {_code_changes(ledger.code(record.reader), reader)}"
        differences.append(Difference(READER, told, is_fixed=False))
    reads_otherwise = any(each.key == READER or each.key.startswith("inputs.reader") for each in differences)
    known = {item.url: item for item in ledger.inputs(record.id)}
    removed = [url for url in known if url not in set(urls)]
    differences += side_by_side(lambda url: _removal(known[url], record, folder), removed)
    if known:
        lines = ledger.journal(record.id, JournalKind.LEFT_OUT)
        added = [url for url in urls if url not in known and not any(is_about(line, url) for line in lines)]
        differences += [Difference(INPUT, f"input {url} was added", is_fixed=False) for url in added]
    differences += _said_otherwise([known[url] for url in urls if url in known], named)
    looked = side_by_side(
        lambda url: tuple(_input_changes(known[url], spec, folder, look=reads_otherwise)),
        [url for url in urls if url in known],
    )
    stop_readers()  # this process reads nothing more
    differences += [Difference(INPUT, text, is_fixed=True) for texts in looked for text in texts]
    return tuple(differences)


def _code_changes(old: PayloadCode, new: PayloadCode) -> str:
    """Files, functions and values that differ; digests if the earlier ones are not known, as of a package."""
    if old.bundle is None or new.bundle is None:
        return f"{old.digest} -> {new.digest} (of an installed package only the digest is kept)"
    try:
        told = code_changes(source_of(old), source_of(new))
    except PayloadError:  # what the ledger has is damaged; a restart must be possible
        told = f"{old.digest} -> {new.digest}"
    return told or f"{old.entry} -> {new.entry}"


def accept_changes(
    ledger: Ledger,
    record: CampaignRow,
    campaign: CampaignSpec,
    code: PayloadCode,
    *,
    differences: Sequence[Difference],
    changed: Changed,
    store: Store,
    reader: PayloadCode | None,
    described: Mapping[str, Description],
) -> None:
    """Replace the campaign in the ledger by the new version, if the user chose that and it is possible.

    `described` is what is now said of known inputs, by address.

    Otherwise raises `CampaignChanged`, which names every difference.
    """
    refused = refusal(ledger, record, differences=differences, changed=changed, store=store)
    if refused is not None:
        raise refused
    with hold_leadership(ledger, record.id):
        ledger.change_campaign(
            record.id,
            spec=campaign.model_dump(mode="json"),
            rules=campaign.rules,
            code=code,
            store_url=campaign.store_url,
            reason=listed(differences),
            reader=reader,
            described=described,
        )
    keys = ", ".join(difference.key for difference in differences)  # no values: a parameter may be a secret
    logger.info("campaign '%s' continues with changes: %s", record.name, keys, extra={"campaign": record.name})


def is_nothing_lost(
    ledger: Ledger, record: CampaignRow, differences: Sequence[Difference], *, changed: Changed
) -> bool:
    """Whether the campaign can begin with the new version although nobody chose that: no range is committed.

    Changes that can be accepted, and were, keep what is known of failures and losses.
    """
    if not differences or ledger.counts(record.id).done:
        return False
    is_fixed = any(difference.is_fixed for difference in differences)
    return changed is Changed.STOP or (changed is Changed.ACCEPT and is_fixed)


def refusal(
    ledger: Ledger, record: CampaignRow, *, differences: Sequence[Difference], changed: Changed, store: Store
) -> CampaignChanged | None:
    """The error that names every difference and what can be done; None if the user chose what is possible."""
    fixed = [difference for difference in differences if difference.is_fixed]
    if any(difference.key == STORE for difference in fixed) and _is_ours(store, record, changed=changed):
        fixed = [difference for difference in fixed if difference.key != STORE]
    if changed is not Changed.STOP and not fixed:
        return None
    changed_code = {CODE: record.payload, READER: record.reader}
    digests = [changed_code.get(difference.key) for difference in differences]
    is_code_there = all(_is_there(ledger.code(digest)) for digest in digests if digest is not None)
    told = f"differs from what was begun: {listed(differences)}"
    if changed is not Changed.STOP:
        told = f"cannot continue with these changes: {listed(fixed)}"
    return CampaignChanged(f"campaign '{record.name}' {told}. {_choices(fixed, is_code_there=is_code_there)}")


def listed(differences: Sequence[Difference]) -> str:
    """All differences, in one clause."""
    return "; ".join(difference.text for difference in differences)


def _is_ours(store: Store, record: CampaignRow, *, changed: Changed) -> bool:
    """Whether the new address leads to this campaign's store: it was moved, or is spelled differently."""
    try:
        return is_marked(store, record)
    except StoreError:
        if changed is not Changed.STOP:
            raise
        return False  # a typo, perhaps: it is one of the differences to be named


def _is_there(code: PayloadCode) -> bool:
    """Whether the code with which a campaign was begun can still be run: it was shipped, or is still installed."""
    if code.bundle is None:
        try:
            check_installed(code)
        except PayloadError:
            return False
    return True


def _choices(fixed: Sequence[Difference], *, is_code_there: bool) -> str:
    """The ways to continue that will not be refused."""
    ways = ["'--changed restart' deletes what is done and begins again"]
    if is_code_there and not any(difference.key == INPUT for difference in fixed):
        ways.insert(0, "'--changed keep' continues with what was begun")
    if fixed:
        return (
            f"'--changed accept' cannot change this once a campaign has begun. {_undo(fixed)}, give the campaign "
            f"another name, or choose: {'; '.join(ways)}."
        )
    ways.insert(0, "'--changed accept' continues with the new version and keeps what is done")
    return f"Choose: {'; '.join(ways)}."


def _undo(fixed: Sequence[Difference]) -> str:
    keys = [difference.key for difference in fixed]
    inputs = "input" if len(keys) == 1 else "inputs"
    if set(keys) == {INPUT}:
        return f"Restore the old {inputs}"
    if set(keys) == {REMOVED}:
        return f"Add the removed {inputs} again"
    if {INPUT, REMOVED} & set(keys):
        return "Undo these changes"
    return f"Undo the change of {', '.join(keys)}"


def _shown(value: Any) -> str:
    """A value of a campaign file, as YAML has it; None is what a file does not set."""
    if value is None:
        return "not set"
    return repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _is_fixed(key: str) -> bool:
    return _is_within(key, FIXED)


def _is_within(key: str, others: Iterable[str]) -> bool:
    """Whether it is one of these keys, or a part of one."""
    return any(key == other or key.startswith(f"{other}.") for other in others)


def changed_keys(
    old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = ""
) -> Iterable[tuple[str, Any, Any]]:
    """The keys of two versions of a campaign that differ, with the old and the new value."""
    for key in dict.fromkeys([*old, *new]):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from changed_keys(before, after, f"{prefix}{key}.")
        elif json.dumps(before) != json.dumps(after):  # 1, 1.0 and True are equal to Python, not to a payload
            yield f"{prefix}{key}", before, after


def new_descriptions(ledger: Ledger, record: CampaignRow, named: Named) -> dict[str, Description]:
    """What is now said of known inputs, by address, where it differs from what was begun."""
    urls = set(named.urls)
    return {
        item.url: now
        for item in ledger.inputs(record.id)
        if item.url in urls and not _says_the_same(item.description, now := _said_of(item, named))
    }


def _said_of(item: Input, named: Named) -> Description:
    return named.described.get(item.url, NOTHING)


def _says_the_same(old: Description, new: Description) -> bool:
    return old.label == new.label and json.dumps(old.parameters) == json.dumps(new.parameters)


def _said_otherwise(known: Sequence[Input], named: Named) -> Iterable[Difference]:
    """Labels and parameters that differ, each change with its first input: a pattern may name thousands."""
    inputs: dict[str, list[str]] = {}
    for item in known:
        old, new = item.description, _said_of(item, named)
        changes = [("label", old.label, new.label)] if old.label != new.label else []
        changes += [
            (f"parameter '{key}'", *values) for key, *values in changed_keys(old.parameters, new.parameters)
        ]
        for what, before, now in changes:
            inputs.setdefault(f"{what}: {_shown(before)} -> {_shown(now)}", []).append(item.url)
    for change, urls in inputs.items():
        what, _, values = change.partition(": ")
        more = f" and {counted(len(urls) - 1, 'more input')}" if len(urls) > 1 else ""
        yield Difference("inputs.files", f"{what} of input {urls[0]}{more}: {values}", is_fixed=False)


def _removal(item: Input, record: CampaignRow, folder: Path) -> Difference:
    """An input that is no longer named; whether it could still be processed as it was begun."""
    spec = record.spec.get("inputs") or {}
    credentials = spec.get("credentials") or record.spec.get("credentials")
    source = SourceSpec("generated" if spec.get("generated") else "root", credentials=credentials)
    try:
        is_there = identity_of(locate(item.url, folder=str(folder)), source) == item.identity
    except (InputError, ValueError):
        is_there = False
    if is_there:
        return Difference(REMOVED, f"input {item.url} was removed from the campaign file", is_fixed=True)
    return Difference(INPUT, f"input {item.url} was removed", is_fixed=True)


def _input_changes(item: Input, spec: SourceSpec, folder: Path, *, look: bool) -> Iterable[str]:
    """How an input differs; `look` into it even if its file is the same, because it is read otherwise."""
    if spec.format == "generated":
        return
    try:
        if not look and _is_same_file(item, spec, folder):
            return
        (now,), _ = split([item.url], spec, folder=str(folder))
    except (InputError, ValueError):
        yield f"input {item.url} can no longer be read"
        return
    if (now.identity, now.events) != (item.identity, item.events):
        yield f"input {item.url} changed: {how_changed(item.events, item.identity, now.events, now.identity)}"


def _is_same_file(item: Input, spec: SourceSpec, folder: Path) -> bool:
    """Whether the file is as it was; not known of an input whose reader has an identity of its own for it."""
    try:
        return identity_of(locate(item.url, folder=str(folder)), spec) == item.identity
    except InputError:
        if spec.reader is None:
            raise
        return False
