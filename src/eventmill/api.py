"""What scripts, notebooks and the command line call: run a campaign, open one, try a payload, read results.

Prefect and Dask are imported by `run` alone, when it needs them: each takes seconds.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from eventmill.access import look_up_with
from eventmill.campaign import try_payload as trying
from eventmill.campaign.campaign import Campaign, MergedFile
from eventmill.campaign.changes import Changed
from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.leadership import hold_leadership
from eventmill.campaign.open import open_campaign as begin_or_resume
from eventmill.campaign.progress import Observation, Observer, Progress
from eventmill.campaign.try_payload import Trial
from eventmill.config.campaign_spec import CampaignSpec, as_campaign_spec
from eventmill.config.cluster_config import read_cluster
from eventmill.core.ledger_url import DEFAULT_LEDGER
from eventmill.errors import CampaignError, EventmillError, Interrupted, PrefectUnavailable
from eventmill.ledger import open_ledger
from eventmill.prefect_api import load_block
from eventmill.runtime.interrupts import heard, is_interrupted
from eventmill.runtime.scratch import choose_scratch, remove_abandoned
from eventmill.store import open_store

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from eventmill.formats.histograms import Histograms

__all__ = [
    "Campaign",
    "MergedFile",
    "Observer",
    "Progress",
    "RunResult",
    "Trial",
    "is_file",
    "leaving_no_scratch",
    "open_campaign",
    "read",
    "run",
    "try_payload",
]

Spec = CampaignSpec | Path | str | dict[str, Any]
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
    asked_at, changed, spec = asked_at or datetime.now(UTC), _changed(changed), as_campaign_spec(campaign)
    read_cluster(spec.cluster)
    open_store(spec.store_url, credentials=spec.credentials).check()
    opened = begin_or_resume(spec, folder=Path.cwd(), changed=changed, asked_at=asked_at)
    if reopen:
        opened.reopen()
    observer = observer or _notebook_view(opened)
    try:
        result = _run_embedded(
            spec, opened, workers=workers, changed=changed, observer=observer, asked_at=asked_at
        )
    except BaseException as error:
        if not isinstance(error, KeyboardInterrupt) and not is_interrupted():
            raise
        raise Interrupted(_what_is_kept(opened)) from None
    found = Campaign(opened.ledger, opened.read_row())
    return RunResult(found, result["events"], result["files"], result["manifest"])


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
    spec = as_campaign_spec(campaign)
    found = open_ledger(spec.ledger_url)
    return Campaign(found, found.campaign(spec.name))


def try_payload(campaign: Spec, *, events: int = 10, start: int = 0, input_number: int = 0) -> Trial:
    """Run the payload on a few events in this process, to debug it: `breakpoint()` and `print()` work.

    Needs no ledger, store or cluster. Raises `InputError` if there are no such events, and `PayloadError`, with
    the payload's own traceback, if it fails or returns what cannot be stored.

    Args:
        campaign: The campaign, the path of its file, or plain data.
        events: How many events.
        start: Position of the first one in its input, from 0.
        input_number: Which input, from 0.
    """
    return trying.try_payload(as_campaign_spec(campaign), events=events, start=start, input_number=input_number)


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


@contextmanager
def leaving_no_scratch() -> Iterator[None]:
    """However the run ends, remove the scratch folders of killed workers: no later worker may do so."""
    try:
        yield
    finally:
        for place in {choose_scratch(), Path(tempfile.gettempdir())}:
            remove_abandoned(place)


def _run_embedded(
    spec: CampaignSpec,
    opened: CampaignHandle,
    *,
    workers: int | None,
    changed: Changed,
    observer: Observer | None,
    asked_at: datetime,
) -> dict[str, Any]:
    """Run the process flow in this process, with its own Prefect API server unless one is configured."""
    from eventmill.prefect_api.server import api_server, new_password, ui_link

    # Prefect would print a traceback for every way a campaign can end; we say it in one line instead.
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    beside_ledger = Path(spec.ledger).parent if "://" not in spec.ledger else Path(".eventmill")
    server = api_server(beside_ledger / "prefect", password=new_password(), meanwhile=lambda: _prepare(spec))
    with (
        leaving_no_scratch(),
        _led_while_it_starts(server, opened) as url,
        Observation(opened, observer, watch_url=ui_link(url)) if observer is not None else nullcontext(),
    ):
        from prefect.exceptions import CancelledRun, Pause

        from eventmill.flows.process import process
        from eventmill.prefect_api.availability import NO_ANSWER, is_no_answer
        from eventmill.prefect_api.console import console_level
        from eventmill.prefect_api.terminal_run import at_server, handing_over, run_from_terminal

        # `begin_or_resume` has applied the choice already; only KEEP and RESCUE matter at each opening.
        keeps = changed in (Changed.KEEP, Changed.RESCUE)
        as_chosen = Changed.RESCUE if keeps else Changed.STOP
        try:
            with (
                at_server(url),
                handing_over(opened, asked_at=asked_at),
                console_level(os.environ["PREFECT_LOGGING_LEVEL"]),
            ):
                result: dict[str, Any] = run_from_terminal(
                    process, campaign=spec, changed=as_chosen, workers=workers
                )
            return result
        except (CancelledRun, Pause):  # cancelled or suspended in the UI; the ledger says which
            from eventmill.prefect_api.progress import plain_result

            return plain_result(opened, manifest=None)
        except NO_ANSWER as error:
            if not is_no_answer(error):
                raise
            raise PrefectUnavailable(
                f"the Prefect server at {url} does not answer any more ({type(error).__name__}). Nothing is lost: "
                "run again when it is back."
            ) from error


def _notebook_view(opened: CampaignHandle) -> Observer | None:
    """In the kernel of a notebook, what shows progress there. IPython is there already if this is one."""
    if "IPython" not in sys.modules:
        return None
    from eventmill.campaign.notebook_view import NotebookView, in_notebook

    return NotebookView(opened) if in_notebook() else None


@contextmanager
def _led_while_it_starts(server: AbstractContextManager[str], opened: CampaignHandle) -> Iterator[str]:
    """If two runs begin at once, one ends here, before its server conflicts with the server of the other."""
    with ExitStack() as stack:
        with hold_leadership(opened.ledger, opened.id):
            url = stack.enter_context(server)
        yield url


def _prepare(spec: CampaignSpec) -> None:
    """Import modules here and in the process that workers are forked from, both at once: each takes seconds."""
    from eventmill.cluster.dask_cluster import prepare_cluster

    prepare_cluster(spec)
    importlib.import_module("eventmill.flows.process")


def _what_is_kept(opened: CampaignHandle) -> str:
    kept = "committed work is kept"
    with suppress(EventmillError):
        counts = opened.counts()
        kept = f"{counts.done:,} of {counts.total:,} events are done"
    return f"interrupted by {heard().name}: {kept}. Run it again to continue."


def _changed(given: Changed | str) -> Changed:
    try:
        return Changed(given)
    except ValueError:
        raise CampaignError(f"changed='{given}' is not known; choose one of: {', '.join(Changed)}.") from None


def _brief(campaign: Spec) -> str:
    return str(campaign) if isinstance(campaign, str | Path) else "this campaign"
