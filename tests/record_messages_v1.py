"""`python -m tests.record_messages_v1` records a conversation with an event service, and the schemas of messages.

They are the contract of version 1, which tests/engine/test_messages_v1.py holds: record anew only before version
1 is in use anywhere.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import httpx

from eventmill.messages import v1
from tests.pilots import Led, led_by_pilots
from tests.story.conftest import new_campaign
from tests.waiting import until

FOLDER = Path(__file__).parent / "engine" / "messages_v1"

SCHEMAS = FOLDER / "schemas.json"

PAYLOAD = """
def lines(events, where):
    return "".join(f"{event}\\n" for event in events).encode()
"""

NONCE = "0123456789abcdef"


class Recorder:
    """Calls a service, and writes down each call with its answer."""

    def __init__(self, led: Led, folder: Path) -> None:
        self._client = httpx.Client(
            base_url=led.url, headers={"Authorization": f"Bearer {led.token()}"}, timeout=60
        )
        self._folder = folder
        self._number = 0

    def call(self, title: str, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """One call; returns its answer."""
        if body is not None:
            options["json"] = body
        answer = self._client.request(method, path, **options)
        told = {
            "call": f"{method} {path}",
            "request": body,
            "status": answer.status_code,
            "answer": answer.json(),
        }
        self._number += 1
        file = self._folder / f"{self._number:02}-{title}.json"
        file.write_text(json.dumps(told, indent=1) + "\n")
        return told["answer"]

    def acquire(self, title: str, path: str) -> Any:
        """Blocks, as soon as there are some."""
        reply = self.call(title, "POST", f"{path}/acquire", {"blocks": 1, "wait_seconds": 25.0, "nonce": NONCE})
        return reply["claims"][0]


def converse(led: Led, folder: Path) -> None:
    """All that a pilot says, and all that it is answered."""
    say = Recorder(led, folder)
    asked = {"name": "node017", "slots": 1, "campaigns": [led.opened.name], "nonce": NONCE}
    offers = {"host": "node017.example.org", "site": "CERN", "cores": 8, "memory_bytes": 16_000_000_000}
    offers |= {"gpus": 0, "seconds_left": 7200.0, "software": {"python": "3.12.3"}}
    begun = say.call("begin-session", "POST", "/v1/sessions", {**asked, "offers": offers})
    path = f"/v1/sessions/{begun['session']}"
    claim = say.acquire("acquire", path)
    lease, (first, second, third, *_) = claim["lease"], claim["ranges"]
    say.call("payload", "GET", f"/v1/payloads/{claim['payload']}")

    def report(title: str, *items: dict[str, Any]) -> Any:
        return say.call(title, "POST", f"{path}/report", {"items": [{"lease": lease, **item} for item in items]})

    report("schema", {"type": "schema", "schema": "Ynl0ZXM="})
    content = b"0\n1\n2\n"
    digests = {"sha256": hashlib.sha256(content).hexdigest(), "md5": hashlib.md5(content).hexdigest()}
    where = say.call(
        "upload", "POST", f"{path}/uploads", {"lease": lease, "range": first, "bytes": len(content), **digests}
    )
    say.call("put-output", "PUT", where["url"], content=content)
    output = {"range": first, "key": where["key"], "bytes": len(content), "sha256": digests["sha256"], "rows": 3}
    output |= {"cpu_seconds": 1.25, "wall_seconds": 1.5, "overhead_seconds": 0.125}
    commit = {"type": "commit", "outputs": [output], "payload": claim["payload"], "begun": second["stop"]}
    report("setup-and-renew", {"type": "setup", "cpu_seconds": 0.5}, {"type": "renew", "begun": second["start"]})
    report("commit", commit)
    report("commit-again", commit)
    unproven = {**output, "range": third, "key": where["key"]}
    report("unproven", {"type": "commit", "outputs": [unproven], "payload": claim["payload"]})
    failure = {"kind": "payload", "summary": "ValueError: event 1234 is poisonous", "traceback": "Traceback …"}
    failure |= {"printed": "working on 1000 to 2000\n", "cpu_seconds": 0.75, "signal": 11}
    report("fail", {"type": "fail", "range": second, "failure": failure, "report_id": NONCE})
    report("ask", {"type": "ask"})
    trouble = "data/0.parquet changed while it was being read."
    report("trouble", {"type": "trouble", "kind": "input", "summary": trouble})
    report("release", {"type": "release", "drained": "SIGTERM"})
    report("too-late", {"type": "renew"})
    say.call("lease-is-over", "PUT", where["url"], content=content)
    nonce = {"blocks": 1, "wait_seconds": 25.0, "nonce": NONCE[::-1]}
    claim = say.call("acquire-another", "POST", f"{path}/acquire", nonce)["claims"][0]
    lease = claim["lease"]
    report(
        "setup-failed", {"type": "setup_failed", "failure": {"kind": "setup", "summary": "ImportError: no ROOT"}}
    )
    say.call("wrong-content", "POST", f"{path}/uploads", {"lease": "mine"})
    say.call("no-token", "DELETE", path, headers={"Authorization": ""})
    say.call("no-session", "DELETE", "/v1/sessions/0123456789abcdef")
    say.call("end-session", "DELETE", path)
    say.call("ended", "POST", f"{path}/acquire", {"nonce": NONCE})


def schemas() -> dict[str, Any]:
    """The JSON schema of each message, as it is read (requests) and as it is written (answers)."""
    models = sorted(
        (
            model
            for model in vars(v1).values()
            if isinstance(model, type) and issubclass(model, v1.Message) and model is not v1.Message
        ),
        key=lambda model: model.__name__,
    )
    return {model.__name__: model.model_json_schema(by_alias=True) for model in models}


def main() -> None:
    """Record both, in place of what was recorded before."""
    FOLDER.mkdir(exist_ok=True)
    for file in FOLDER.glob("*.json"):
        file.unlink()
    SCHEMAS.write_text(json.dumps(schemas(), indent=1, sort_keys=True) + "\n")
    with tempfile.TemporaryDirectory() as name:
        led_in = Path(name) / "led"
        led_in.mkdir()
        (led_in / "lines.py").write_text(PAYLOAD)  # named without its folder, which lies elsewhere each time
        story = new_campaign(
            Path(name),
            "lines.py:lines",
            events=400,
            output={"format": "bytes"},
            ranges={"events": 20, "block": "1s"},
        )
        with led_by_pilots(story, folder=led_in) as led:
            converse(led, FOLDER)
            until(lambda: not led.opened.ledger.leased(led.opened.id), seconds=10)


if __name__ == "__main__":
    main()
