"""`eventmill audit`: compares the ledger with itself and with every stored file. Changes nothing."""

from __future__ import annotations

from rich.text import Text

from eventmill.api import Campaign
from eventmill.campaign.audit import Audit, ProblemKind
from eventmill.cli.arguments import AsJson, InLedger, Named, file_of, find_campaign
from eventmill.cli.output import print_json, screen, table
from eventmill.core.units import counted
from eventmill.errors import AuditFailed
from eventmill.reports.status import events_by_state
from eventmill.runtime.process_id import describe

EXACT = (
    "every event is counted once: merged, waiting for its merge, abandoned with a reason, or still to be processed"
)


def audit(campaign: Named, ledger: InLedger = None, json: AsJson = False) -> None:
    """Check that no event is lost or counted twice: compare the ledger with itself and with every stored file."""
    found = find_campaign(campaign, ledger=ledger)
    result = found.audit()
    events = events_by_state(result.counts)
    if json:
        print_json(
            {
                "campaign": found.name,
                "exact": result.is_exact,
                "events": events,
                "merged_files": result.merged_files,
                "rows": result.rows,
                "orphans": result.orphans,
                "problems": list(result.problems),
            }
        )
    elif result.is_exact:
        _show_exact(found.name, events, files=result.merged_files, rows=result.rows, orphans=result.orphans)
    else:
        out = screen()
        for problem in result.problems:
            out.print(problem)
    if not result.is_exact:
        raise AuditFailed(_failed(found, result, file=file_of(campaign)))


def _show_exact(name: str, events: dict[str, int], *, files: int, rows: int, orphans: int) -> None:
    out = screen()
    out.print(table(["events", name], list(events.items())))
    out.print(f"{counted(files, 'merged file')} with {counted(rows, 'row')}, read and compared with the ledger.")
    if orphans:
        what = "left by dead attempts, not counted; the next run deletes them"
        out.print(f"{counted(orphans, 'orphan')}: {what}.")
    out.print(Text.assemble(("exact", "bold green"), f": {EXACT}"))


def _failed(campaign: Campaign, result: Audit, *, file: str) -> str:
    text = f"campaign '{campaign.name}' is not exact: the audit found {counted(len(result.found), 'problem')}."
    if (leader := campaign.living_leader()) is not None:
        return f"{text} It is being run by {describe(leader)}, so files may change: audit again after the run."
    return " ".join([text, *(_mend(kind, file=file) for kind in ProblemKind if kind in result.kinds)])


def _mend(kind: ProblemKind, *, file: str) -> str:
    """What to do about problems of this kind; they are in the order in which to do it."""
    match kind:
        case ProblemKind.OWNER:
            return "First decide about the files in the store, as described above: until then, runs are refused."
        case ProblemKind.LEDGER:
            return (
                "No run repairs a ledger that contradicts itself or an intact file: keep both, report it, and "
                "compute the campaign again under another name."
            )
        case ProblemKind.UNREADABLE:
            return "Audit again when all files can be read."
        case ProblemKind.MERGED:
            return (
                f"Delete the merged files that are damaged; 'eventmill run {file}' then computes the events of "
                "all missing files again."
            )
        case ProblemKind.RANGE:
            return f"'eventmill run {file}' computes the events of damaged range outputs again."
        case ProblemKind.MARK:
            return f"'eventmill run {file}' writes the missing mark."
