"""Which campaign owns a store: marked before the first output, checked again before a file is published.

Two campaigns with the same name would write files with the same names: with a second ledger, after the ledger was
deleted, or with an old copy of it. So each campaign has a random id, which the store holds in
`_<campaign>-campaign.json`, and every file in the store under the campaign's name must be known to the ledger.
What this cannot detect is in docs/decisions/15-store-ownership.md.
"""

from __future__ import annotations

import json
import socket
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from eventmill.core.keys import COMPANIONS, HIDDEN_FOLDERS, attempt_of, companion_key, is_merged_name
from eventmill.core.records import CampaignRow
from eventmill.core.units import counted
from eventmill.errors import CorruptOutput, StoreError, StoreTaken
from eventmill.ledger.protocol import WorkLedger
from eventmill.store import Store

MARK = "campaign.json"

MARK_BYTES = 100_000
"""More is no mark."""

SHOWN_SECONDS = 10.0
"""So long a mark may be out of sight after it was written: while others write it, too, some servers show none."""

LOOK_SECONDS = 0.1

LISTED = 3
"""Files that a message names."""

WHAT_TO_DO = (
    "Give this campaign another name or store, or delete the results of the other one with '--changed restart'."
)


@dataclass(frozen=True, slots=True)
class Mark:
    """What a store says of the campaign that it belongs to: its id; where and when it was begun, for people."""

    campaign: str
    id: str
    ledger: str
    begun_at: str


def mark_key(campaign: str) -> str:
    """Where the mark stands. Tools that read a folder of Parquet skip names with a '_'."""
    return companion_key(campaign, MARK)


def read_mark(store: Store, campaign: str) -> Mark | None:
    """The mark of the campaign of that name, None if there is none. One that cannot be read is nobody's."""
    try:
        with store.open(mark_key(campaign)) as reader:
            text = reader.read(MARK_BYTES)
    except CorruptOutput:
        return None
    try:
        said = json.loads(text)
        known = {name: str(said[name]) for name in ("id", "ledger", "begun_at")}
    except (ValueError, TypeError, LookupError, RecursionError):  # no JSON, no object, something missing
        return Mark(campaign, id="", ledger="unknown", begun_at="at an unknown time")
    return Mark(campaign, **known)


def put_mark(ledger: WorkLedger, store: Store, record: CampaignRow) -> Mark | None:
    """Mark the store unless it is marked; returns the mark that stands there now, which may be another one's.

    The first of several wins where the store cannot overwrite; elsewhere the last, which the others see later.
    """
    mark = Mark(record.name, record.uid, f"{socket.gethostname()}:{ledger.address}", str(record.created_at))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / MARK
        path.write_text(json.dumps(asdict(mark), indent=2) + "\n", encoding="utf-8")
        try:
            store.put(mark_key(record.name), path)
        except StoreError as error:
            if not isinstance(error.__cause__, FileExistsError) and read_mark(store, record.name) is None:
                raise
    return read_mark(store, record.name)


def is_marked(store: Store, record: CampaignRow) -> bool:
    """Whether the store bears this campaign's mark, wherever it is by now and however its address is written."""
    mark = read_mark(store, record.name)
    return mark is not None and mark.id == record.uid


def hold_store(ledger: WorkLedger, store: Store, record: CampaignRow) -> None:
    """See that the store bears this campaign's mark, and put it there if it bears none.

    Raises `StoreTaken` if it bears another one's. To be called before anything is shown.
    """
    deadline = time.monotonic() + SHOWN_SECONDS
    while (mark := read_mark(store, record.name) or put_mark(ledger, store, record)) is None:
        if time.monotonic() > deadline:
            raise StoreError(
                f"{mark_key(record.name)} was written to {store.url}, but cannot be found there. Try again."
            )
        time.sleep(LOOK_SECONDS)
    if mark.id != record.uid:
        raise StoreTaken(_taken(store, mark))


def check_store_is_ours(ledger: WorkLedger, store: Store, record: CampaignRow, *, suffix: str) -> None:
    """Raise `StoreTaken` if the store is another campaign's, or shows more than this ledger has done.

    Changes nothing. A store without a mark and without files is anybody's.
    """
    mark = read_mark(store, record.name)
    if mark is not None and mark.id != record.uid:
        raise StoreTaken(_taken(store, mark))
    if unknown := unknown_files(ledger, store, record, suffix=suffix):
        raise StoreTaken(
            f"the store {store.url} holds {counted(len(unknown), 'merged file')} of campaign '{record.name}' that "
            f"this ledger does not know ({_listed(unknown)}): either the ledger is an older copy, or something "
            "else wrote them. Restore the newer ledger or move the files away; '--changed restart' deletes them "
            "and begins again."
        )
    newest = max((a for key in hidden_keys(store, record.name) if (a := attempt_of(key)) is not None), default=0)
    if newest > (known := ledger.newest_attempt()):  # asked afterwards: an attempt is drawn before its outputs
        raise StoreTaken(
            f"the store {store.url} holds outputs of attempt {newest} of campaign '{record.name}', but this "
            f"ledger knows only {known} attempts: it is an older copy. Restore the newer ledger, or start over "
            "with '--changed restart'."
        )


def check_store_is_free(store: Store, campaign: str, *, suffix: str) -> None:
    """Raise `StoreTaken` if a campaign of this name, which the ledger does not know, was begun in the store."""
    mark = read_mark(store, campaign)
    if mark is not None:
        raise StoreTaken(_taken(store, mark))
    if files := list(merged_sizes(store, campaign, suffix=suffix)):
        raise StoreTaken(
            f"the store {store.url} holds {counted(len(files), 'merged file')} of another campaign '{campaign}' "
            f"({_listed(files)}), which this ledger does not know. {WHAT_TO_DO}"
        )


def merged_sizes(store: Store, campaign: str, *, suffix: str) -> dict[str, int]:
    """Bytes by key of all files in the store that bear the name of a merged file of this campaign."""
    found = store.sizes(f"{campaign}-")
    return {key: size for key, size in found.items() if is_merged_name(key, campaign=campaign, suffix=suffix)}


def unknown_files(ledger: WorkLedger, store: Store, record: CampaignRow, *, suffix: str) -> tuple[str, ...]:
    """Keys of merged files of this campaign's name that the ledger has not completed."""
    shown = merged_sizes(store, record.name, suffix=suffix)
    # Asked afterwards: a merge is completed before its file is shown.
    known = {file.key for file in ledger.merged_outputs(record.id)}
    return tuple(sorted(key for key in shown if key not in known))


def clear_store(store: Store, campaign: str, *, suffix: str) -> None:
    """Delete all that a campaign of this name has in the store, whoever made it; its mark last."""
    keys = [*merged_sizes(store, campaign, suffix=suffix), *hidden_keys(store, campaign)]
    store.delete([*keys, *(companion_key(campaign, what) for what in COMPANIONS)])
    store.delete([mark_key(campaign)])


def hidden_keys(store: Store, campaign: str) -> list[str]:
    """Range outputs and staged files of a campaign of this name."""
    return [key for folder in HIDDEN_FOLDERS for key in store.keys(f"{folder}/{campaign}")]


def _taken(store: Store, mark: Mark) -> str:
    return (
        f"the store {store.url} belongs to another campaign '{mark.campaign}', begun {mark.begun_at} with the "
        f"ledger {mark.ledger}. {WHAT_TO_DO}"
    )


def _listed(keys: tuple[str, ...] | list[str]) -> str:
    return ", ".join(keys[:LISTED]) + (", …" if len(keys) > LISTED else "")
