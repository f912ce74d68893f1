"""What scripts, notebooks and the command line call: run a campaign, open one, try a payload, read results.

It imports only what finds a campaign in its ledger: a command that shows one answers at once. What the others need
is imported when they are called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from eventmill.access import look_up_with
from eventmill.campaign.campaign import Campaign, MergedFile
from eventmill.campaign.choice import USERS, Changed
from eventmill.core.ledger_url import DEFAULT_LEDGER
from eventmill.core.meant import did_you_mean
from eventmill.core.python_words import says_python
from eventmill.errors import CampaignError, LedgerError
from eventmill.ledger import open_ledger
from eventmill.prefect_api import load_block

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from eventmill.campaign.progress import Observer
    from eventmill.campaign.try_payload import Trial
    from eventmill.config.campaign_spec import CampaignSpec
    from eventmill.formats.histograms import Histograms

__all__ = [
    "Campaign",
    "MergedFile",
    "RunResult",
    "campaigns",
    "is_file",
    "open_campaign",
    "read",
    "run",
    "try_payload",
]

Spec: TypeAlias = "CampaignSpec | Path | str | dict[str, Any]"
"""A campaign as itself, as the path of its file, or as plain data."""

look_up_with(load_block)  # credentials that are named are Prefect blocks


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended: its campaign, events by state, how many merged files there are.

    `manifest` is the key of the manifest in the store; None if the campaign was paused or cancelled.
    """

    campaign: Campaign
    events: Mapping[str, int]
    files: int
    manifest: str | None

    def as_data(self) -> dict[str, Any]:
        """The same as plain data, with the campaign's name: what `eventmill run --json` prints."""
        return {
            "campaign": self.campaign.name,
            "events": dict(self.events),
            "files": self.files,
            "manifest": self.manifest,
        }


@says_python
def run(
    campaign: Spec,
    *,
    workers: int | None = None,
    changed: Changed | str = Changed.STOP,
    reopen: bool = False,
    observer: Observer | None = None,
    asked_at: datetime | None = None,
) -> RunResult:
    """Begin a campaign or go on with it, on this machine or on the cluster that it names, until it ends.

    Raises `CampaignChanged`, naming each difference, if the campaign, its payload or an input is not what was
    begun; `CampaignIncomplete` if nothing is left to do and the target is missed; `CampaignLocked` while another
    coordinator drives it; `CampaignPaused` if it was paused or cancelled while it was being started;
    `CampaignAborted` if going on is useless; `Interrupted` after Ctrl-C; and whatever else is below
    `EventmillError`. In all of these cases what is committed is kept, and running it again goes on.

    Args:
        campaign: The campaign, the path of its file, or plain data such as a file holds.
        workers: Workers for this run, in place of the campaign's.
        changed: What to do about a difference, as `eventmill run --changed`: stop, accept, restart or keep.
        reopen: Try abandoned events again.
        observer: Is told of progress about twice a second, from a thread of its own. If it is left out, a notebook
            shows progress and the map of events in the output of the cell.
        asked_at: When the user asked for it, now if it is left out: what was said of the campaign since then, such
            as `eventmill pause`, is the last word.
    """
    from eventmill.launch import launch

    found, result = launch(
        campaign,
        workers=workers,
        changed=_changed(changed),
        reopen=reopen,
        observer=observer,
        asked_at=asked_at or datetime.now(UTC),
    )
    return RunResult(found, result["events"], result["files"], result["manifest"])


@says_python
def open_campaign(campaign: Spec, *, ledger: str | Path | None = None) -> Campaign:
    """A campaign that was begun, by its name in a ledger, its file, or itself. Creates nothing, starts nothing.

    Raises `CampaignError` for an unusable file, and `LedgerError` if there is no such ledger or campaign.

    Args:
        campaign: Its name; or a path (ending in .yaml or .yml, or in a folder), or the campaign itself.
        ledger: The ledger of a campaign that is named, `.eventmill/ledger.sqlite` if left out. The others name
            their own.
    """
    if isinstance(campaign, str) and not is_file(campaign):
        found = open_ledger(str(ledger or DEFAULT_LEDGER))
        return Campaign(found, found.campaign(campaign))
    if ledger is not None:
        raise CampaignError(
            f"'ledger' can only be given with the name of a campaign; {_brief(campaign)} names its own ledger."
        )
    if isinstance(campaign, str | Path) and (said := _said_by(Path(campaign))) is not None:
        name, place = said
        with suppress(LedgerError):  # it is not there: perhaps because of what else is wrong in the file
            found = open_ledger(place)
            return Campaign(found, found.campaign(name))
    from eventmill.config.campaign_spec import as_campaign_spec

    spec = as_campaign_spec(campaign)
    found = open_ledger(spec.ledger_url)
    return Campaign(found, found.campaign(spec.name))


def _said_by(file: Path) -> tuple[str, str] | None:
    """Name and ledger in a campaign file, whose other keys do not matter to who looks at what was begun.

    None if they are not there as plain words: then the whole file is read, which says what is wrong.
    """
    from eventmill.config.yaml_file import YamlError, read_yaml

    try:
        data = read_yaml(file)
    except (OSError, UnicodeDecodeError, YamlError):
        return None
    if not isinstance(data, dict):
        return None
    name, place = data.get("name"), data.get("ledger", DEFAULT_LEDGER)
    return (name, place) if isinstance(name, str) and isinstance(place, str) and place else None


@says_python
def campaigns(ledger: str | Path | None = None) -> tuple[Campaign, ...]:
    """All campaigns of a ledger, in the order in which they were begun; `LedgerError` if there is no ledger.

    Args:
        ledger: The ledger, `.eventmill/ledger.sqlite` if left out.
    """
    found = open_ledger(str(ledger or DEFAULT_LEDGER))
    return tuple(Campaign(found, record) for record in found.campaigns())


@says_python
def try_payload(campaign: Spec, *, events: int = 10, start: int = 0, input: int | str = 0) -> Trial:
    """Run the payload on a few events in this process, to debug it: `breakpoint()` and `print()` work.

    Needs no ledger, store or cluster. Raises `InputError` if there are no such events, and `PayloadError`, with
    the payload's own traceback, if it fails or returns what cannot be stored.

    Args:
        campaign: The campaign, the path of its file, or plain data.
        events: How many events.
        start: Position of the first one in its input, from 0.
        input: Which input: its number, from 0, or its address or file name.
    """
    from eventmill.campaign import try_payload as trying
    from eventmill.campaign.inputs import paths_from
    from eventmill.config.campaign_spec import as_campaign_spec

    with paths_from(campaign):
        return trying.try_payload(as_campaign_spec(campaign), events=events, start=start, input=input)


@overload
def read(
    campaign: Campaign | Spec,
    columns: Sequence[str] | None = None,
    *,
    as_: Literal["arrow"] = "arrow",
    partial: bool = False,
    ledger: str | Path | None = None,
) -> pa.Table: ...
@overload
def read(
    campaign: Campaign | Spec,
    columns: Sequence[str] | None = None,
    *,
    as_: Literal["pandas"],
    partial: bool = False,
    ledger: str | Path | None = None,
) -> pd.DataFrame: ...
@overload
def read(
    campaign: Campaign | Spec,
    columns: Sequence[str] | None = None,
    *,
    as_: Literal["awkward"],
    partial: bool = False,
    ledger: str | Path | None = None,
) -> Any: ...
@overload
def read(
    campaign: Campaign | Spec,
    columns: Sequence[str] | None = None,
    *,
    as_: Literal["hist"],
    partial: bool = False,
    ledger: str | Path | None = None,
) -> Histograms: ...
@says_python
def read(
    campaign: Campaign | Spec,
    columns: Sequence[str] | None = None,
    *,
    as_: str = "arrow",
    partial: bool = False,
    ledger: str | Path | None = None,
) -> Any:
    """The results of a campaign, from wherever its store is: all that is merged by now.

    Files come by their first events. With `merge.bytes` a late file may hold events on both sides of an earlier
    one.

    'arrow' gives a `pyarrow.Table`, 'pandas' a `DataFrame`, 'awkward' an awkward array of records; 'hist' gives
    histograms by name, added over all files. All of it is held in memory: choose columns, or, for more than fits,
    open the files of `Campaign.merged_files` one by one. Raises `CampaignError` if the campaign's format cannot
    give that or has no such column, `LedgerError` if there is nothing yet, `StoreError` if a file cannot be read,
    `AccessError` if a package is missing.

    Args:
        campaign: The campaign as `open_campaign` gives or takes it.
        columns: The columns that are wanted, in that order, or names of histograms; all if left out.
        as_: 'arrow', 'pandas' or 'awkward' for `format: parquet` and `format: root`; 'hist' for `format: hist`.
        partial: Also what is committed and not merged yet, after that, such as while the campaign runs.
        ledger: The ledger of a campaign that is named.
    """
    from eventmill.campaign.results import read_results

    opened = campaign if isinstance(campaign, Campaign) else open_campaign(campaign, ledger=ledger)
    return read_results(opened, as_=as_, columns=columns, partial=partial)


def is_file(named: str) -> bool:
    """Whether `named` is a campaign file. A folder may have the name of a campaign, since outputs often do."""
    path = Path(named)
    return path.suffix in (".yaml", ".yml") or len(path.parts) != 1 or path.is_file()


def _changed(given: Changed | str) -> Changed:
    try:
        return Changed(given)
    except ValueError:
        told = f"changed='{given}' is not known{did_you_mean(given, USERS)}; choose one of: {', '.join(USERS)}."
        raise CampaignError(told) from None


def _brief(campaign: Spec) -> str:
    return str(campaign) if isinstance(campaign, str | Path) else "this campaign"
