"""What was measured, as the table that people read: each figure beside what it is compared with, and the goal."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

Found = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Row:
    """One line: what was measured, the figures, the ratio that counts, and what is wanted of it (the goal).

    `ratio` is None where there is nothing to compare with; `holds` is None where nothing is asked for.
    """

    what: str
    figures: str
    ratio: float | None = None
    goal: str = ""
    holds: bool | None = None


def rows(found: Found) -> list[Row]:
    """The table's lines, for whatever was measured."""
    made: list[Row] = []
    for name, build in _ROWS.items():
        if name in found:
            made += build(found[name])
    return made


def _overhead(ms: Mapping[str, float]) -> list[Row]:
    ours = ms["eventmill_ms"]
    lines = []
    for peer in ("prefect", "dask", "ray"):
        theirs = ms[f"{peer}_ms"]
        held = ("≤ 1/30", ours / theirs <= 1 / 30) if peer == "prefect" else ("", None)
        figures = f"{ours:.1f} ms against {theirs:.1f} ms"
        lines.append(Row(f"overhead of a range, against one {peer.title()} task", figures, ours / theirs, *held))
    return lines


def _efficiency(found: Mapping[str, float]) -> list[Row]:
    peers = ", ".join(f"{name.title()} {found[name]:.3f}" for name in ("prefect", "dask", "ray"))
    ours = found["eventmill"]
    return [
        Row("slot efficiency, calm, 100 ms events in 5 s ranges", peers, ours, "≥ 0.95", ours >= 0.95),
        Row("the same, against the best of them", "", ours / max(found[n] for n in ("prefect", "dask", "ray"))),
    ]


def _ledger(found: Mapping[str, float]) -> list[Row]:
    lines = []
    for what, speed in found.items():
        if what != "fsync":
            held = ("≥ 2,000 ranges/s", speed >= 2000) if what == "batched" else ("", None)
            per_sync = speed / found["fsync"]
            figures = f"{speed:,.0f} ranges/s; the disk syncs {found['fsync']:,.0f} times/s"
            lines.append(Row(f"ledger, {what}: ranges for each fsync of the disk", figures, per_sync, *held))
    return lines


def _growth(found: Mapping[str, float]) -> list[Row]:
    small, large = "1e+06", "1e+09"
    split, first = found[f"{large} split s"], found[f"{large} first dispatch s"]
    memory, ledger_rows = found[f"{large} peak MB"], found[f"{large} ledger rows"]
    return [
        Row(
            "split of 10^9 events in 1,000 inputs, against 10^6",
            f"{split:.2f} s, {ledger_rows:.0f} ledger rows",
            split / found[f"{small} split s"],
        ),
        Row("first dispatch of 10^9 events", f"{first:.3f} s after the split", None, "≤ 5 s", first <= 5),
        Row("memory of their coordinator's engine", f"{memory:.0f} MB", None, "≤ 300 MB", memory <= 300),
    ]


def _merge(found: Mapping[str, float]) -> list[Row]:
    lines = []
    for name, what in (("large", "40 outputs of 5 MB"), ("small", "500 outputs of 27 kB")):
        ratio, size = found[f"{name}_ratio"], found[f"{name}_bytes"] / 1e6
        merge, copy = size / found[f"{name}_merge_seconds"], size / found[f"{name}_copy_seconds"]
        figures = f"{merge:.0f} MB/s against {copy:.0f} MB/s"
        lines.append(Row(f"merge of {what}, against a synced copy of them", figures, ratio, "≥ 0.5", ratio >= 0.5))
    return lines


def _latency(found: Mapping[str, float]) -> list[Row]:
    ratio = found["remote"] / found["local"]
    figures = f"slot efficiency {found['remote']:.3f} behind 100 ms, {found['local']:.3f} local"
    return [Row("inputs behind 100 ms of latency, against local", figures, ratio, "≥ 0.95", ratio >= 0.95)]


def _churn(found: Mapping[str, float]) -> list[Row]:
    names = [name for name in ("eventmill", "prefect", "dask", "ray") if f"{name} goodput" in found]
    lines = []
    for name in names:
        ended = "completed" if found[f"{name} completed"] else "did not complete"
        figures = (
            f"{ended}, {found[f'{name} lost']:.0f} events lost, {found[f'{name} kills']:.0f} kills, "
            f"{found[f'{name} recomputed per kill']:.0f} events recomputed for each, "
            f"wall {found[f'{name} wall/calm']:.2f} x calm"
        )
        goodput = found[f"{name} goodput"]
        held = ("≥ 0.85", goodput >= 0.85) if name == "eventmill" else ("", None)
        lines.append(Row(f"goodput under churn, {name.title()}", figures, goodput, *held))
    return lines


def _restarts(found: Mapping[str, float]) -> list[Row]:
    joining = f"{found['joining seconds']:.2f} s after its registration, with 'eventmill.preload'"
    lines = [Row("the first event of a worker that joins", joining)]
    for killed in ("flow process", "Dask scheduler", "Prefect server"):
        mine = {name.removeprefix(f"{killed} "): value for name, value in found.items() if name.startswith(killed)}
        times = ", ".join(
            f"{name.removesuffix(' seconds')} after {s:.1f} s" for name, s in mine.items() if "sec" in name
        )
        again, wrong, kills = mine["committed events again"], mine["events not exact"], mine["kills"]
        figures = (
            f"{times}; {again:.0f} committed events computed again, {wrong:.0f} not in the files exactly once"
        )
        lines.append(
            Row(
                f"{kills:.0f} deaths of the {killed}: ranges computed again for each",
                figures,
                mine["ranges again"] / kills,
                "0 / 0",
                again == wrong == 0,
            )
        )
    return lines


def _soak(found: Mapping[str, float]) -> list[Row]:
    figures = (
        f"{found['harmed']:.0f} workers harmed, {found['missing']:.0f} of {found['events']:,.0f} events missing, "
        f"{found['duplicates']:.0f} twice or wrong; recovered after {found['recovered_seconds']:.1f} s (median)"
    )
    exact = found["missing"] == found["duplicates"] == 0
    recomputed = found["ranges recomputed for each"]
    return [
        Row(f"{found['drills']:.0f} seeded drills", figures, None, "0 / 0", exact),
        Row("ranges recomputed for each worker harmed in them", "", recomputed, "≤ 2", recomputed <= 2),
    ]


_ROWS = {
    "overhead": _overhead,
    "efficiency": _efficiency,
    "ledger_speed": _ledger,
    "growth": _growth,
    "merge_speed": _merge,
    "latency_hiding": _latency,
    "churn": _churn,
    "restarts": _restarts,
    "soak": _soak,
}


def table(lines: list[Row]) -> str:
    """The lines as a Markdown table."""
    text = "| what | figures | ratio | goal | |\n|---|---|---|---|---|\n"
    for line in lines:
        ratio = "" if line.ratio is None else f"{line.ratio:.3g}"
        mark = {None: "", True: "holds", False: "**falls short**"}[line.holds]
        text += f"| {line.what} | {line.figures} | {ratio} | {line.goal} | {mark} |\n"
    return text


def machine() -> str:
    """What it was measured on, in a line."""
    info = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    packages = ", ".join(f"{name} {version(name)}" for name in ("prefect", "distributed", "ray", "pyarrow"))
    cpu = model[1] if model else platform.processor()
    return (
        f"{len(os.sched_getaffinity(0))} cores ({cpu}), {memory:.0f} GB of memory, {platform.system()} "
        f"{platform.release()}, Python {platform.python_version()}, {packages}"
    )


def draw(lines: list[Row], path: Path) -> None:
    """The ratios as bars on a logarithmic scale, with those that fall short in red."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    shown = [line for line in lines if line.ratio is not None][::-1]
    figure, axes = plt.subplots(figsize=(9, 0.45 * len(shown) + 1.2), layout="constrained")
    colours = ["tab:red" if line.holds is False else "tab:blue" for line in shown]
    bars = axes.barh([line.what for line in shown], [line.ratio or 0 for line in shown], color=colours)
    axes.bar_label(bars, labels=[f"{line.ratio:.3g}  {line.goal}" for line in shown], padding=4, fontsize=8)
    axes.axvline(1, color="0.4", linewidth=0.8)
    axes.set(xscale="log", xlabel="ratio, as named")
    axes.margins(x=0.6)
    figure.savefig(path, dpi=110)
    plt.close(figure)
