"""The verdict as text and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eventmill.drill.verdict import Verdict, as_data


def one_line(verdict: Verdict) -> str:
    """The verdict in one line."""
    found = "exact" if verdict.is_exact else "NOT exact"
    twice = f", {verdict.accepted_twice} commits counted twice" if verdict.accepted_twice else ""
    return (
        f"{found}: of {verdict.events:,} events {verdict.missing:,} are missing in the merged files, "
        f"{verdict.duplicates:,} are duplicated, {verdict.wrong:,} rows are wrong{twice}"
    )


def figures(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """`verdict.as_data`, line by line."""
    recomputed = "not known: the payloads could not write their diary here"
    if data["recomputed"] is not None:
        each = f", {data['recomputed_per_harm']:.1f} for each" if data["harmed"] else ""
        recomputed = f"{data['recomputed']:,} events{each}"
    return [
        ("missing", f"{data['missing']:,} of {data['events']:,} events"),
        ("duplicates", f"{data['duplicates']:,}"),
        ("wrong rows", f"{data['wrong']:,}"),
        ("commits counted twice", f"{data['accepted_twice']:,}"),
        ("workers harmed", f"{data['harmed']:,}, {data['losses']:,} losses"),
        ("recomputed", recomputed),
        ("goodput", f"{_share(data['goodput_of_slots'])} of slot time, {_share(data['goodput_of_cpu'])} of CPU"),
        ("noticed after", f"{seconds(data['noticed_seconds'])} (median)"),
        ("recovered after", f"{seconds(data['recovered_seconds'])} (median)"),
        ("wall", seconds(data["wall_seconds"])),
    ]


def fault_rows(data: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Each fault: when, what, and how long until it was noticed and recovered from."""
    return [
        (f"{done['fault']['at']:.0%}", done["what"], seconds(done["noticed"]), seconds(done["recovered"]))
        for done in data["faults"]
    ]


def markdown(verdict: Verdict) -> str:
    """Figures and faults as Markdown tables."""
    data = as_data(verdict)
    lines = "\n".join(f"| {name} | {text} |" for name, text in figures(data))
    rows = "\n".join(f"| {' | '.join(row)} |" for row in fault_rows(data))
    return (
        f"{one_line(verdict)}\n\n| | |\n|---|---|\n{lines}\n\n"
        f"| at | fault | noticed after | recovered after |\n|---|---|---|---|\n{rows}\n"
    )


def seconds(time: float | None) -> str:
    """`3.2 s`, or nothing."""
    return "" if time is None else f"{time:.1f} s"


def _share(ratio: float | None) -> str:
    return "an unknown part" if ratio is None else f"{ratio:.0%}"
