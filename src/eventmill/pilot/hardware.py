"""What a pilot finds out about its machine: cores, memory, GPUs. Changes nothing."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from eventmill.core.units import parse_bytes
from eventmill.errors import CampaignError

VISIBLE = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
"""How batch systems and people say which GPUs a process may use."""

SMI_SECONDS = 10.0
"""How long nvidia-smi may take: it hangs where a driver is broken."""


def gpu_count(
    *,
    variables: Mapping[str, str] = os.environ,
    listed: Callable[[], str | None] | None = None,
    devices: Path = Path("/dev"),
) -> int:
    """GPUs that this process may use: those that are made visible to it, else those of the machine.

    Of the machine are those that `nvidia-smi -L` lists (`listed` in its place), or else `/dev/nvidia0` and so on.
    """
    for name in VISIBLE:
        if name in variables:
            return _visible(variables[name])
    text = (listed or _list_by_nvidia)()
    if text is not None:
        return len(re.findall(r"^GPU \d+:", text, re.MULTILINE))
    try:
        return sum(re.fullmatch(r"nvidia\d+", path.name) is not None for path in devices.iterdir())
    except OSError:
        return 0


def _visible(given: str) -> int:
    """Devices of a list such as `0,1`; CUDA ignores what follows after an invalid one, as `-1` or `NoDevFiles`."""
    count = 0
    for each in map(str.strip, given.split(",")):
        if not re.fullmatch(r"\d+|(GPU|MIG)-[0-9a-zA-Z/-]+", each):
            break
        count += 1
    return count


def _list_by_nvidia() -> str | None:
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=SMI_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def bytes_of(given: str | None) -> int:
    """Memory in bytes: as given, else what this machine, or the control group of this process, has."""
    if given is None:
        return available_memory()
    try:
        return parse_bytes(given)
    except ValueError as error:
        raise CampaignError(f"--memory: {error}") from None


def available_memory() -> int:
    """Bytes of memory that this process and its children may use."""
    total = psutil.virtual_memory().total
    for place in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            told = Path(place).read_text().strip()
        except OSError:
            continue
        if told.isdigit():
            return min(total, int(told))
    return total


def core_count() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
