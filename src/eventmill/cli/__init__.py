"""The command line: the list of commands and their exit codes. Each command is in a module of this room."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from eventmill import __version__
from eventmill.cli.command_time import note_asked
from eventmill.cli.commands import Commands
from eventmill.core.python_words import on_command_line
from eventmill.errors import EventmillError, Interrupted
from eventmill.logs import hide
from eventmill.runtime.interrupts import END_SECONDS, exit_code, is_interrupted, take_interrupts
from eventmill.text import told

EXIT_CODES = {
    0: "done",
    1: "error, described in one line",
    2: "command not understood",
    3: "campaign incomplete: no work is left and the target is missed",
    4: "audit or drill found problems",
    5: "campaign, payload or inputs differ from what was begun, or the store belongs to another campaign",
    6: "another process is running the campaign",
    129: "interrupted by SIGHUP: the terminal was closed",
    130: "interrupted by Ctrl-C",
    143: "interrupted by SIGTERM",
}
"""What the exit code of every command means."""

_EPILOG = f"Exit codes: {'; '.join(f'{code} {meaning}' for code, meaning in EXIT_CODES.items())}."

app = typer.Typer(
    name="eventmill",
    cls=Commands,
    add_completion=False,
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # an unexpected exception is our bug: show Python's own traceback
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"eventmill {__version__}")
        raise typer.Exit


@app.callback()
def eventmill(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Process very large sets of independent events on workers that may vanish without notice.

    A ledger, which is a database file, records what became of each event.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command that `arguments` (or the process's own) name, and exit with one of `EXIT_CODES`.

    An `EventmillError`, or a command that is not understood, becomes one line on standard error, followed by the
    traceback of the payload if there is one. Any other exception is raised.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # a character that a terminal cannot show must not be an error
        sys.stdout.reconfigure(errors="backslashreplace")
    note_asked(by_process=arguments is None)
    take_interrupts(end_seconds=END_SECONDS if arguments is None else None)
    hide()  # the log lines that an earlier command in this process was to show
    try:
        with on_command_line():
            ended = app(args=arguments, prog_name="eventmill", standalone_mode=False)
        sys.stdout.flush()  # here, so that a closed pipe is noticed here
    except Interrupted as error:
        _leave(str(error), code=exit_code())
    except EventmillError as error:
        _leave(str(error), code=error.exit_code)
    except typer.TyperException as error:
        if not error.format_message():  # no command was given: the help has been shown
            sys.exit(error.exit_code)
        from eventmill.cli.usage import usage_error  # seldom needed, and the help starts quickly without it

        _leave(usage_error(error), code=error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the last flush must not fail again
        sys.exit(1)
    except (KeyboardInterrupt, typer.Abort):
        _leave("interrupted.", code=exit_code())
    except Exception:
        if not is_interrupted():
            raise
        _leave("interrupted.", code=exit_code())
    if ended == 130:  # what Typer makes of Ctrl-C
        _leave("interrupted.", code=exit_code())
    sys.exit(ended if isinstance(ended, int) else 0)


def _leave(message: str, *, code: int) -> NoReturn:
    sys.stdout.flush()
    print(f"eventmill: {told(message)}", file=sys.stderr)
    sys.exit(code)
