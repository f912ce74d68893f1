"""Requests that no pilot would send: too large, too deep, never ending. Others go on, and nothing changes."""

from __future__ import annotations

import gzip
import socket
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from eventmill.core.access_tokens import Role
from tests.engine.service_lab import Lab, RawPilot, commit, honest, served_lab
from tests.waiting import until

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def lab(tmp_path: Path, long_lead: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with served_lab(tmp_path) as made:
        yield made


@pytest.fixture
def hostile(lab: Lab) -> Iterator[RawPilot]:
    """A pilot of campaign `c` with a block; ledger and store are the same afterwards, and work goes on."""
    pilot = RawPilot(lab, lab.token(Role.PILOT, "c"))
    lab.offer("c")
    (claim,) = pilot.acquire()
    pilot.http.headers["X-Lease"] = claim["lease"]
    before = lab.everything()
    yield pilot
    assert lab.everything()["c"] == before["c"]
    assert pilot.http.delete(pilot.path).json() == {"released": 1}
    lab.is_finished_by(RawPilot(lab, lab.token(Role.PILOT, "c")), "c")


def connect(lab: Lab) -> socket.socket:
    """A connection on which anything may be sent."""
    place = urlsplit(lab.url)
    return socket.create_connection((place.hostname, place.port), timeout=60)


def head(pilot: RawPilot, method: str, path: str, *lines: str) -> bytes:
    """The beginning of a request."""
    token = pilot.http.headers["Authorization"]
    return "\r\n".join(
        [f"{method} {path} HTTP/1.1", "Host: h", f"Authorization: {token}", *lines, "", ""]
    ).encode()


def status(connection: socket.socket) -> int:
    """The status of the answer."""
    return int(connection.makefile("rb").readline().split()[1])


def lease(pilot: RawPilot) -> str:
    """The lease that it has."""
    return str(pilot.http.headers["X-Lease"])


def an_output(pilot: RawPilot) -> str:
    """Where it may put an output."""
    return f"{pilot.path}/outputs/{lease(pilot)}/0-10?sha256={'0' * 64}"


@pytest.mark.parametrize("size", ["10000000000", "9" * 18, "9" * 30, "9" * 5000])
def test_a_body_that_is_announced_and_too_large(lab: Lab, hostile: RawPilot, size: str) -> None:
    """Refused before anything of it comes, for a message and for an output."""
    for method, path in (("POST", f"{hostile.path}/report"), ("PUT", an_output(hostile))):
        with connect(lab) as connection:
            connection.sendall(
                head(hostile, method, path, f"Content-Length: {size}", "Content-Type: application/json")
            )
            assert status(connection) in (413, 400), path  # 400: the server takes it for no number


@pytest.mark.parametrize("size", ["-1", "²", "1e3", "0x10", " ", "1, 2"])
def test_a_length_that_is_none(lab: Lab, hostile: RawPilot, size: str) -> None:
    """Refused."""
    for method, path in (("POST", f"{hostile.path}/report"), ("PUT", an_output(hostile))):
        with connect(lab) as connection:
            connection.sendall(head(hostile, method, path, f"Content-Length: {size}"))
            connection.shutdown(socket.SHUT_WR)
            assert 400 <= status(connection) < 500


def test_a_body_that_is_sent_and_too_large(lab: Lab, hostile: RawPilot, monkeypatch: pytest.MonkeyPatch) -> None:
    """In chunks, without a length: it is refused when it is too much, and no memory grows with it."""
    monkeypatch.setattr("eventmill.service.work_routes.MOST_BYTES", 50_000_000)
    piece = b"x" * 1_000_000
    for method, path, most in (("POST", f"{hostile.path}/report", 33), ("PUT", an_output(hostile), 51)):
        before, sent = psutil.Process().memory_info().rss, 0
        with connect(lab) as connection:
            connection.sendall(
                head(hostile, method, path, "Transfer-Encoding: chunked", "Content-Type: application/json")
            )
            try:
                for _ in range(500):
                    connection.sendall(b"f4240\r\n" + piece + b"\r\n")
                    sent += 1
            except OSError:  # the service hung up
                pass
            else:
                assert status(connection) == 413
        assert psutil.Process().memory_info().rss - before < 300_000_000, sent
        assert sent >= most - 1 or sent == 500


def a_million() -> bytes:
    """Items that are small each."""
    return b'{"items":[' + b",".join([b"{}"] * 1_000_000) + b"]}"


@pytest.mark.parametrize(
    "body",
    [
        a_million(),
        b'{"items":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"items":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
        b"[" * 1_000_000,
        b'{"items":[{"type":"setup","lease":"LEASE","cpu_seconds":NaN}]}',
        b'{"items":[{"type":"setup","lease":"LEASE","cpu_seconds":Infinity}]}',
        b'{"items":[{"type":"setup","lease":"LEASE","cpu_seconds":1e999}]}',
        b'{"items":[{"type":"setup","lease":"LEASE","cpu_seconds":-1}]}',
        b'{"items":[{"type":"renew","lease":"LEASE","begun":' + b"9" * 100_000 + b"}]}",
        b'{"items":[{"type":"renew","lease":"LEASE","begun":9223372036854775808}]}',
        b'{"items":[{"type":"renew","lease":"LEASE","begun":-1}]}',
        b'{"items":[{"type":"renew","lease":"LEASE","begun":1.5}]}',
        b'{"items":[{"type":"release","lease":"LEASE","drained":"' + b"x" * 1_000_000 + b'"}]}',
        b'{"items":[{"type":"' + b"x" * 1_000_000 + b'"}]}',
        b'{"items":{"' + b"k" * 1_000_000 + b'":1}}',
        b'{"items":[{"type":"release","lease":"LEASE","drained":"\\ud800"}]}',
        b'{"items":[{"type":"release","lease":"LEASE","drained":"\xff"}]}',
        b"\xff\xfe",
        b"",
        b"null",
        b'{"items":null}',
        b"PK\x03\x04",
    ],
    ids=lambda body: f"{len(body)} bytes {body[:12]!r}",
)
def test_messages_that_are_none(hostile: RawPilot, body: bytes) -> None:
    """Too many, too deep, no numbers, no text: one line that does not repeat them."""
    body = body.replace(b"LEASE", lease(hostile).encode())
    answer = hostile.http.post(f"{hostile.path}/report", content=body, headers=JSON)
    assert answer.status_code in (400, 422), answer.text[:300]
    assert len(answer.content) < 20_000 and "\n" not in answer.json()["detail"]


def test_numbers_that_are_none_where_one_waits(hostile: RawPilot) -> None:
    """A wait that is no number would never end."""
    for number in ("NaN", "Infinity", "-Infinity", "1e999", "-1", "26", '"x"', "9" * 5000):
        body = f'{{"nonce":"0123456789","wait_seconds":{number}}}'
        answer = hostile.http.post(f"{hostile.path}/acquire", content=body, headers=JSON)
        assert answer.status_code in (400, 422), number


def test_too_many_outputs_in_one_report(lab: Lab, hostile: RawPilot) -> None:
    """Each costs a look into the store, where others' outputs are looked for, too."""
    claim = {"lease": lease(hostile), "payload": "0" * 16, "input": {"first": 0}}
    item = commit(claim, (0, 10), b"", key="no")
    item["outputs"] = item["outputs"] * 1000
    answer = hostile.report(*[item] * 3)
    assert answer.status_code == 422 and "3,000 outputs" in answer.json()["detail"]


def test_bombs(hostile: RawPilot) -> None:
    """What is compressed is not unpacked: it is no message, and an output is stored as it comes."""
    bomb = gzip.compress(b'{"items":[' + b" " * 50_000_000 + b"]}")
    before = psutil.Process().memory_info().rss
    for encoding, body in (("gzip", bomb), ("deflate", zlib.compress(b" " * 50_000_000)), ("br", b"x")):
        headers = {"Content-Encoding": encoding, **JSON}
        answer = hostile.http.post(f"{hostile.path}/report", content=body, headers=headers)
        assert answer.status_code in (400, 415, 422)
        answer = hostile.put(lease(hostile), (0, 10), body, sha256="0" * 64, headers=headers)
        assert answer.status_code == 422
    assert psutil.Process().memory_info().rss - before < 40_000_000


def test_requests_that_never_end_hold_nobody_up(lab: Lab, hostile: RawPilot) -> None:
    """Two hundred that stop in their first line, their headers or their body: an honest pilot does not notice."""
    message = head(
        hostile, "POST", f"{hostile.path}/report", "Content-Length: 1000", "Content-Type: application/json"
    )
    output = head(hostile, "PUT", an_output(hostile), "Content-Length: 1000000")
    beginnings = (b"POST /v1/ses", message[:60], message + b'{"items":', output + b"x" * 1000)
    with ExitStack() as stack:
        for number in range(200):
            connection = stack.enter_context(connect(lab))
            connection.sendall(beginnings[number % len(beginnings)])
        other = RawPilot(lab, lab.token(Role.PILOT, "other"))
        lab.offer("other")
        (claim,) = other.acquire()
        data = honest(claim, (0, 10))
        key = other.put(claim["lease"], (0, 10), data).json()["key"]
        answer = other.report(commit(claim, (0, 10), data, key=key))
        assert answer.json()["replies"][0]["outcomes"] == ["accepted"]


def test_a_message_that_falls_silent_is_let_go(
    lab: Lab, hostile: RawPilot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while the service answers, hangs up, and keeps nothing of it."""
    monkeypatch.setattr("eventmill.service.limits.SILENT_SECONDS", 0.3)
    for method, path in (("POST", f"{hostile.path}/report"), ("PUT", an_output(hostile))):
        with connect(lab) as connection:
            connection.sendall(
                head(hostile, method, path, "Content-Length: 1000", "Content-Type: application/json") + b"{"
            )
            assert status(connection) == 408
            until(lambda connection=connection: connection.recv(1 << 16) == b"", seconds=30)


def test_a_pilot_that_goes_in_the_middle_is_no_defect(
    lab: Lab, hostile: RawPilot, caplog: pytest.LogCaptureFixture
) -> None:
    """Pilots vanish all the time: no traceback in the log of the service, no file left behind."""
    for method, path in (("POST", f"{hostile.path}/report"), ("PUT", an_output(hostile))):
        with connect(lab) as connection:
            connection.sendall(
                head(hostile, method, path, "Content-Length: 1000", "Content-Type: application/json") + b"{"
            )
    assert hostile.report().status_code == 200
    assert list((lab.folder / "temporary").iterdir()), "outputs are kept somewhere else until they are whole"
    until(lambda: not list((lab.folder / "temporary").rglob("upload-*")), seconds=30)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_strange_paths(hostile: RawPilot, lab: Lab) -> None:
    """Up and out of folders, encoded once and twice, NUL, much too long: nothing is there."""
    secret = (lab.folder / "p.py").read_bytes()
    up = "../../../../../../../../" + str(lab.folder / "p.py")
    ways = [
        up,
        up.replace("/", "%2f"),
        up.replace("../", "%2e%2e/"),
        up.replace("/", "%252f"),
        "..%5c..%5cp.py",
        "%00",
    ]
    for way in [*ways, "x" * 60_000, "%ff%fe", "1e3", "1.0", "-1", "０"]:
        for path in (
            *(f"/v1/inputs/1/{way}", f"/v1/inputs/{way}/1", f"/v1/payloads/{way}", f"/v1/{way}", f"/{way}"),
            *(f"{hostile.path}/outputs/{lease(hostile)}/{way}", f"{hostile.path}/outputs/{way}/0-10"),
        ):
            for method in ("GET", "PUT", "DELETE"):
                with connect(lab) as connection:
                    target = f"{path}{'?sha256=' + '0' * 64 if method == 'PUT' else ''}".encode()
                    request = head(hostile, method, "PATH", "Content-Length: 0", "Connection: close")
                    connection.sendall(request.replace(b"PATH", target, 1))
                    answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
                code = int(answer.split()[1]) if answer else 400
                assert 400 <= code < 500, (method, path)
                assert secret not in answer


def test_strange_headers(hostile: RawPilot) -> None:
    """Ranges, tokens and ids of any kind: refused or ignored, and never given back."""
    for header, value in (
        *(("Authorization", each) for each in ("Bearer", "Basic eDp5", "Bearer evm_" + "x" * 8000, "é")),
        *(("X-Request-Id", each) for each in ("a b", "<script>", "x" * 8000)),
    ):
        answer = hostile.http.get("/v1/payloads/0", headers={header: value.encode("latin-1")})
        assert answer.status_code in (400, 401, 404, 431)
        assert len(value) < 8 or value not in answer.text
        assert answer.headers.get("X-Request-Id") != value


def test_a_served_input_is_read_as_far_as_it_goes(lab: Lab, tmp_path: Path) -> None:
    """Byte ranges of any kind give bytes of this file or none; many at once are one whole answer."""
    path = tmp_path / "events.csv"
    path.write_text("event\n" + "\n".join(map(str, range(100))))
    data = path.read_bytes()
    files = lab.begin("files", inputs=[str(path)])
    pilot = RawPilot(lab, lab.token(Role.PILOT, "files"))
    address = f"/v1/inputs/{files.id}/{lab.ledger.inputs(files.id)[0].id}"
    until(lambda: pilot.http.get(address).status_code == 200, seconds=10)
    for asked, expected in {
        "bytes=0-4": data[:5],
        "bytes=-5": data[-5:],
        f"bytes=5-{10**19 - 1}": data[5:],
        "bytes=5-": data[5:],
    }.items():
        answer = pilot.http.get(address, headers={"Range": asked})
        assert (answer.status_code, answer.content) == (206, expected), asked
    for asked in ("bytes=-0", f"bytes={len(data)}-", f"bytes={10**18}-"):
        assert pilot.http.get(address, headers={"Range": asked}).status_code == 416, asked
    for asked in ("bytes=-", "bytes=5-1", "bytes=" + "9" * 100 + "-", "lines=1-2", "bytes=0-1,3-4", "x" * 150):
        answer = pilot.http.get(address, headers={"Range": asked})
        assert (answer.status_code, answer.content) == (200, data), asked
    assert pilot.http.get(address, headers={"Range": "x" * 1000}).status_code == 422


def test_a_message_that_does_not_say_that_it_is_json_is_told_so(lab: Lab) -> None:
    """As curl sends it without -H. What says so and is something else is told what is wrong with it."""
    pilot, message = RawPilot(lab, lab.token(Role.PILOT, "c")), b'{"name": "a", "slots": 1, "nonce": "0123456789"}'

    def told(content: bytes, **headers: str) -> str:
        answer = pilot.http.post("/v1/sessions", content=content, headers=headers)
        assert answer.status_code == 422
        return str(answer.json()["detail"])

    missing = "the header 'Content-Type: application/json' is missing"
    form = "application/x-www-form-urlencoded"
    assert missing in told(message)
    assert f"{missing}; this call says '{form}'" in told(message, **{"Content-Type": form})
    assert missing not in told(b"[]", **JSON) and missing not in told(b'"text"', **JSON)
    assert missing not in told(b"")
    assert pilot.http.post("/v1/sessions", content=message, headers=JSON).status_code == 201
