"""The commands by name. Each is imported when it is given: `--help` needs none of them, and `status` little."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from eventmill.runtime.imports import uncollected


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command is, as `module:function` in this room, and the first sentence of its help."""

    home: str
    summary: str

    def load(self) -> Any:
        """The function, imported now."""
        module, _, function = self.home.partition(":")
        with uncollected():
            return getattr(importlib.import_module(f"eventmill.cli.{module}"), function)


COMMANDS: Mapping[str, Command] = {
    "run": Command("run:run", "Run a campaign on this machine, or on the cluster that it names."),
    "init": Command("init:init", "Write an example campaign into ./examples, or list the examples."),
    "try": Command(
        "try_payload:try_payload",
        "Run the payload on a few events in this process, to debug it with breakpoint() and print().",
    ),
    "validate": Command(
        "validate:validate",
        "Check a campaign without running anything: its file, payload, inputs, ledger, store and cluster.",
    ),
    "status": Command(
        "show:status",
        "Show the progress of a campaign, its workers and its cost; without CAMPAIGN, list all that are here.",
    ),
    "outputs": Command(
        "show:outputs", "List the merged files of a campaign, with their events, rows, bytes and checksums."
    ),
    "report": Command(
        "show:report",
        "Show what a campaign cost: CPU time by cause, the part of it that counts (goodput), losses, idle time.",
    ),
    "abandoned": Command(
        "show:abandoned", "List the abandoned events of a campaign with their reasons and tracebacks."
    ),
    "audit": Command(
        "audit:audit",
        "Check that no event is lost or counted twice: compare the ledger with itself and with every stored file.",
    ),
    "pause": Command("manage:pause", "Let workers finish their current ranges, and end the run."),
    "cancel": Command("manage:cancel", "End the run at once."),
    "gc": Command("manage:gc", "Delete the objects that dead attempts left in the store."),
    "rescue": Command(
        "manage:rescue",
        "Clean up after dead processes, and restart each unfinished campaign that should run and has no "
        "coordinator.",
    ),
    "upgrade": Command("manage:upgrade", "Upgrade a ledger that an older Eventmill wrote."),
    "serve": Command("serve:serve", "Serve the campaigns of a ledger to pilots and to people, until Ctrl-C."),
    "pilot": Command(
        "pilot:pilot",
        "Work on blocks of an event service, from a host that reaches it by HTTPS, until there is no more work.",
    ),
    "token": Command("token:token", "Make, list and revoke tokens for the event service."),
    "drill": Command(
        "drill:drill",
        "Test Eventmill on your cluster: kill, freeze and replace workers, then count the events in the results.",
    ),
}


class Commands(TyperGroup):
    """All commands, of which the help shows the summaries. The one that is given is loaded."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, command in COMMANDS.items():
            self.add_command(TyperCommand(name, help=command.summary))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first argument names, with its options, and the other arguments."""
        if args[0] in COMMANDS:
            self.add_command(load_command(args[0]))
        return super().resolve_command(ctx, args)


def load_command(name: str) -> Any:
    """The command of that name with its options and arguments; imports its module."""
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    alone.command(name)(COMMANDS[name].load())
    return typer.main.get_command(alone)
