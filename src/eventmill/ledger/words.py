"""What every ledger says in the same words: refusals, with the next step, and reasons that the journal keeps."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from eventmill.core.ledger_url import as_option, is_in_memory
from eventmill.core.work_order import PayloadCode
from eventmill.errors import CampaignLocked, LedgerError, NameTaken, NoCampaign
from eventmill.runtime.process_id import describe, is_here, is_stopped

LEASE_EXPIRED = "lease expired"
EXTENDED = "it was not renewed while no coordinator was checking"


def started_again(what: str, holder: str) -> str:
    """Why the previous claim has ended."""
    return f"{what} was started again by {holder}"


def failed_only_here(other: str) -> str:
    """The evidence against a worker."""
    return f"a range failed here and succeeded on {other}"


def sick(ranges: int) -> str:
    """Why a worker gets no more work."""
    return f"{ranges} ranges failed on it and succeeded elsewhere"


def not_set_up(times: int) -> str:
    """The same for a worker on which the payload cannot be set up."""
    return f"the payload could not be set up on it, {times} times"


def unusable(outputs: int) -> str:
    """The same for a worker whose outputs are damaged, or not what they should be."""
    return f"{outputs} outputs that it made could not be merged"


def name_taken(name: str) -> NameTaken:
    """There is already a campaign of this name."""
    return NameTaken(f"campaign '{name}' is already in the ledger; choose another name.")


def no_campaign(name: str, names: Iterable[str]) -> NoCampaign:
    """There is no campaign of this name."""
    return NoCampaign(f"the ledger has no campaign '{name}'; it has: {', '.join(names) or 'none yet'}.")


def no_campaign_numbered(number: int) -> LedgerError:
    """There is no campaign with this number any more."""
    return LedgerError(f"the ledger has no campaign number {number}; it was restarted or removed.")


def input_changed(url: str) -> LedgerError:
    """An input is known with another content."""
    return LedgerError(f"input {url} has changed since it was split.")


def no_token(token_id: str) -> LedgerError:
    """There is no token with this id."""
    return LedgerError(f"the ledger has no token {token_id}; 'eventmill token list' shows those that it has.")


def no_code(digest: str) -> LedgerError:
    """The ledger does not have this payload."""
    return LedgerError(f"the ledger holds no payload code {digest}.")


def other_code(code: PayloadCode, known: str) -> LedgerError:
    """Other code has its digest."""
    return LedgerError(
        f"the ledger holds other code than {code.entry} under the digest {code.digest}, namely {known}; "
        "give the campaign another ledger."
    )


def no_merged_file(number: int) -> LedgerError:
    """There is no merge with this number, or its file was not published."""
    return LedgerError(f"there is no merged file number {number}.")


def driven_by(name: str, leader: str, lasts: timedelta, *, ledger: str) -> CampaignLocked:
    """Another coordinator lives."""
    argument = f"{name}{as_option(ledger)}"
    look = "" if is_in_memory(ledger) else f" 'eventmill status {argument}' shows its progress."
    if is_stopped(leader):
        what_next = "It is stopped, as by Ctrl-Z: let it continue there with 'fg', or end it."
    elif is_here(leader):
        stop = "" if is_in_memory(ledger) else f" or with 'eventmill pause {argument}'"
        what_next = f"It lives: wait for it, or end it with Ctrl-C there{stop}."
    else:
        what_next = f"Stop it there, or wait: if it is dead, run again in {lasts.total_seconds():.0f} s."
    return CampaignLocked(f"campaign '{name}' is being run by {describe(leader)}. {what_next}{look}")


def taken_over_by(leader: str | None) -> CampaignLocked:
    """Another coordinator has taken over."""
    who = describe(leader) if leader else "another coordinator, since gone"
    comma = "," if ", " in who else ""  # after "process 1 on host, started at …"
    return CampaignLocked(f"{who}{comma} has taken over this campaign; this one stops. Nothing is lost.")
