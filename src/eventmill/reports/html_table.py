"""Rows of text as an HTML table, for a notebook. All that is text stays text."""

from __future__ import annotations

import html
from collections.abc import Sequence

from eventmill.text import line


def table_html(title: str, rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as HTML under a title: what a notebook shows of a report or an audit."""
    cells = "".join(f"<tr>{''.join(_left(html.escape(line(text))) for text in row)}</tr>" for row in rows)
    return f"<div><strong>{html.escape(title)}</strong><table>{cells}</table></div>"


def _left(content: str) -> str:
    return f"<td style='text-align:left'>{content}</td>"
