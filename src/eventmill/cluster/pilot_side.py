"""The pilots of a run: the service that they reach, those that the run starts, and the blocks that they have."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Self

from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.pilot_desk import PilotDesk, Watcher
from eventmill.campaign.started_pilots import StartedPilots
from eventmill.cluster.service_watch import ServiceWatch, answers
from eventmill.config.campaign_spec import Pilots
from eventmill.core.access_tokens import Role, pilot_name, plain_name
from eventmill.errors import ClusterError

TOKEN_LASTS = timedelta(days=30)
"""The longest run whose own pilots are accepted; the token is revoked at the end of the run."""


@dataclass
class PilotSide:
    """Use it in a `with` block: the service is there as long as that lasts."""

    coordinator: Coordinator
    settings: Pilots
    folder: Path

    def __enter__(self) -> Self:
        """Serve the ledger, unless somebody else does, and make a token for the pilots of this run."""
        # Imported here: runs without pilots need neither a web server nor its frame.
        from eventmill.service.server import served_beside
        from eventmill.service.tokens import make_token

        opened, settings = self.coordinator.opened, self.settings
        self._desk: PilotDesk | None = None
        self._seen_at = time.monotonic()
        with ExitStack() as stack:
            self.url = settings.server or stack.enter_context(
                served_beside(
                    opened.ledger,
                    opened.order.ledger_url,
                    folder=Path(opened.order.folder),
                    host=settings.host,
                    port=settings.port,
                )
            )
            if (url := settings.server) is not None:
                service = stack.enter_context(ServiceWatch(lambda: answers(url)))
                self.coordinator.is_served = lambda: service.is_there
            self._started: StartedPilots | None = None
            if settings.start:
                token = make_token(
                    opened.ledger,
                    Role.PILOT,
                    campaigns=[opened.name],
                    label=f"pilots started by a run of {opened.name}",
                    lasts=TOKEN_LASTS,
                )
                stack.callback(opened.ledger.revoke_token, token.split("_")[1])
                self._started = stack.enter_context(
                    StartedPilots(
                        settings,
                        campaign=opened.name,
                        server=self.url,
                        token=token,
                        folder=self.folder,
                        on_death=self._note_death,
                    )
                )
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _note_death(self, name: str, why: str) -> None:
        """Take back at once what a pilot of this run held; without that its leases would have to end first."""
        opened = self.coordinator.opened
        for session in opened.ledger.sessions():
            if session.name == plain_name(name) and session.ended_at is None:
                opened.mark_lost(holders=[pilot_name(session.name, session.id)], reason=why)
                opened.ledger.end_session(session.id, reason=why)

    @contextmanager
    def blocks(self, watcher: Watcher) -> Iterator[PilotDesk]:
        """The blocks that pilots have; what none has taken is taken back in the end."""
        with PilotDesk(self.coordinator, watcher=watcher) as desk:
            self._desk = desk
            try:
                yield desk
            finally:
                self._desk = None

    def slots(self) -> int:
        """The slots of pilots that live, after starting others if there is work for them."""
        desk = self._desk
        if desk is None:
            return 0
        if self._started is not None:
            self._started.look(waiting=desk.wanted)
        if desk.slots:
            self._seen_at = time.monotonic()
        return desk.slots

    def raise_if_nobody_comes(self) -> None:
        """Raise `ClusterError` if there has been no pilot for `limits.no_worker_timeout`."""
        patience = self.coordinator.campaign.limits.no_worker_timeout.total_seconds()
        if self._desk is not None and time.monotonic() - self._seen_at > patience:
            if (why := self._desk.why_nobody) is not None:
                raise ClusterError(
                    f"no pilot that fits for {patience:.0f} s (limits.no_worker_timeout): {why}. Nothing is lost: "
                    "start pilots that fit, or change 'payload.needs' and 'payload.environment', and run again."
                )
            raise ClusterError(
                f"no pilot for {patience:.0f} s (limits.no_worker_timeout) at {self.url}. Nothing is lost: start "
                f"pilots with 'eventmill pilot --server {self.url}', or let 'cluster.pilots.start' do it, and run "
                "again."
            )
