"""Whether this machine lets a test make hosts, and what happens to the test where it does not."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys

import pytest

COMMANDS = {"unshare": "util-linux", "nsenter": "util-linux", "ip": "iproute2", "env": "coreutils"}
"""What is run, and Debian's package that has it."""

TRIAL = """
set -e
mount -t tmpfs none /tmp
ip link add switch type bridge
ip link add one type veth peer name two
ip link set one master switch
ip link set one type bridge_slave isolated on
"""
"""All that asks the kernel for something rare, in namespaces that end with it."""

NAMESPACES = ("--net", "--pid", "--uts", "--ipc", "--mount")


@functools.cache
def why_not() -> str | None:
    """The reason why hosts cannot be made here; None if they can."""
    if sys.platform != "linux":
        return f"hosts for tests are made of Linux namespaces, and this is {sys.platform}"
    if os.getuid() != 0:
        return "hosts for tests are made of Linux namespaces by root: run the tests as root"
    if missing := [name for name in COMMANDS if shutil.which(name) is None]:
        packages = " ".join(sorted({COMMANDS[name] for name in missing}))
        return f"hosts for tests need the commands {', '.join(missing)}: apt-get install {packages}"
    trial = subprocess.run(
        ["unshare", *NAMESPACES, "--fork", "--mount-proc", "sh", "-c", TRIAL], capture_output=True, text=True
    )
    if trial.returncode:
        return f"this machine lets root make no namespaces with a network: {trial.stderr.strip()}"
    return None


def require_hosts() -> None:
    """Skip the test where hosts cannot be made; fail it where everything must run."""
    if reason := why_not():
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
