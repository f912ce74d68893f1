"""What can be wrong, one short tree. Each message has the numbers and the next step.

The command line turns any of these into one line and the exit code written beside it.
"""

from __future__ import annotations

from eventmill.text import told


class EventmillError(Exception):
    """Anything that Eventmill itself reports; never a programming mistake."""

    exit_code = 1

    def __str__(self) -> str:
        # Servers, file names and other people's code have a part in many messages.
        return told(super().__str__())


class CampaignError(EventmillError):
    """The campaign file, or a value in it, cannot be used."""


class AccessError(EventmillError):
    """A place is out of reach: unknown credentials, a package that is not installed, a url with a secret in it."""


class InputError(EventmillError):
    """An input is missing, truncated, or lacks a tree or a column."""


class PayloadError(EventmillError):
    """The payload cannot be found, set up, or returned something that cannot be stored."""


class ScratchError(EventmillError):
    """A worker's own folder for what is on its way cannot be made: no room, or not allowed."""


class StoreError(EventmillError):
    """The store cannot be read or written."""


class CorruptOutput(StoreError):
    """A stored object is missing or is not what the ledger recorded."""


class LedgerError(EventmillError):
    """The ledger cannot be opened, or was asked for something that it does not hold."""


class NameTaken(LedgerError):
    """The ledger has a campaign of that name already."""


class IllegalMove(LedgerError):
    """A verb would move a span along no arrow of the transition table. Nothing was changed."""


class PartitionBroken(LedgerError):
    """A verb would lose or double an event. Nothing was changed."""


class CampaignAborted(EventmillError):
    """So much fails that the payload is at fault, not the events, or a merge ends all who carry it out.

    Going on would only burn the cluster.
    """


class ClusterError(EventmillError):
    """The cluster type cannot be used, or no worker ever started."""


class PrefectUnavailable(EventmillError):
    """The Prefect server does not answer."""


class Interrupted(EventmillError):
    """A signal asked the command to end. Its exit code is the signal's, as shells have it."""

    exit_code = 130


class CampaignIncomplete(EventmillError):
    """Nothing is left to do and the target is missed."""

    exit_code = 3


class MergeTimeout(EventmillError):
    """All is processed, merging was left to others, and nobody does it."""


class AuditFailed(EventmillError):
    """Ledger and store do not agree, or the ledger is not a partition."""

    exit_code = 4


class DrillFailed(EventmillError):
    """A drill found events missing, twice or wrong in the merged files."""

    exit_code = 4


class CampaignChanged(EventmillError):
    """The campaign, its payload or an input differs from what was begun; the user must choose."""

    exit_code = 5


class StoreTaken(EventmillError):
    """The store holds another campaign of this name, or more of this one than the ledger knows."""

    exit_code = 5


class CampaignPaused(EventmillError):
    """The campaign was paused or cancelled on purpose, and nobody has asked for it since."""


class CampaignLocked(EventmillError):
    """Another living coordinator drives this campaign."""

    exit_code = 6
