"""A campaign that is in a ledger: what it can be asked, and what its user may want of it. Works on none."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from eventmill.campaign.leadership import hold_leadership
from eventmill.core.ledger_url import as_option
from eventmill.core.outputs import MergedOutput
from eventmill.core.ranges import Input
from eventmill.core.records import CampaignRow, Counts, DesiredState, Incident, JournalKind
from eventmill.ledger import Ledger
from eventmill.reports.abandoned import AbandonedSpan, abandoned_spans
from eventmill.reports.report import Report
from eventmill.reports.report import report as make_report
from eventmill.reports.status import campaign_status
from eventmill.runtime.process_id import is_gone
from eventmill.store import Store, open_store

if TYPE_CHECKING:
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
    spans: tuple[tuple[str, int, int], ...]


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

    def outputs(self) -> tuple[MergedFile, ...]:
        """Its merged files that are shown, by their first events: the data of `eventmill outputs --json`."""
        return tuple(_as_file(self.record.store_url, file) for file in self.ledger.published_outputs(self.id))

    def abandoned(self) -> tuple[AbandonedSpan, ...]:
        """The events that were given up, each with its reason and its newest traceback, in campaign order."""
        return abandoned_spans(self.ledger, self.record)

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


def _as_file(store_url: str, file: MergedOutput) -> MergedFile:
    values = asdict(file)
    del values["merge_id"]  # the ledger's own number
    return MergedFile(path=f"{store_url}/{file.key}", **values)
