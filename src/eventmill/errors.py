"""The exceptions of Eventmill. Each message has the numbers and the next step.

The command line turns each of these into one line and its exit code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventmill.text import told

if TYPE_CHECKING:
    from collections.abc import Callable


class EventmillError(Exception):
    """The base class of all errors that Eventmill reports; never a bug in Eventmill."""

    exit_code = 1
    words: Callable[[str], str] = staticmethod(str)
    """How the message is put; `core.python_words` sets it for errors that a Python session sees."""

    def __str__(self) -> str:
        # Many messages contain text from servers, file names and user code.
        return self.words(told(super().__str__()))

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows of it, by IPython's protocol: the way through Prefect and Eventmill is no news."""
        return [f"{type(self).__name__}: {self}"]


class CampaignError(EventmillError):
    """The campaign file, or a value in it, is invalid."""


class AccessError(EventmillError):
    """A file or store cannot be accessed: unknown credentials, a missing package, a url that contains a secret."""


class InputError(EventmillError):
    """An input is missing or truncated, or lacks a tree or a column. `path` is one that does not exist."""

    def __init__(self, text: str, *, path: str | None = None) -> None:
        super().__init__(text)
        self.path = path


class PayloadError(EventmillError):
    """The payload cannot be found or set up, or returned something that cannot be stored. `path`: as above."""

    def __init__(self, text: str, *, path: str | None = None) -> None:
        super().__init__(text)
        self.path = path


class ScratchError(EventmillError):
    """The scratch folder of a worker cannot be created or written: no space, or no permission."""


class StoreError(EventmillError):
    """The store cannot be read or written."""


class CorruptOutput(StoreError):
    """A stored object is missing or differs from what the ledger recorded. `key` names it, if it is one."""

    def __init__(self, text: str, *, key: str | None = None) -> None:
        super().__init__(text)
        self.key = key


class LedgerError(EventmillError):
    """The ledger cannot be opened, or does not contain what was requested."""


class NoCampaign(LedgerError):
    """The ledger has no campaign of this name."""


class NameTaken(LedgerError):
    """The ledger already has a campaign of this name."""


class IllegalMove(LedgerError):
    """A verb would make a move that the table of states does not allow. Nothing was changed."""


class PartitionBroken(LedgerError):
    """A verb would lose or double an event. Nothing was changed."""


class CampaignAborted(EventmillError):
    """So much fails that the payload must be at fault, or a merge ends every worker that carries it out.

    Continuing would only waste computing time.
    """


class ClusterError(EventmillError):
    """The cluster type cannot be used, or no worker ever started."""


class PrefectUnavailable(EventmillError):
    """The Prefect server does not answer."""


class Interrupted(EventmillError):
    """A signal interrupted the command. The exit code is that of the signal, as in shells."""

    exit_code = 130


class CampaignIncomplete(EventmillError):
    """No work is left and the target is missed."""

    exit_code = 3


class MergeTimeout(EventmillError):
    """Everything is processed, merging was left to other processes, and none of them does it."""


class AuditFailed(EventmillError):
    """The ledger and the store do not agree, or the ledger is not a partition."""

    exit_code = 4


class DrillFailed(EventmillError):
    """A drill found events that are missing, duplicated or wrong in the merged files."""

    exit_code = 4


class CampaignChanged(EventmillError):
    """The campaign, its payload or an input differs from what was begun; the user must choose what to do."""

    exit_code = 5


class StoreTaken(EventmillError):
    """The store belongs to another campaign of this name, or has files of it that the ledger does not know."""

    exit_code = 5


class CampaignPaused(EventmillError):
    """The user paused or cancelled the campaign, and has not run it since."""


class CampaignLocked(EventmillError):
    """Another live coordinator drives this campaign."""

    exit_code = 6
