"""The differences between a campaign and what was begun under its name, and which changes can be accepted."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from eventmill.campaign.leadership import hold_leadership
from eventmill.campaign.split_inputs import side_by_side, split
from eventmill.config.campaign_spec import (
    CampaignSpec,
)
from eventmill.core.ranges import Input
from eventmill.core.records import CampaignRow, JournalKind, is_about
from eventmill.core.work_order import PayloadCode, SourceSpec
from eventmill.errors import (
    CampaignChanged,
    InputError,
)
from eventmill.ledger import Ledger
from eventmill.sources import (
    how_changed,
    identity_of,
)
from eventmill.store import Store
from eventmill.work.block import locate
from eventmill.work.store_mark import is_marked

logger = logging.getLogger(__name__)


class Changed(StrEnum):
    """What to do when the campaign, its payload or an input differs from what was begun."""

    STOP = "stop"  # name the differences and stop
    ACCEPT = "accept"  # continue with the new version; what is done is kept
    RESTART = "restart"  # delete what is done and begin again
    KEEP = "keep"  # continue with what was begun, as the ledger has it; read nothing else
    RESCUE = "rescue"  # the same, but leave it alone if it was paused or cancelled


STORE = "output.store"

FIXED = (
    "inputs.tree",
    "inputs.columns",
    "inputs.format",
    "inputs.generated",
    STORE,
    "output.format",
    "output.options",
    "output.root",
    "output.bytes",
    "output.columns",
    "output.merge.events",  # ranges that are done may cross the new windows
)
"""Keys that cannot change while results made under the old value are kept."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One clause for people, and what decides: which `key` of the campaign file it is about, `input` or `code`.

    `is_fixed` tells that what is done cannot be kept with it.
    """

    key: str
    text: str
    is_fixed: bool


INPUT, CODE = "input", "code"
"""What no key of the campaign file says: the content of an input, the code of the payload."""


def compare(
    ledger: Ledger,
    record: CampaignRow,
    campaign: CampaignSpec,
    code: PayloadCode,
    *,
    urls: Sequence[str],
    spec: SourceSpec,
    folder: Path,
) -> tuple[Difference, ...]:
    """How the campaign, its payload and its inputs differ from what was begun."""
    differences = [
        Difference(key, f"{key}: {_shown(old)} -> {_shown(new)}", is_fixed=_is_fixed(key))
        for key, old, new in _changed_keys(record.spec, campaign.model_dump(mode="json"))
        if key != "inputs.files"
    ]
    if code.digest != record.payload:
        told = f"the code of payload {code.callable}: {record.payload} -> {code.digest}"
        differences.append(Difference(CODE, told, is_fixed=False))
    known = {item.url: item for item in ledger.inputs(record.id)}
    removed = [url for url in known if url not in set(urls)]
    differences += [Difference(INPUT, f"input {url} was removed", is_fixed=True) for url in removed]
    if known:
        lines = ledger.journal(record.id, JournalKind.LEFT_OUT)
        added = [url for url in urls if url not in known and not any(is_about(line, url) for line in lines)]
        differences += [Difference(INPUT, f"input {url} was added", is_fixed=False) for url in added]
    looked = side_by_side(
        lambda url: tuple(_input_changes(known[url], spec, folder)), [url for url in urls if url in known]
    )
    differences += [Difference(INPUT, text, is_fixed=True) for texts in looked for text in texts]
    return tuple(differences)


def accept_changes(
    ledger: Ledger,
    record: CampaignRow,
    campaign: CampaignSpec,
    code: PayloadCode,
    *,
    differences: Sequence[Difference],
    changed: Changed,
    store: Store,
) -> None:
    """Replace the campaign in the ledger by the new version, if the user chose that and it is possible.

    Otherwise raises `CampaignChanged`, which names every difference.
    """
    listed = _listed(differences)
    fixed = [difference for difference in differences if difference.is_fixed]
    if is_marked(store, record):  # the store was moved, or its address is spelled differently
        fixed = [difference for difference in fixed if difference.key != STORE]
    choices = _choices(differences, fixed, is_shipped=code.bundle is not None)
    if changed is Changed.STOP:
        raise CampaignChanged(f"campaign '{record.name}' differs from what was begun: {listed}. {choices}")
    if fixed:
        raise CampaignChanged(
            f"campaign '{record.name}' cannot continue with these changes: {_listed(fixed)}. {choices}"
        )
    with hold_leadership(ledger, record.id):
        ledger.change_campaign(
            record.id,
            spec=campaign.model_dump(mode="json"),
            rules=campaign.rules,
            code=code,
            store_url=campaign.store_url,
            reason=listed,
        )
    keys = ", ".join(difference.key for difference in differences)  # no values: a parameter may be a secret
    logger.info("campaign '%s' continues with changes: %s", record.name, keys, extra={"campaign": record.name})


def _listed(differences: Sequence[Difference]) -> str:
    return "; ".join(difference.text for difference in differences)


def _choices(differences: Sequence[Difference], fixed: Sequence[Difference], *, is_shipped: bool) -> str:
    """The ways to continue that will not be refused."""
    ways = ["'--changed restart' deletes what is done and begins again"]
    lost = any(difference.key == INPUT for difference in fixed)
    unlike = not is_shipped and any(difference.key == CODE for difference in differences)
    if not lost and not unlike:  # else what was begun is no longer there
        ways.insert(0, "'--changed keep' continues with what was begun")
    if fixed:
        undo = "Restore the old input" if lost else f"Undo the change of {', '.join(each.key for each in fixed)}"
        if lost and len(fixed) > 1:
            undo = "Undo these changes"
        return (
            f"'--changed accept' would mix results of both versions. {undo}, give the campaign another name, or "
            f"choose: {'; '.join(ways)}."
        )
    ways.insert(0, "'--changed accept' continues with the new version and keeps what is done")
    return f"Choose: {'; '.join(ways)}."


def _shown(value: Any) -> str:
    """A value of a campaign file, as YAML has it; None is what a file does not set."""
    if value is None:
        return "not set"
    return repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _is_fixed(key: str) -> bool:
    return any(key == fixed or key.startswith(f"{fixed}.") for fixed in FIXED)


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
        yield f"input {item.url} can no longer be read"
        return
    if (now.identity, now.events) != (item.identity, item.events):
        yield f"input {item.url} changed: {how_changed(item.events, item.identity, now.events, now.identity)}"
