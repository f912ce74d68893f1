"""Hosts of a test's own, made of Linux namespaces.

    with network() as net:
        north = net.host("north", hidden=[folder])
        pilot = north.popen(["eventmill", "pilot", "--server", f"http://{net.address}:8000"])

A host has its own network, process ids, hostname and IPC. Its /dev/shm, its folders for temporary files and its
home are empty and its own. Everything else of the file system can be read there, and written nowhere; what a test
hides is empty. So a process on a host shares nothing with the test but the network, and there it reaches
`net.address`, where the test and its servers listen, and nobody else: no other host, and nothing outside.
"""

from tests.hosts.host import Host
from tests.hosts.network import Network, network

__all__ = ["Host", "Network", "network"]
