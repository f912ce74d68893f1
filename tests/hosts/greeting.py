"""Whether a host reaches a server, and what it is told where it does not. No tests."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.hosts.host import Host

CONNECT = """
import socket, sys
try:
    print(socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20).recv(100).decode())
except OSError as error:
    print(type(error).__name__, error.errno)
"""

GREETING = "the server"


@contextmanager
def greeter(address: str) -> Iterator[int]:
    """A server of the test's own process that greets; its port."""
    with socket.create_server((address, 0)) as server:

        def greet() -> None:
            while True:
                try:
                    with server.accept()[0] as line:
                        line.sendall(GREETING.encode())
                except OSError:
                    return

        thread = threading.Thread(target=greet)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def answer(host: Host, address: str, port: int) -> str:
    """What somebody says to this host, or why nobody does."""
    return host.run([sys.executable, "-c", CONNECT, address, str(port)]).strip()
