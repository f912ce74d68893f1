"""The command `eventmill pilot`, and `eventmill-pilot` of the distribution that has nothing else."""

from __future__ import annotations

import logging
import os
import platform
import re
import signal
import socket
import sys
import time
from importlib.metadata import distributions
from pathlib import Path
from typing import Annotated

import typer

from eventmill.core.access_tokens import plain_name
from eventmill.core.units import parse_duration
from eventmill.core.version import VERSION
from eventmill.errors import CampaignError, EventmillError
from eventmill.messages import v1
from eventmill.payloads.pool import share_setups
from eventmill.pilot.agent import Agent, seconds_left
from eventmill.pilot.before_session import ending_at_once
from eventmill.pilot.hardware import bytes_of, core_count, gpu_count
from eventmill.pilot.outages import Outages
from eventmill.runtime import drain
from eventmill.runtime.end_signals import (
    end_with_job,
    ends_at,
    heed,
    started,
    take_sigterm,
    take_warnings,
)
from eventmill.runtime.preemption import open_notices, watch
from eventmill.service_client.connection import Connection, SessionEnded
from eventmill.service_client.session import Session

logger = logging.getLogger(__name__)

SITE = "EVENTMILL_SITE"
"""The environment variable with the site's name."""

TOKEN = "EVENTMILL_TOKEN"
"""The environment variable with the token: on a command line, every user of the machine could read it."""


def _tell_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"eventmill-pilot {VERSION}")
        raise typer.Exit


def pilot(
    server: Annotated[
        str, typer.Option(help="The address of the event service, such as https://mill.example.org.")
    ],
    slots: Annotated[
        int | None, typer.Option(min=1, max=v1.MOST_SLOTS, help="Blocks to work on at a time; one for each core.")
    ] = None,
    campaign: Annotated[
        list[str] | None, typer.Option(help="Work only for this campaign; may be repeated. All, without it.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help=f"A file that holds the token; without it, ${TOKEN} has it.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The name for people; the host's, without it.")] = None,
    site: Annotated[
        str, typer.Option(envvar=SITE, show_envvar=False, help=f"The site, such as CERN or aws-eu-1; or ${SITE}.")
    ] = "",
    memory: Annotated[
        str | None, typer.Option(help="Memory for all slots, such as 8GB; what this machine has, without it.")
    ] = None,
    gpus: Annotated[
        int | None, typer.Option(min=0, help="GPUs of this pilot; those that it may use here, without it.")
    ] = None,
    idle: Annotated[
        str, typer.Option(help="End after so long without work, such as 10m; 'never' to stay.")
    ] = "10m",
    walltime: Annotated[
        str | None, typer.Option(help="The time from now until something else ends this pilot, such as 2h.")
    ] = None,
    grace: Annotated[str, typer.Option(help="How long ranges may take to end after SIGTERM.")] = "20s",
    preemption_notices: Annotated[
        list[str] | None, typer.Option(help="A cloud that announces that it takes the machine: aws, azure or gcp.")
    ] = None,
    patience: Annotated[str, typer.Option(help="How long to try while the service does not answer.")] = "30m",
    ca_file: Annotated[
        Path | None, typer.Option(help="Certificates (PEM) that sign the service's, if it has one of your own.")
    ] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Work on blocks of an event service, from a host that reaches it by HTTPS, until there is no more work."""
    _log_to_terminal(log_level)
    _warn_of_both()
    grace_seconds, patience_seconds = seconds_of(grace, "grace"), seconds_of(patience, "patience")
    idle_seconds = None if idle == "never" else seconds_of(idle, "idle")
    walltime_seconds = None if walltime is None else seconds_of(walltime, "walltime")
    memory_bytes = bytes_of(memory)
    notices = [open_notices(each) for each in preemption_notices or ()]
    outages = Outages(server, patience_seconds=patience_seconds)
    connection = Connection(
        server,
        token=read_token(token_file),
        patience_seconds=patience_seconds,
        verify=str(ca_file) if ca_file is not None else True,
        on_change=outages.note,
    )
    end = drain.here()
    end_with_job(end)
    if walltime_seconds is not None:
        ends_at(end, started() + walltime_seconds, walltime_seconds, "walltime")
    unwatch = [watch(each, lambda notice: heed(end, notice)) for each in notices]
    count = slots or core_count()
    share_setups(count > 1)
    offers = v1.Offers(
        host=socket.gethostname()[:255],
        site=site,
        cores=core_count(),
        memory_bytes=memory_bytes,
        gpus=gpu_count() if gpus is None else gpus,
        seconds_left=seconds_left(),
        software={"python": platform.python_version(), "eventmill": VERSION},
    )
    with ending_at_once(end, connection):
        session = Session(
            connection,
            name=plain_name(name or socket.gethostname()),
            slots=count,
            campaigns=campaign,
            offers=offers,
        )
    for number in (signal.SIGTERM, signal.SIGINT):
        take_sigterm(end, seconds=grace_seconds, number=number)
    take_warnings(end, seconds=grace_seconds)
    has = f"{offers.cores} cores, {(offers.memory_bytes or 0) / 1e9:.3g} GB, {offers.gpus} GPUs"
    logger.info(
        "session %s at %s, %d slots; %s%s", session.id, connection.url, count, has, f", {site}" if site else ""
    )
    agent = Agent(session, count, idle_seconds=idle_seconds)
    outages.held = agent.held
    end.when_leaving(lambda told: connection.try_until(time.monotonic() + patience_seconds))
    end.when_leaving(outages.end)
    ended = None
    try:
        why = agent.run()
    except SessionEnded as error:
        why = ended = str(error)
    except KeyboardInterrupt:  # the second signal: nothing is waited for any more
        connection.close()
        raise
    finally:
        for stop in unwatch:
            stop()
        try:
            session.end()
        except EventmillError as error:
            logger.warning("the session could not be ended, its leases end by themselves: %s", error)
        connection.close()
    done = agent.totals
    typer.echo(
        f"{why}: {done.blocks:,} blocks, {done.committed:,} events committed, {done.failed:,} failed, "
        f"{done.fenced:,} too late, {done.cpu_seconds:,.1f} s of CPU"
    )
    if ended is not None:
        raise typer.Exit(1)


def read_token(path: Path | None) -> str:
    """The token from a file, or from the environment; `CampaignError` if there is none."""
    if path is not None:
        try:
            return path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise CampaignError(f"the token file {path} cannot be read: {error}.") from None
    token = os.environ.pop(TOKEN, "").strip()  # payloads need not have it, nor what they print
    if not token:
        raise CampaignError(
            f"a token is needed: put it into ${TOKEN}, or into a file that --token-file names. On the host of the "
            "service, 'eventmill token create --role pilot' makes one."
        )
    return token


def seconds_of(given: str, option: str) -> float:
    """A duration in seconds; `CampaignError` names the option."""
    if re.fullmatch(r"\s*(-[\d.]+|0+)\s*[A-Za-z]*\s*", given):
        raise CampaignError(f"--{option}: '{given}' is not more than 0; give a duration such as 20s, 10m, 2h.")
    try:
        return parse_duration(given).total_seconds()
    except ValueError as error:
        raise CampaignError(f"--{option}: {error}") from None


def _log_to_terminal(level: str) -> None:
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise CampaignError(f"--log-level: '{level}' is none of debug, info, warning and error.")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    ours = logging.getLogger("eventmill")
    ours.addHandler(handler)
    ours.setLevel(number)


def _warn_of_both() -> None:
    """Both distributions write the same files; whichever is removed takes them from the other."""
    if all(any(distributions(name=name)) for name in ("eventmill", "eventmill-pilot")):
        logger.warning(
            "eventmill and eventmill-pilot are both installed here, and share files: uninstall both, then install "
            "the one that you want. eventmill has the same command, called pilot."
        )


def main() -> None:
    """What `eventmill-pilot` runs: one line and a non-zero exit for what cannot be done, never a traceback."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(pilot)
    try:
        ended = app(standalone_mode=False, prog_name="eventmill-pilot")
    except EventmillError as error:
        print(f"eventmill-pilot: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except typer.TyperException as error:
        print(f"eventmill-pilot: {error.format_message()}", file=sys.stderr)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(128 + signal.SIGINT)
    sys.exit(ended if isinstance(ended, int) else 0)
