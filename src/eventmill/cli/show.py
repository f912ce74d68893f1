"""Commands that only show: `status`, `outputs`, `report` and `abandoned`. They change nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from rich.text import Text

from eventmill.api import Campaign
from eventmill.cli.arguments import AsJson, InLedger, Named, NamedOrAll, file_of, find_campaign
from eventmill.cli.listing import list_campaigns
from eventmill.cli.output import facts, print_json, screen, table
from eventmill.core.records import Counts
from eventmill.core.units import counted, percent
from eventmill.reports.abandoned import AbandonedSpan
from eventmill.reports.abandoned import as_data as as_abandoned_data
from eventmill.reports.render import account_rows, facts_of, label_lines
from eventmill.reports.report import as_data
from eventmill.reports.status import STATES, Standing, what_next
from eventmill.runtime.process_id import describe
from eventmill.text import told


def status(campaign: NamedOrAll = None, ledger: InLedger = None, json: AsJson = False) -> None:
    """Show the progress of a campaign, its workers and its cost; without CAMPAIGN, list all that are here."""
    if campaign is None:
        list_campaigns(ledger, json=json)
        return
    found = find_campaign(campaign, ledger=ledger)
    answer = found.status()
    if json:
        print_json(answer)
    else:
        _show_status(found, answer, file=file_of(campaign))


def _show_status(campaign: Campaign, answer: dict[str, Any], *, file: str) -> None:
    record, events, state = campaign.record, answer["events"], Standing(answer["state"])
    wanted = Counts(merged=events["total"]).needed(record.rules.target)
    total = max(1, events["total"])
    lines = [
        (
            "events",
            f"{events['total']:,} in {counted(answer['inputs'], 'input')}, {wanted:,} needed for the target"
            if answer["inputs"]
            else "not known yet: no input has been looked into",
        ),
        *((name, f"{events[name]:,}  {percent(events[name], total)}") for name in STATES if events[name]),
        *label_lines(answer["labels"]),
        ("merged files", f"{answer['merged_files']:,} in {record.store_url}"),
        ("losses", f"{answer['losses']:,}"),
        ("failures", f"{answer['failures']:,}"),
        ("CPU", _cpu(answer["cpu_seconds"])),
    ]
    if record.close_reason:
        lines.append(("closed", record.close_reason))
    if (error := answer["last_error"]) is not None:
        at = datetime.fromisoformat(error["at"])
        lines.append(("last run", f"ended at {at:%Y-%m-%d %H:%M:%S} UTC: {error['message']}"))
    out = screen()
    out.print(Text.assemble((record.name, "bold"), " is ", (state, "bold")))
    out.print(facts(lines))
    if workers := answer["workers"]:
        out.print()
        rows = [
            (worker["host"] or worker["worker_id"], str(worker["pid"] or ""), worker["blocks"], worker["events"])
            for worker in workers
        ]
        out.print(table(["worker on", "process", "blocks", "events"], rows))
    if state is Standing.RUNNING or state is Standing.STARTING:
        if waiting := answer["blocks_waiting"]:
            out.print(f"{counted(waiting, 'block')} more, whose events are leased, too, wait for a free worker.")
    elif events["leased"] and not answer["workers"]:
        out.print("No living process has the events that are leased: the next run takes them back.")
    if told := what_next(state, campaign=campaign.as_argument, file=file):
        out.print(told)


def _cpu(seconds_by_cause: dict[str, float]) -> str:
    told = [f"{seconds:,.1f} s {cause}" for cause, seconds in sorted(seconds_by_cause.items(), key=_spent)]
    return ", ".join(told) or "none yet"


def _spent(item: tuple[str, float]) -> float:
    return -item[1]


def outputs(campaign: Named, ledger: InLedger = None, json: AsJson = False) -> None:
    """List the merged files of a campaign, with their events, rows, bytes and checksums."""
    found = find_campaign(campaign, ledger=ledger)
    files = found.merged_files()
    if json:
        print_json([asdict(file) for file in files])
        return
    rows = [(file.path, file.events, file.rows, file.bytes, file.sha256) for file in files]
    out = screen()
    if rows:
        out.print(table(["file", "events", "rows", "bytes", "sha256"], rows))
    else:
        out.print(
            f"{found.name} has no merged file yet. See its progress with 'eventmill status {found.as_argument}'."
        )


def report(campaign: Named, ledger: InLedger = None, json: AsJson = False) -> None:
    """Show what a campaign cost: CPU time by cause, the part of it that counts (goodput), losses, idle time."""
    made = find_campaign(campaign, ledger=ledger).report()
    if json:
        print_json(as_data(made))
        return
    out = screen()
    out.print(facts(facts_of(made)))
    out.print()
    out.print(table(["CPU", "seconds", "events", "times", "how it is known"], account_rows(made)))


def abandoned(campaign: Named, ledger: InLedger = None, json: AsJson = False) -> None:
    """List the abandoned events of a campaign with their reasons and tracebacks."""
    found = find_campaign(campaign, ledger=ledger)
    spans = found.abandoned_spans()
    if json:
        print_json([as_abandoned_data(span) for span in spans])
    else:
        _show(found.name, spans, total=found.counts().total, file=file_of(campaign))


def _show(name: str, spans: Sequence[AbandonedSpan], *, total: int, file: str) -> None:
    out = screen()
    if not spans:
        out.print(f"No event of {name} is abandoned.")
        return
    reasons: dict[str, list[AbandonedSpan]] = defaultdict(list)
    for span in spans:
        reasons[span.reason].append(span)
    out.print(f"{sum(map(len, spans)):,} of {counted(total, 'event')} of {name} are abandoned.")
    for reason, alike in sorted(reasons.items(), key=lambda item: -sum(map(len, item[1]))):
        out.print()
        out.print(Text.assemble((counted(sum(map(len, alike)), "event"), "bold"), f": {told(reason)}"))
        rows = [(f"  {span.input}", f"[{span.start}, {span.stop})") for span in alike]
        out.print(table(["  input", "events"], rows))
        newest = max((span.last for span in alike if span.last), key=lambda line: line.at, default=None)
        if newest and newest.detail:
            process = describe(newest.holder or "an unknown process")
            out.print(f"  the newest traceback, at {newest.at:%Y-%m-%d %H:%M:%S} UTC in {process}:")
            out.print(Text("\n".join(f"    {line}" for line in told(newest.detail).split("\n"))))
    out.print(
        f"\nFix the cause, then try them again with 'eventmill run {file} --reopen'; with "
        "'--changed accept', too, if that changed the payload."
    )
