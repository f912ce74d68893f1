"""An honest pilot and a liar at one campaign, and what they may say."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from eventmill.core.access_tokens import Role
from tests.engine.service_lab import RANGE, Lab, RawPilot

FAILURE = {"kind": "payload", "summary": "no"}


class Scene:
    """An honest pilot and a liar, each with a block of campaign `c`; the honest one has stored one range."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.theirs = RawPilot(lab, lab.token(Role.PILOT, "other"))
        self.honest = RawPilot(lab, lab.token(Role.PILOT, "c"))
        self.liar = RawPilot(lab, lab.token(Role.PILOT, "c"))
        for name in ("c", "c", "other"):
            lab.offer(name)
        (self.mine,) = self.honest.acquire()
        (self.lies,) = self.liar.acquire()
        (self.elsewhere,) = self.theirs.acquire()
        self.done = self.honest.stored(self.mine, (0, RANGE))
        assert self.honest.report(self.done).json()["replies"][0]["outcomes"] == ["accepted"]

    @contextmanager
    def nothing_changes(self) -> Iterator[None]:
        """The ledger and the stores are as before."""
        before = self.lab.everything()
        yield
        after = self.lab.everything()
        for name, told in before.items():
            assert after[name] == told, name

    def goes_on(self) -> None:
        """The liar leaves, an honest pilot does the rest, and each event is in one merged file."""
        for pilot in (self.liar, self.honest):
            assert pilot.http.delete(pilot.path).status_code == 200
        self.lab.is_finished_by(RawPilot(self.lab, self.lab.token(Role.PILOT, "c")), "c")


def outcomes(answer: Any) -> list[str]:
    """What became of each output or item; the status if the report was refused."""
    if answer.status_code != 200:
        assert 400 <= answer.status_code < 500, answer.text
        return [str(answer.status_code)]
    return [outcome for reply in answer.json()["replies"] for outcome in reply["outcomes"]]


def every_item(scene: Scene, lease: str) -> list[dict[str, Any]]:
    """All that can be said of a lease and changes something."""
    piece = {"start": 10, "stop": 20}
    return [
        {**scene.done, "lease": lease},
        {"type": "fail", "lease": lease, "range": piece, "failure": FAILURE, "report_id": secrets.token_hex(8)},
        {"type": "renew", "lease": lease, "begun": 2**63 - 1},
        {"type": "ask", "lease": lease},
        {"type": "setup_failed", "lease": lease, "failure": FAILURE},
        {"type": "setup", "lease": lease, "cpu_seconds": 1e12},
        {"type": "schema", "lease": lease, "schema": ""},
        release(lease),
    ]


def release(lease: str) -> dict[str, Any]:
    """Gives a block back."""
    return {"type": "release", "lease": lease}
