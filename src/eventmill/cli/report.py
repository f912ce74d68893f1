"""`eventmill report`: what a campaign cost so far, and by which cause CPU was lost. Changes nothing."""

from __future__ import annotations

from eventmill.cli.arguments import AsJson, InLedger, Named, find_campaign
from eventmill.cli.output import facts, print_json, screen, table
from eventmill.reports.render import account_rows, facts_of
from eventmill.reports.report import as_data
from eventmill.reports.report import report as make_report


def report(campaign: Named, ledger: InLedger = None, json: AsJson = False) -> None:
    """Show what a campaign cost: CPU by what became of it, goodput, losses, idle time, range lengths."""
    made = make_report(*find_campaign(campaign, ledger=ledger))
    if json:
        print_json(as_data(made))
        return
    out = screen()
    out.print(facts(facts_of(made)))
    out.print()
    out.print(table(["CPU", "seconds", "events", "times", "how it is known"], account_rows(made)))
