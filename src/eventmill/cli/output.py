"""How answers are printed: lines of any length, or JSON. Nothing is truncated."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from eventmill.text import told

_ENDLESS = 100_000
"""The width of a line for rich, which would otherwise truncate or fold tables; terminals wrap by themselves."""


def screen() -> Console:
    """Standard output, without rich's markup: square brackets are event ranges."""
    return Console(width=_ENDLESS, markup=False, highlight=False, emoji=False)


def messages(*, quiet: bool) -> Console:
    """Standard error, for what happens meanwhile; nothing is read as markup here either."""
    return Console(stderr=True, quiet=quiet, markup=False, highlight=False, emoji=False)


def print_json(data: Any) -> None:
    """Print `data` as JSON, indented, for scripts and for people."""
    typer.echo(json.dumps(data, indent=2))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Rows under bold names; integers are right-aligned and have thousands separators."""
    listed = [tuple(row) for row in rows]
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place, name in enumerate(columns):
        numbers = bool(listed) and all(isinstance(row[place], int) for row in listed)
        made.add_column(Text(name), justify="right" if numbers else "left", no_wrap=True)
    for row in listed:
        made.add_row(*(Text(f"{cell:,}" if isinstance(cell, int) else told(str(cell))) for cell in row))
    return made


def facts(pairs: Iterable[tuple[str, str]]) -> Table:
    """One line per fact: a dim name and its text."""
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(no_wrap=True)
    for name, text in pairs:
        made.add_row(Text(name), Text(told(text)))
    return made
