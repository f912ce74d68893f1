"""A served ledger with small campaigns, and pilots that say what a test lets them say, over plain HTTP.

The events of a campaign are their numbers; an honest output is a table of them, so merged files can be counted.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.merge_queue import begin_due
from eventmill.campaign.open import open_campaign
from eventmill.campaign.split_inputs import register, split
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.access_tokens import Role
from eventmill.core.leases import LeadershipLease
from eventmill.formats.arrow_ranges import write_table
from eventmill.ledger import Ledger, create_ledger
from eventmill.service.server import served_beside
from eventmill.service.tokens import make_token
from eventmill.work.merge import run_merge

EVENTS, FILES, RANGE, MERGE = 120, 2, 10, 40
PAYLOAD = "import pyarrow as pa\n\ndef number(events, where):\n    return pa.table({'event': events})\n"


@dataclass
class Lab:
    """Campaigns in one ledger, which this process leads."""

    folder: Path
    ledger: Ledger
    url: str = ""
    campaigns: dict[str, CampaignHandle] = field(default_factory=dict)
    leads: dict[str, LeadershipLease] = field(default_factory=dict)

    def begin(self, name: str, **changes: Any) -> CampaignHandle:
        """A campaign that is split and led."""
        spec = CampaignSpec(
            name=name,
            inputs=changes.pop("inputs", {"generated": {"events": EVENTS, "files": FILES}}),
            payload={"callable": f"{self.folder}/p.py:number", **changes.pop("payload", {})},
            output={
                "store": changes.pop("store", str(self.folder / f"out-{name}")),
                "merge": {"events": MERGE},
                **changes.pop("output", {"columns": {"event": "int64"}}),
            },
            limits={"lease": "60s", "failures": 3, "losses": 9},
            ledger=str(self.folder / "ledger.sqlite"),
            **changes,
        )
        handle = open_campaign(spec, folder=self.folder)
        found, refused = split(handle.urls, handle.order.source, folder=str(self.folder))
        register(handle, spec, found, refused)
        self.campaigns[name] = handle
        self.leads[name] = self.ledger.acquire_leadership(handle.id, "coordinator", is_gone=lambda holder: True)
        return handle

    def token(self, role: Role, *campaigns: str, **changes: Any) -> str:
        """A new token, for these campaigns or for all."""
        values: dict[str, Any] = {"label": "", "lasts": None, **changes}
        return make_token(self.ledger, role, campaigns=campaigns or None, **values)

    def offer(self, name: str, *, events: int = 2 * RANGE) -> None:
        """The coordinator offers a block."""
        block = self.ledger.reserve(self.leads[name], events=events, range_events=RANGE)
        assert block is not None and self.ledger.offer(block.id)

    def offer_all(self, name: str) -> None:
        """The coordinator offers whatever is ready."""
        while block := self.ledger.reserve(self.leads[name], events=2 * RANGE, range_events=RANGE):
            assert self.ledger.offer(block.id)

    def everything(self) -> dict[str, Any]:
        """All that a lie must not change: what the ledger says of each campaign, and each object of its store."""
        told: dict[str, Any] = {"attempts": self.ledger.newest_attempt()}
        for name, handle in self.campaigns.items():
            assert self.ledger.audit(handle.id) == ()
            told[name] = (
                handle.counts(),
                self.ledger.spans(handle.id),
                self.ledger.committed_outputs(handle.id),
                self.ledger.count_incidents(handle.id),
                self.ledger.used(handle.id),
                {lease.block_id: lease.stop for lease in self.ledger.leased(handle.id)},
                self.ledger.campaign(name).schema,
                self.ledger.campaign(name).desired_state,
                self.objects(name),
            )
        return told

    def objects(self, name: str) -> dict[str, str]:
        """Key -> SHA-256 of each object in the folder of a campaign's store."""
        folder = self.folder / f"out-{name}"
        return {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    def merge(self, name: str) -> list[str]:
        """Carry out what is due; returns what each merge said."""
        handle = self.campaigns[name]
        return [run_merge(handle.order, number, holder="merger") for number in begin_due(handle)]

    def is_finished_by(self, pilot: RawPilot, name: str) -> None:
        """An honest pilot does the rest: each event is in exactly one merged file, counted in the files."""
        handle = self.campaigns[name]
        for _ in range(20):
            self.offer_all(name)
            while claims := pilot.acquire(blocks=8):
                for claim in claims:
                    pilot.do(claim)
            self.merge(name)
            if handle.counts().merged == EVENTS:
                break
        files = self.ledger.merged_outputs(handle.id)
        paths = [self.folder / f"out-{name}" / file.key for file in files]
        assert [n for path in paths for n in pq.read_table(path)["event"].to_pylist()] == list(range(EVENTS))
        assert self.ledger.audit(handle.id) == ()


class RawPilot:
    """A session of a pilot. Says the truth unless it is given something else to say."""

    def __init__(self, lab: Lab, token: str, **changes: Any) -> None:
        self.lab = lab
        self.http = httpx.Client(
            base_url=lab.url, headers={"Authorization": f"Bearer {token}"}, timeout=30, follow_redirects=False
        )
        asked = {"name": "host", "slots": 2, "nonce": secrets.token_hex(8), **changes}
        begun = self.http.post("/v1/sessions", json=asked)
        assert begun.status_code == 201, begun.text
        self.session = begun.json()["session"]
        self.path = f"/v1/sessions/{self.session}"

    def acquire(self, *, blocks: int = 1) -> list[dict[str, Any]]:
        """Blocks, as the service tells of them."""
        answer = self.http.post(f"{self.path}/acquire", json={"blocks": blocks, "nonce": secrets.token_hex(8)})
        assert answer.status_code == 200, answer.text
        return list(answer.json()["claims"])

    def report(self, *items: Mapping[str, Any]) -> httpx.Response:
        """Say something."""
        return self.http.post(f"{self.path}/report", json={"items": items})

    def put(self, lease: str, piece: tuple[int, int], data: bytes, **changes: Any) -> httpx.Response:
        """Store bytes through the service."""
        sha256 = changes.pop("sha256", hashlib.sha256(data).hexdigest())
        path = f"{self.path}/outputs/{lease}/{piece[0]}-{piece[1]}"
        return self.http.put(path, params={"sha256": sha256}, content=data, **changes)

    def stored(
        self, claim: Mapping[str, Any], piece: tuple[int, int], data: bytes | None = None
    ) -> dict[str, Any]:
        """Store an output; the commit that tells of it."""
        data = honest(claim, piece) if data is None else data
        answer = self.put(claim["lease"], piece, data)
        assert answer.status_code == 201, answer.text
        return commit(claim, piece, data, key=answer.json()["key"])

    def do(self, claim: Mapping[str, Any]) -> None:
        """Do a whole block, and be believed."""
        items = [self.stored(claim, (each["start"], each["stop"])) for each in claim["ranges"]]
        answer = self.report(*items)
        assert answer.status_code == 200, answer.text
        assert {o for reply in answer.json()["replies"] for o in reply["outcomes"]} == {"accepted"}, answer.text


def honest(claim: Mapping[str, Any], piece: tuple[int, int]) -> bytes:
    """What the payload makes of these events of the claim's input."""
    first = claim["input"]["first"]
    return table_bytes(np.arange(first + piece[0], first + piece[1], dtype=np.int64))


def table_bytes(numbers: Any, column: str = "event") -> bytes:
    """A range output with these rows."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "output"
        write_table(pa.table({column: numbers}), path)
        return path.read_bytes()


def commit(claim: Mapping[str, Any], piece: tuple[int, int], data: bytes, *, key: str, **changes: Any) -> Any:
    """The item that says that this output is stored; `changes` are of the output."""
    output = {
        "range": {"start": piece[0], "stop": piece[1]},
        "key": key,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "rows": piece[1] - piece[0],
        "cpu_seconds": 1.0,
        **changes,
    }
    return {"type": "commit", "lease": claim["lease"], "payload": claim["payload"], "outputs": [output]}


@contextmanager
def new_lab(folder: Path) -> Iterator[Lab]:
    """A ledger with the campaigns `c` and `other`, not served yet."""
    (folder / "p.py").write_text(PAYLOAD)
    lab = Lab(folder, create_ledger(str(folder / "ledger.sqlite")))
    lab.begin("c")
    lab.begin("other")
    yield lab


@contextmanager
def served_lab(folder: Path) -> Iterator[Lab]:
    """The same, with its event service."""
    with (
        new_lab(folder) as lab,
        served_beside(lab.ledger, str(folder / "ledger.sqlite"), folder=folder) as lab.url,
    ):
        yield lab
