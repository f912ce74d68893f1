"""`eventmill token`: who may use the event service, and for what."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.table import Table

from eventmill.cli.arguments import InLedger
from eventmill.cli.output import messages, screen
from eventmill.cli.served_ledger import check_is_there
from eventmill.core.access_tokens import Role
from eventmill.core.ledger_url import DEFAULT_LEDGER
from eventmill.core.units import counted, parse_duration
from eventmill.errors import CampaignError
from eventmill.ledger import Ledger, open_ledger
from eventmill.service.tokens import make_token, revoke


class Action(StrEnum):
    """What to do with tokens."""

    CREATE = "create"
    LIST = "list"
    REVOKE = "revoke"


def token(
    action: Annotated[
        Action, typer.Argument(help="create prints a new token, once; list shows all; revoke ends one.")
    ],
    token_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Which token to revoke.", show_default=False)
    ] = None,
    role: Annotated[
        Role, typer.Option(help="pilot works on campaigns; reader looks at them; operator may do everything.")
    ] = Role.PILOT,
    campaign: Annotated[
        list[str] | None, typer.Option(help="Only for this campaign; may be repeated. For all, without it.")
    ] = None,
    label: Annotated[str, typer.Option(help="What it is for, to recognise it in the list.")] = "",
    lasts: Annotated[str, typer.Option(help="How long it is accepted, such as 12h or 90d; 'forever'.")] = "30d",
    ledger: InLedger = None,
) -> None:
    """Make, list and revoke tokens for the event service. The ledger keeps only their hashes."""
    check_is_there(ledger or DEFAULT_LEDGER)
    opened = open_ledger(ledger or DEFAULT_LEDGER)
    if (action is Action.REVOKE) != (token_id is not None):
        told = "say which: 'eventmill token list' shows the ids" if token_id is None else f"'{action}' takes no id"
        raise typer.BadParameter(told, param_hint="ID")
    if action is Action.CREATE:
        try:
            length = None if lasts == "forever" else parse_duration(lasts)
        except ValueError as error:
            raise CampaignError(f"--lasts: {error}") from None
        _tell_unknown(opened, campaign or [])
        typer.echo(make_token(opened, role, campaigns=campaign or None, label=label, lasts=length))
    elif token_id is not None:
        found, blocks = revoke(opened, token_id.removeprefix("evm_").partition("_")[0])
        gone = f", and {counted(blocks, 'block')} of its pilots went to others" if blocks else ""
        screen().print(f"Token {found.id} is revoked; services forget it within seconds{gone}.", highlight=False)
    else:
        table = Table("ID", "ROLE", "CAMPAIGNS", "LABEL", "CREATED", "EXPIRES", "STATE", box=None)
        now = opened.time()
        for each in opened.tokens():
            why = each.why_invalid(now)
            table.add_row(
                each.id,
                each.role,
                "all" if each.campaigns is None else ", ".join(each.campaigns),
                each.label,
                f"{each.created_at:%Y-%m-%d %H:%M}",
                "never" if each.expires_at is None else f"{each.expires_at:%Y-%m-%d %H:%M}",
                "accepted" if why is None else "revoked" if each.revoked_at else "expired",
            )
        screen().print(table)


def _tell_unknown(ledger: Ledger, campaigns: list[str]) -> None:
    """A token may be made before its campaign, and its name may be mistyped."""
    known = {row.name for row in ledger.campaigns()}
    for name in campaigns:
        if name not in known:
            told = f"note: there is no campaign '{name}' in this ledger yet; the token is for one of this name."
            messages(quiet=False).print(told, soft_wrap=True)
