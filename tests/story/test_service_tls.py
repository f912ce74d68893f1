"""A pilot speaks TLS with its service, and nobody else ever sees its token."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
import trustme

from eventmill.core.access_tokens import Role
from eventmill.errors import LedgerError
from eventmill.ledger import create_ledger
from eventmill.service.server import served_beside
from eventmill.service_client.connection import Connection, Refused
from eventmill.service_client.session import Session
from tests.engine.service_lab import EVENTS, Lab, new_lab
from tests.waiting import until

SECRETIVE = """
import os
import pyarrow as pa

def number(events, where):
    assert "EVENTMILL_TOKEN" not in os.environ, "the payload has the token"
    return pa.table({'event': events})
"""


@pytest.fixture
def lab(tmp_path: Path, long_lead: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setattr("tests.engine.service_lab.PAYLOAD", SECRETIVE)
    with new_lab(tmp_path) as made:
        yield made


class Authority:
    """A certificate authority of one's own, and a certificate for this host."""

    def __init__(self, folder: Path, name: str) -> None:
        made = trustme.CA()
        certificate = made.issue_cert("127.0.0.1", "localhost")
        self.file, self.certificate, self.key = (folder / f"{name}-{part}.pem" for part in ("ca", "cert", "key"))
        made.cert_pem.write_to_path(str(self.file))
        certificate.private_key_pem.write_to_path(str(self.key))
        for pem in certificate.cert_chain_pems:
            pem.write_to_path(str(self.certificate), append=True)


@contextmanager
def serving(lab: Lab, *options: str) -> Iterator[tuple[str, Path]]:
    """`eventmill serve` in a process of its own: its address, and what it printed."""
    log = lab.folder / "serve.log"
    words = ["--ledger", str(lab.folder / "ledger.sqlite"), "--port", "0", "--log-level", "DEBUG", *options]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "eventmill", "serve", *words], cwd=lab.folder, stdout=file, stderr=file
        )
    try:
        until(lambda: "Event service: " in log.read_text() or process.poll() is not None, seconds=60)
        assert process.poll() is None, log.read_text()
        yield log.read_text().partition("Event service: ")[2].split()[0], log
    finally:
        process.terminate()
        process.wait(60)


def pilot(lab: Lab, token: str, *options: str) -> subprocess.Popen[str]:
    """`eventmill pilot` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "eventmill", "pilot", *options, "--idle", "1s", "--log-level", "debug"],
        cwd=lab.folder,
        env={**os.environ, "EVENTMILL_TOKEN": token},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_campaign_over_tls(lab: Lab) -> None:
    """With an authority of one's own. No line of either side and no command line has the secret of the token."""
    ours, token = Authority(lab.folder, "ours"), lab.token(Role.PILOT, "c")
    secret = token.split("_", 2)[2]
    lab.offer_all("c")
    options = ("--tls-cert", str(ours.certificate), "--tls-key", str(ours.key))
    with serving(lab, *options) as (url, log):
        assert url.startswith("https://")
        process = pilot(lab, token, "--server", url, "--ca-file", str(ours.file), "--slots", "1")
        seen: list[str] = []
        while process.poll() is None:
            try:
                family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
                seen += [" ".join(each.cmdline()) for each in family]
            except psutil.Error:
                pass
            try:
                process.wait(0.2)
            except subprocess.TimeoutExpired:
                continue
        said = process.stdout.read() if process.stdout else ""
        assert process.returncode == 0 and f"{EVENTS:,} events committed, 0 failed" in said, said
        assert seen and not any(secret in each for each in seen)
        for text in (said, log.read_text(), *(path.read_text() for path in lab.folder.glob("*.log"))):
            assert secret not in text
    assert secret.encode() not in (lab.folder / "ledger.sqlite").read_bytes()
    lab.merge("c")
    files = lab.ledger.merged_outputs(lab.campaigns["c"].id)
    rows = [n for file in files for n in pq.read_table(lab.folder / "out-c" / file.key)["event"].to_pylist()]
    assert rows == list(range(EVENTS))


def test_what_cannot_become_a_connection_is_told_in_one_line(lab: Lab) -> None:
    """At once and without a traceback, although a pilot is patient with a service that does not answer."""
    ours, theirs = Authority(lab.folder, "ours"), Authority(lab.folder, "theirs")
    token = lab.token(Role.PILOT, "c")
    options = ("--tls-cert", str(ours.certificate), "--tls-key", str(ours.key))
    with (
        serving(lab, *options) as (url, _log),
        served_beside(lab.ledger, str(lab.folder / "ledger.sqlite"), folder=lab.folder) as plain,
    ):
        tries = {
            ("--server", url): "is not accepted: .*--ca-file",
            ("--server", url, "--ca-file", str(theirs.file)): "is not accepted: .*--ca-file",
            ("--server", url, "--ca-file", str(lab.folder / "p.py")): "cannot be used",
            ("--server", url.replace("https", "http")): "speaks TLS: write https://",
            (
                "--server",
                plain.replace("http", "https"),
                "--ca-file",
                str(ours.file),
            ): "does not speak TLS: is it http://",
        }
        for words, told in tries.items():
            process = pilot(lab, token, *words)
            said = process.communicate(timeout=60)[0]
            assert process.returncode not in (0, None)
            (line,) = said.strip().splitlines()
            assert re.search(told, line), said
            assert token.split("_", 2)[2] not in said


class Elsewhere:
    """A server that remembers what it was sent, and answers as it is told to."""

    def __init__(self, status: int, headers: dict[str, str]) -> None:
        self.seen: list[dict[str, str]] = []
        remembers = self.seen

        class Handler(BaseHTTPRequestHandler):
            def do_any(self) -> None:
                remembers.append({"line": self.requestline, **{k.lower(): v for k, v in self.headers.items()}})
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            do_GET = do_POST = do_PUT = do_DELETE = do_any

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> Elsewhere:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    """Whoever is there would get the token; the pilot is told where it leads."""
    with Elsewhere(200, {}) as foreign, Elsewhere(status, {"Location": f"{foreign.url}/v1/sessions"}) as service:
        connection = Connection(service.url, token="evm_secret", patience_seconds=0)
        with pytest.raises(Refused, match=f"status {status}, it leads to {foreign.url}") as refused:
            Session(connection, name="host", slots=1)
        assert "secret" not in str(refused.value)
        assert len(service.seen) == 1 and foreign.seen == []
        connection.close()


def test_foreign_addresses_get_no_token(caplog: pytest.LogCaptureFixture) -> None:
    """Presigned addresses are signed by themselves; and what all loggers tell does not contain it."""
    caplog.set_level(logging.DEBUG)
    with Elsewhere(200, {}) as store, Elsewhere(302, {"Location": store.url}) as leads_away:
        connection = Connection("http://127.0.0.1:9", token="evm_0_secret", patience_seconds=0)
        for method in ("GET", "PUT"):
            connection.send(method, f"{store.url}/bucket/key?X-Amz-Signature=0", content=b"bytes", foreign=True)
            with pytest.raises(Refused):
                connection.send(method, leads_away.url, foreign=True)
        assert [each["line"].split()[0] for each in store.seen] == ["GET", "PUT"]
        for each in (*store.seen, *leads_away.seen):
            assert "authorization" not in each and "secret" not in str(each)
        with pytest.raises(LedgerError, match="did not answer") as away:
            connection.send("GET", "/v1/payloads/0")
        connection.close()
    assert "secret" not in str(away.value) and "secret" not in caplog.text
    assert caplog.records, "nothing was logged, so nothing was proven"


def test_a_certificate_of_no_use_is_told_before_the_address(tmp_path: Path) -> None:
    """In one line with the name of the file: missing, of another kind, or not a pair."""
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    nothing, text = tmp_path / "nothing.pem", tmp_path / "text.pem"
    text.write_text("no certificate\n")
    create_ledger(str(tmp_path / "ledger.sqlite"))
    for certificate, key, told in (
        (nothing, nothing, f"--tls-cert: the file {nothing} cannot be read: No such file"),
        (ours.certificate, nothing, f"--tls-key: the file {nothing} cannot be read: No such file"),
        (tmp_path, ours.key, f"--tls-cert: the file {tmp_path} cannot be read: Is a directory"),
        (text, ours.key, f"--tls-cert: the file {text} is no certificate"),
        (ours.certificate, text, f"--tls-key: the file {text} is no private key"),
        (ours.certificate, theirs.key, f"--tls-key: the file {theirs.key} is not the key of the certificate"),
    ):
        words = ["--ledger", "ledger.sqlite", "--port", "0", "--tls-cert", str(certificate), "--tls-key", str(key)]
        done = subprocess.run(
            [sys.executable, "-m", "eventmill", "serve", *words],
            cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 1 and done.stdout == "" and told in done.stderr, done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
