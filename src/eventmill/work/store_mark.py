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
"""A larger file is not a mark."""

SHOWN_SECONDS = 10.0
"""So long a mark may be out of sight after it was written: while others write it, too, some servers show none."""

LOOK_SECONDS = 0.1

LISTED = 3
"""The number of files that a message lists."""

WHAT_TO_DO = (
    "If they are results of your own earlier campaign whose ledger was deleted or moved: restore that ledger, or "
    "delete them and begin again with '--changed restart'. If they belong to somebody else: give this campaign "
    "another name or store."
)


@dataclass(frozen=True, slots=True)
class Mark:
    """The mark in a store: the id of its campaign; for people, where and when it was begun."""

    campaign: str
    id: str
    ledger: str
    begun_at: str


def mark_key(campaign: str) -> str:
    """The key of the mark. Tools that read a folder of Parquet files skip names that begin with '_'."""
    return companion_key(campaign, MARK)


def read_mark(store: Store, campaign: str) -> Mark | None:
    """The mark for this campaign name; None if there is none. An unreadable mark belongs to no campaign."""
    try:
        with store.open(mark_key(campaign)) as reader:
            text = reader.read(MARK_BYTES)
    except CorruptOutput:
        return None
    try:
        said = json.loads(text)
        known = {name: str(said[name]) for name in ("id", "ledger", "begun_at")}
    except (ValueError, TypeError, LookupError, RecursionError):  # not JSON, not an object, or incomplete
        return Mark(campaign, id="", ledger="unknown", begun_at="at an unknown time")
    return Mark(campaign, **known)


def put_mark(ledger: WorkLedger, store: Store, record: CampaignRow) -> Mark | None:
    """Mark the store unless it is marked; returns the mark that is there now, perhaps of another campaign.

    If several do this at once, the first wins on stores that cannot overwrite; on others the last, as the losers
    find out later.
    """
    mark = Mark(
        record.name,
        record.uid,
        f"{socket.gethostname()}:{ledger.address}",
        f"{record.created_at:%Y-%m-%d %H:%M:%S} UTC",
    )
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
    """Whether the store has this campaign's mark, wherever it is and however its address is written."""
    mark = read_mark(store, record.name)
    return mark is not None and mark.id == record.uid


def shared_with(store: Store, campaign: str) -> str | None:
    """A warning if campaigns of other names were begun in the store; None if none was.

    Their files have other names, so nothing is overwritten, but who reads the whole folder reads all of them.
    """
    ending = f"-{MARK}"
    marked = [key[1 : -len(ending)] for key in store.sizes("_") if key.endswith(ending)]
    others = [f"'{name}'" for name in sorted(marked) if name != campaign]
    if not others:
        return None
    what = "campaign" if len(others) == 1 else "campaigns"
    return (
        f"the store {store.url} has results of the {what} {_listed(others)}, too: whoever reads "
        f"all files in it mixes them with those of '{campaign}'. Give each campaign a store of its own, or read "
        f"{campaign}-[0-9]*."
    )


def hold_store(ledger: WorkLedger, store: Store, record: CampaignRow) -> None:
    """Check that the store has this campaign's mark; write it if there is none.

    Raises `StoreTaken` if the mark belongs to another campaign. To be called before anything is published.
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
    """Raise `StoreTaken` if the store belongs to another campaign, or has files that this ledger does not know.

    Changes nothing. A store without a mark and without files belongs to nobody.
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
    if newest > (
        known := ledger.newest_attempt()
    ):  # read afterwards: an attempt is drawn before its outputs are stored
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
            f"the store {store.url} has {counted(len(files), 'merged file')} of a campaign '{campaign}' that this "
            f"ledger does not know ({_listed(files)}). {WHAT_TO_DO}"
        )


def merged_sizes(store: Store, campaign: str, *, suffix: str) -> dict[str, int]:
    """Key -> bytes of all files in the store that are named like a merged file of this campaign."""
    found = store.sizes(f"{campaign}-")
    return {key: size for key, size in found.items() if is_merged_name(key, campaign=campaign, suffix=suffix)}


def unknown_files(ledger: WorkLedger, store: Store, record: CampaignRow, *, suffix: str) -> tuple[str, ...]:
    """Keys of files named like merged files of this campaign that the ledger has not completed."""
    shown = merged_sizes(store, record.name, suffix=suffix)
    # Read afterwards: a merge is completed before its file is published.
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
        f"the store {store.url} has the results of a campaign '{mark.campaign}' that this ledger does not know; "
        f"it was begun {mark.begun_at} with the ledger {mark.ledger}. {WHAT_TO_DO}"
    )


def _listed(keys: tuple[str, ...] | list[str]) -> str:
    return ", ".join(keys[:LISTED]) + (", …" if len(keys) > LISTED else "")
