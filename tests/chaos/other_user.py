"""Another user of the machine, who tries what he can: `python -m tests.chaos.other_user REQUEST`, begun as root.

REQUEST is JSON: `do` is "plant" or "attack". What he got is printed as JSON. No tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NOBODY = 65534

PAGES = (
    *("", "health", "metrics", "status", "json/counts.json", "json/identity.json", "info/main/workers.html"),
    *("sitemap.json", "open", "api/health", "api/admin/settings", "api/flow_runs/filter"),
    *(
        "api/block_documents/filter",
        "workers",
        "tasks",
        "system",
        "groups",
        "exceptions",
        "events",
        "graph",
        "profile",
    ),
)
"""Of Dask's and of Prefect's servers."""

CONNECT_SECONDS = 3


def plant(folder: str, uid: int) -> None:
    """Pipes under the names that a scratch folder and its lock have: whoever opens one waits for ever."""
    trap = Path(folder) / f"eventmill-{uid}-stranger"
    trap.mkdir(mode=0o777)
    os.mkfifo(trap / ".alive")
    os.chmod(trap / ".alive", 0o666)


def attack(ports: list[int], places: list[str], mark: str) -> dict[str, Any]:
    """Everything at once: `ran` where Dask let us in, `read` what could be read, `pages` with their status."""
    return {
        "uid": os.getuid(),
        "ran": _run_code(ports, mark),
        "read": [path for place in places for path in _readable(Path(place))],
        "pages": {f"{port}/{page}": status for port in ports for page, status in _pages(port)},
    }


def _pages(port: int) -> Iterator[tuple[str, int]]:
    for page in PAGES:
        status = _get(port, page)
        if status is None:  # no web server: each further page would be waited for
            return
        yield page, status


async def _connected(addresses: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Those that answer as a Dask server does, so that the next step would be to run code."""
    from distributed.comm import connect

    async def one(address: str, security: Any) -> bool:
        try:
            comm = await connect(
                address, timeout=CONNECT_SECONDS, **security.get_connection_args("client"), deserialize=True
            )
        except Exception:  # whatever a refusal looks like
            return False
        comm.abort()
        return True

    # Dask's own timeout does not end all that it begins, and a cancellation not either.
    tasks = [asyncio.create_task(one(*each)) for each in addresses]
    await asyncio.wait(tasks, timeout=3 * CONNECT_SECONDS)
    return [each for each, task in zip(addresses, tasks, strict=True) if task.done() and task.result()]


def _run_code(ports: list[int], mark: str) -> list[str]:
    """The addresses at which somebody ran what we sent, which leaves a mark, or at least let us in."""
    import distributed
    from distributed.security import Security

    kinds = (("tcp", Security()), ("tls", Security.temporary()))
    tries = [(f"{protocol}://127.0.0.1:{port}", security) for port in ports for protocol, security in kinds]
    let_in = asyncio.new_event_loop().run_until_complete(_connected(tries))
    for address, security in let_in:
        with (
            contextlib.suppress(Exception),  # a worker's port, not a scheduler's
            distributed.Client(
                address, security=security, timeout=CONNECT_SECONDS, set_as_default=False
            ) as client,
        ):
            client.run_on_scheduler(os.mkdir, mark)
    return [address for address, _ in let_in]


def _readable(place: Path) -> Iterator[str]:
    try:
        if place.is_dir():
            for inside in place.iterdir():
                yield from _readable(inside)
        elif place.is_file():
            with place.open("rb"):
                yield str(place)
    except OSError:
        return


def _get(port: int, page: str) -> int | None:
    data = b"{}" if page.endswith("filter") else None
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/{page}", data=data, headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=CONNECT_SECONDS) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, ValueError):  # no web server
        return None


def main() -> None:
    """Import all while one may read it, then be nobody."""
    request = json.loads(sys.argv[1])
    if request["do"] == "attack":
        attack([9], [], "nowhere")
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    if request["do"] == "plant":
        plant(request["folder"], request["uid"])
        return
    print(json.dumps(attack(request["ports"], request["places"], request["mark"])))


if __name__ == "__main__":
    main()
