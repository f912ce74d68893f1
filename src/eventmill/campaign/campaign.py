"""A campaign that is in a ledger: what it can be asked, and what its user may want of it. Works on none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from eventmill.campaign.leadership import hold_leadership
from eventmill.core.ledger_url import as_option
from eventmill.core.outputs import MergedOutput
from eventmill.core.python_words import methods_say_python
from eventmill.core.ranges import Input
from eventmill.core.records import CampaignRow, Counts, DesiredState, Incident, JournalKind
from eventmill.errors import AccessError
from eventmill.ledger import Ledger
from eventmill.reports import frames
from eventmill.reports.abandoned import AbandonedSpan, abandoned_spans
from eventmill.reports.plots import COURSE, draw_course, draw_map
from eventmill.reports.report import Report
from eventmill.reports.report import report as make_report
from eventmill.reports.status import campaign_status
from eventmill.runtime.process_id import is_gone
from eventmill.store import Store, open_store

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from eventmill.campaign.audit import Audit


@dataclass(frozen=True, slots=True)
class MergedFile:
    """A merged file: where it is, how many events and rows it has, its size and SHA-256, and which events.

    `key` is its name in the store; `spans` are `(input, start, stop)`, half-open, in the order of its rows.
    """

    path: str
    key: str
    bytes: int
    sha256: str
    rows: int
    events: int
    spans: tuple[tuple[str, int, int], ...] = field(repr=False)


@methods_say_python
@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign in a ledger, by whoever it is driven. Its answers are those of this moment.

    `record` is its row as it was when it was opened. Every method may raise `LedgerError`.
    """

    ledger: Ledger
    record: CampaignRow

    def __repr__(self) -> str:
        return f"<Campaign '{self.name}', results in {self.record.store_url}>"

    @property
    def name(self) -> str:
        """Its name in the ledger, and what the names of its files begin with."""
        return self.record.name

    @property
    def id(self) -> int:
        """Its number in the ledger."""
        return self.record.id

    @property
    def store(self) -> Store:
        """Where its outputs are."""
        return store_of(self.record)

    def status(self) -> dict[str, Any]:
        """How far it is, who works on it and what it has cost: the data of `eventmill status --json`."""
        return campaign_status(self.ledger, self.read_row())

    def merged_files(self) -> tuple[MergedFile, ...]:
        """Its merged files that are shown, by their first events: the data of `eventmill outputs --json`."""
        return tuple(_as_file(self.record.store_url, file) for file in self.ledger.published_outputs(self.id))

    def abandoned_spans(self) -> tuple[AbandonedSpan, ...]:
        """The events that were given up, each with its reason and its newest traceback, in campaign order."""
        return abandoned_spans(self.ledger, self.record)

    def events(self) -> pd.DataFrame:
        """One row for each input: its events, and how many are in each state."""
        return frames.events(self.ledger, self.record)

    def spans(self) -> pd.DataFrame:
        """One row for each span of events in one state: who holds it, in which file it is, why it is abandoned."""
        return frames.spans(self.ledger, self.record)

    def outputs(self) -> pd.DataFrame:
        """One row for each merged file that is shown: path, key, events, rows, bytes, SHA-256, spans."""
        return frames.outputs(self.ledger, self.record)

    def abandoned(self) -> pd.DataFrame:
        """One row for each span of events that was given up: its reason, and its newest traceback."""
        return frames.abandoned(self.ledger, self.record)

    def losses(self) -> pd.DataFrame:
        """One row for each loss: when, which worker, over which events, why it was noticed."""
        return frames.losses(self.ledger, self.record)

    def failures(self) -> pd.DataFrame:
        """One row for each run of the payload that failed, with its traceback; failed set-ups, too."""
        return frames.failures(self.ledger, self.record)

    def workers(self) -> pd.DataFrame:
        """One row for each worker that was ever seen: what it does now, its losses and failures."""
        return frames.workers(self.ledger, self.record)

    def samples(self) -> pd.DataFrame:
        """How it went: events done, rate, workers, slots, losses, length of ranges, over the seconds."""
        return frames.samples(self.ledger, self.record)

    def read(self, columns: Sequence[str] | None = None, *, as_: str = "arrow", partial: bool = False) -> Any:
        """Its results, as `em.read` reads them."""
        from eventmill.campaign.results import read_results  # what reads formats takes its time to import

        return read_results(self, as_=as_, columns=columns, partial=partial)

    def plot_progress(self, axes: Sequence[Axes] | None = None) -> Sequence[Axes]:
        """Draw workers, throughput and losses over time, into three matplotlib axes or new ones; returns them.

        Raises `AccessError` if matplotlib is not installed.
        """
        chosen = list(axes) if axes is not None else _new_axes(COURSE, width=8.0, height=6.5)
        draw_course(self.report(), chosen)
        return chosen

    def plot_map(self, axes: Axes | None = None) -> Axes:
        """Draw the map of events, a strip for each input, into matplotlib axes or new ones; returns them.

        More than 24 inputs share strips. Raises `AccessError` if matplotlib is not installed.
        """
        from eventmill.reports.event_map import event_map  # with numpy, which commands do without

        strips = event_map(self.inputs(), self.ledger.state_spans(self.id))
        chosen = axes if axes is not None else _new_axes(1, width=8.0, height=1.0 + 0.3 * len(strips))[0]
        draw_map(strips, chosen)
        return chosen

    def _repr_html_(self) -> str:
        """What a notebook shows of it: state, events, map, newest failures and losses."""
        from eventmill.reports.overview import overview
        from eventmill.reports.page import as_html

        return as_html(overview(self.ledger, self.read_row()))

    def report(self) -> Report:
        """What it cost: CPU by what became of it, goodput, losses, idle time, range lengths."""
        return make_report(self.ledger, self.record)

    def audit(self) -> Audit:
        """Compare ledger and store, reading every merged file; `is_exact` if no event is lost or there twice.

        Raises `StoreError` if the store cannot be read.
        """
        from eventmill.campaign.audit import audit as audit_campaign  # it knows formats and the campaign file

        return audit_campaign(self.ledger, self.store, self.record)

    def pause(self) -> None:
        """Let workers finish and hand in the ranges they compute, and end the run. `run` goes on with it."""
        self.ledger.set_desired_state(self.id, DesiredState.PAUSED)

    def cancel(self) -> None:
        """Stop at once: ranges that are being computed are dropped, what is committed stays. `run` goes on."""
        self.ledger.set_desired_state(self.id, DesiredState.CANCELLED)

    def reopen(self) -> int:
        """Have abandoned events tried again by the next run; returns how many.

        Raises `CampaignLocked` while a coordinator drives the campaign.
        """
        with hold_leadership(self.ledger, self.id):
            return self.ledger.reopen(self.id)

    def read_row(self) -> CampaignRow:
        """Its row as the ledger has it now."""
        return self.ledger.campaign(self.name)

    def desired_state(self) -> DesiredState:
        """What the user wants of it now."""
        return self.read_row().desired_state

    def counts(self) -> Counts:
        """Its events by state."""
        return self.ledger.counts(self.id)

    def inputs(self) -> tuple[Input, ...]:
        """Its inputs, in campaign order, as far as they have been looked into."""
        return self.ledger.inputs(self.id)

    def journal(self, *kinds: JournalKind) -> tuple[Incident, ...]:
        """What happened to it, oldest first; of these kinds only, if some are named."""
        return self.ledger.journal(self.id, *kinds)

    def merged_outputs(self) -> tuple[MergedOutput, ...]:
        """Its merged files as the ledger knows them."""
        return self.ledger.merged_outputs(self.id)

    @property
    def as_argument(self) -> str:
        """What a command such as `eventmill status` is given to find it: its name, and its ledger if need be."""
        return f"{self.name}{as_option(self.ledger.address)}"

    def living_leader(self) -> str | None:
        """The process that drives it, unless that is known to be gone."""
        leader = self.ledger.leader(self.id)
        return None if leader is None or is_gone(leader) else leader


def store_of(record: CampaignRow) -> Store:
    """Where a campaign's outputs are."""
    return open_store(record.store_url, credentials=record.spec.get("credentials"))


def _new_axes(number: int, *, width: float, height: float) -> list[Axes]:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise AccessError(f"a plot needs matplotlib ({error}): pip install 'eventmill[plot]'.") from None
    _, axes = plt.subplots(number, 1, sharex=True, squeeze=False, figsize=(width, height), layout="constrained")
    return list(axes[:, 0])


def _as_file(store_url: str, file: MergedOutput) -> MergedFile:
    values = asdict(file)
    del values["merge_id"]  # the ledger's own number
    return MergedFile(path=f"{store_url}/{file.key}", **values)
