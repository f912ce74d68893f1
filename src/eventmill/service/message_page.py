"""GET /v1/messages: what each message means, as one page without scripts, or anything from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache
from html import escape

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from eventmill.service.message_outline import Call, Field, Kind, Message, Outline, outline

STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 20%, transparent); }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 64rem; margin: 0 auto; padding: 1rem; }
h2 { margin-top: 3rem; border-bottom: 1px solid var(--line); }
h3 { margin-top: 2rem; }
code, pre { font: .9em/1.4 ui-monospace, monospace; }
code, a { overflow-wrap: anywhere; }
pre { overflow-x: auto; border: 1px solid var(--line); border-radius: .3rem; padding: .6rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; }
tr > * { border-bottom: 1px solid var(--line); }
th { white-space: nowrap; }
.wide + .wide { margin-top: 1rem; }
nav ul { columns: 20rem; padding-left: 1.2rem; }
nav li { break-inside: avoid; }
a { color: LinkText; }
:target { scroll-margin-top: 1rem; outline: 2px solid var(--line); outline-offset: .3rem; }
"""

_MARKED = re.compile(r"`([^`]+)`|\*([^*`]+)\*")

_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing but this style: no script, no picture, no other host."""


def add_message_page(app: FastAPI) -> None:
    """Serve the page. It is the same for everybody and tells nothing of campaigns, so it needs no token."""

    @lru_cache(maxsize=1)
    def page() -> str:
        return as_html(outline(app.openapi()))

    @app.get("/v1/messages", include_in_schema=False)
    def messages() -> HTMLResponse:
        return HTMLResponse(page(), headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"})


def as_html(told: Outline) -> str:
    """The page."""
    calls = [call for _, _, mine in told.tags for call in mine]
    return "".join(
        [
            "<!doctype html>\n<html lang='en'>\n<meta charset='utf-8'>\n",
            "<meta name='viewport' content='width=device-width, initial-scale=1'>\n",
            f"<title>Messages of the {escape(told.title)}</title>\n<style>{STYLE}</style>\n<main>\n",
            f"<h1>{escape(told.title)}: what each message means</h1>\n",
            f"<p>{_text(told.introduction)} This is version {escape(told.version)}; ",
            "<a href='/openapi.json'>/openapi.json</a> has the same for programs.</p>\n",
            _contents("Calls", [(call.name, f"{call.method} {call.path}") for call in calls]),
            _contents("Messages", [(message.name, message.name) for message in told.messages]),
            *(
                f"<h2>{escape(name.capitalize())}</h2>\n<p>{_text(meaning)}</p>\n{''.join(map(_call, mine))}"
                for name, meaning, mine in told.tags
            ),
            "<h2>Messages</h2>\n",
            *map(_message, told.messages),
            "</main>\n</html>\n",
        ]
    )


def _contents(title: str, links: list[tuple[str, str]]) -> str:
    items = "".join(f"<li><a href='#{escape(name)}'>{escape(text)}</a></li>\n" for name, text in links)
    return f"<nav aria-label='{title}'>\n<h2>{title}</h2>\n<ul>\n{items}</ul>\n</nav>\n"


def _call(call: Call) -> str:
    rows = [
        ("Needs", "a token" if call.needs_token else "no token"),
        *([("Sent", _kind(call.sent))] if call.sent is not None else []),
        *((f"Answer {status}", "" if kind is None else _kind(kind)) for status, kind in call.answers),
        *([("Repeated", _text(call.repetition))] if call.repetition else []),
        *((f"Error {status}", _text(meaning)) for status, meaning in call.errors),
    ]
    told = "".join(f"<tr><th scope='row'>{name}</th><td>{text}</td></tr>\n" for name, text in rows)
    return (
        f"<section id='{escape(call.name)}'>\n<h3><code>{call.method} {escape(call.path)}</code></h3>\n"
        f"{_paragraphs(call.meaning)}{_fields(call.parameters, 'Parameter')}"
        f"<div class='wide'><table>\n{told}</table></div>\n</section>\n"
    )


def _message(message: Message) -> str:
    values = f"<p>One of {', '.join(f'<code>{escape(each)}</code>' for each in message.values)}.</p>\n"
    examples = "".join(f"<pre>{escape(each)}</pre>\n" for each in message.examples)
    return (
        f"<section id='{escape(message.name)}'>\n<h3>{escape(message.name)}</h3>\n{_paragraphs(message.meaning)}"
        f"{_fields(message.fields, 'Field')}{values if message.values else ''}{examples}</section>\n"
    )


def _fields(fields: tuple[Field, ...], title: str) -> str:
    if not fields:
        return ""
    rows = "".join(
        f"<tr><th scope='row'><code>{escape(field.name)}</code></th><td>{_kind(field.kind)}</td>"
        f"<td>{_needed(field)}</td><td>{_text(field.meaning)}</td></tr>\n"
        for field in fields
    )
    head = "".join(f"<th scope='col'>{each}</th>" for each in (title, "What it is", "Without it", "Meaning"))
    return f"<div class='wide'><table>\n<tr>{head}</tr>\n{rows}</table></div>\n"


def _needed(field: Field) -> str:
    return "needed" if field.is_needed else f"<code>{escape(field.default)}</code>" if field.default else ""


def _kind(kind: Kind) -> str:
    return "".join(
        f"<a href='#{escape(word)}'>{escape(word)}</a>" if is_message else escape(word)
        for word, is_message in kind.words
    )


def _paragraphs(texts: tuple[str, ...]) -> str:
    return "".join(f"<p>{_text(text)}</p>\n" for text in texts)


def _text(text: str) -> str:
    """Text with `code` and *stress*, as docstrings have it."""
    told, at = "", 0
    for found in _MARKED.finditer(text):
        told += escape(text[at : found.start()])
        code, stressed = found.groups()
        told += f"<code>{escape(code)}</code>" if code else f"<em>{escape(stressed)}</em>"
        at = found.end()
    return told + escape(text[at:])
