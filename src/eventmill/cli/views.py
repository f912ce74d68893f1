"""`status`, `outputs` and `audit`: what the ledger and the store say of a campaign. They change nothing."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.text import Text

from eventmill.campaign.audit import audit as audit_campaign
from eventmill.campaign.handle import store_of
from eventmill.cli.arguments import AsJson, InLedger, Named, find_campaign
from eventmill.cli.output import facts, print_json, screen, table
from eventmill.core.records import CampaignRecord, Counts
from eventmill.core.states import State
from eventmill.core.units import counted
from eventmill.errors import AuditFailed
from eventmill.ledger import Ledger
from eventmill.reports.status import WHAT_NEXT, Standing, standing
from eventmill.runtime.process_id import is_gone, parse_holder

STATES = (State.MERGED, State.COMMITTED, State.LEASED, State.READY, State.ABANDONED)
"""As people ask for them: what is done first."""

EXACT = "every event is in exactly one merged file, or abandoned with its reason, or still to do"


def status(campaign: Named, ledger: InLedger = None, json: AsJson = False) -> None:
    """Show how far a campaign is, who works on it, and what it has cost."""
    found, record = find_campaign(campaign, ledger=ledger)
    answer = look_at(found, record)
    if json:
        print_json(answer)
    else:
        _show_status(record, answer)


def look_at(ledger: Ledger, record: CampaignRecord) -> dict[str, Any]:
    """A campaign's status as plain data; what `state` means is in `Standing`, and events are counted by state.

    `workers` hold live leases, without those whose process is known to be gone. `failures` counts runs that
    the payload failed, `losses` those that ended with their worker; `cpu_seconds` is by what became of it.
    """
    counts, leader = ledger.counts(record.id), ledger.leader(record.id)
    incidents, inputs = ledger.count_incidents(record.id), len(ledger.inputs(record.id))
    alive = [holder for holder in ledger.holders(record.id) if not is_gone(holder.holder)]
    processes = {holder.holder: parse_holder(holder.holder) for holder in alive}
    state = standing(
        counts,
        target=record.rules.target,
        wanted=record.wanted,
        inputs=inputs,
        open_merges=len(ledger.open_merges(record.id)),
        leader=None if leader is None or is_gone(leader) else leader,
    )
    return {
        "campaign": record.name,
        "state": state,
        "target": record.rules.target,
        "events": events_by_state(counts),
        "inputs": inputs,
        "merged_files": len(ledger.merged_outputs(record.id)),
        "workers": [
            {
                "holder": holder.holder,
                "host": process.host if process else None,
                "pid": process.pid if process else None,
                "blocks": holder.blocks,
                "events": holder.events,
            }
            for holder in alive
            for process in [processes[holder.holder]]
        ],
        "losses": incidents.get("loss", 0),
        "failures": incidents.get("failure", 0) + incidents.get("abandoned", 0),
        "cpu_seconds": {cause: round(cpu, 6) for cause, (_, _, cpu) in ledger.usage(record.id).items()},
    }


def events_by_state(counts: Counts) -> dict[str, int]:
    """`counts` as plain data, with their total."""
    return {"total": counts.total, **{state: getattr(counts, state) for state in STATES}}


def _show_status(record: CampaignRecord, answer: dict[str, Any]) -> None:
    events, state = answer["events"], Standing(answer["state"])
    wanted = Counts(merged=events["total"]).wanted(record.rules.target)
    total = max(1, events["total"])
    lines = [
        ("events", f"{events['total']:,} in {counted(answer['inputs'], 'input')}, {wanted:,} wanted"),
        *((name, f"{events[name]:,}  {events[name] / total:.1%}") for name in STATES if events[name]),
        ("merged files", f"{answer['merged_files']:,} in {record.store_url}"),
        ("losses", f"{answer['losses']:,}"),
        ("failures", f"{answer['failures']:,}"),
        ("CPU", _cpu(answer["cpu_seconds"])),
    ]
    if record.close_reason:
        lines.append(("closed", record.close_reason))
    out = screen()
    out.print(Text.assemble((record.name, "bold"), " is ", (state, "bold")))
    out.print(facts(lines))
    if workers := answer["workers"]:
        out.print()
        rows = [
            (worker["host"] or worker["holder"], str(worker["pid"] or ""), worker["blocks"], worker["events"])
            for worker in workers
        ]
        out.print(table(["worker on", "process", "blocks", "events"], rows))
    if WHAT_NEXT[state]:
        out.print(WHAT_NEXT[state])


def _cpu(seconds_by_cause: dict[str, float]) -> str:
    told = [f"{seconds:,.1f} s {cause}" for cause, seconds in sorted(seconds_by_cause.items(), key=_spent)]
    return ", ".join(told) or "none yet"


def _spent(item: tuple[str, float]) -> float:
    return -item[1]


def outputs(campaign: Named, ledger: InLedger = None, json: AsJson = False) -> None:
    """List the merged files of a campaign, with their events, rows, bytes and checksums."""
    found, record = find_campaign(campaign, ledger=ledger)
    files = found.merged_outputs(record.id)
    paths = {file.key: f"{record.store_url}/{file.key}" for file in files}
    if json:
        without = ("merge_id",)  # the ledger's own number
        answer = [{k: v for k, v in asdict(file).items() if k not in without} for file in files]
        print_json([{"path": paths[file["key"]], **file} for file in answer])
        return
    rows = [(paths[file.key], file.events, file.rows, file.bytes, file.sha256) for file in files]
    out = screen()
    if rows:
        out.print(table(["file", "events", "rows", "bytes", "sha256"], rows))
    else:
        out.print(f"{record.name} has no merged file yet. See how far it is with 'eventmill status'.")


def audit(campaign: Named, ledger: InLedger = None, json: AsJson = False) -> None:
    """Check that no event is lost or counted twice: the ledger with itself, and with every file in the store."""
    found, record = find_campaign(campaign, ledger=ledger)
    result = audit_campaign(found, store_of(record), record)
    events = events_by_state(result.counts)
    if json:
        print_json(
            {
                "campaign": record.name,
                "exact": result.is_exact,
                "events": events,
                "merged_files": result.merged_files,
                "rows": result.rows,
                "orphans": result.orphans,
                "problems": list(result.problems),
            }
        )
    elif result.is_exact:
        _show_exact(record, events, files=result.merged_files, rows=result.rows, orphans=result.orphans)
    else:
        out = screen()
        for problem in result.problems:
            out.print(problem)
    if not result.is_exact:
        raise AuditFailed(_failed(found, record, len(result.problems)))


def _show_exact(record: CampaignRecord, events: dict[str, int], *, files: int, rows: int, orphans: int) -> None:
    out = screen()
    out.print(table(["events", record.name], [(name, number) for name, number in events.items()]))
    out.print(f"{counted(files, 'merged file')} with {counted(rows, 'row')}, read and compared with the ledger.")
    if orphans:
        what = "stored by dead attempts, counted nowhere, deleted by the next run"
        out.print(f"{counted(orphans, 'orphan')}: {what}.")
    out.print(Text.assemble(("exact", "bold green"), f": {EXACT}"))


def _failed(ledger: Ledger, record: CampaignRecord, problems: int) -> str:
    text = f"campaign '{record.name}' is not exact: the audit found {counted(problems, 'problem')}."
    leader = ledger.leader(record.id)
    if leader is not None and not is_gone(leader):
        text += f" It is being driven by {leader}, so things moved meanwhile; audit it again when that has ended."
    return text
