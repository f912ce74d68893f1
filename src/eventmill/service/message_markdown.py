"""docs/messages.md: the page about messages for those who have no service at hand."""

from __future__ import annotations

from eventmill.service.message_outline import Call, Field, Kind, Message, Outline


def as_markdown(told: Outline) -> str:
    """The page in Markdown."""
    parts = [
        f"# {told.title}: what each message means",
        told.introduction,
        "A running service shows this page at `/v1/messages`, and has the same for programs at `/openapi.json`. "
        "Within version 1, fields may be added, and are never removed or changed; whoever reads ignores what it "
        "does not know. Sizes are bytes, times seconds, ranges half-open and counted from 0 in their input. "
        "`examples/curl-pilot.sh` does with curl what is described here.",
    ]
    for name, meaning, calls in told.tags:
        parts += [f"## {name.capitalize()}", meaning, *map(_call, calls)]
    parts += ["## Messages", *map(_message, told.messages)]
    return "\n\n".join(parts) + "\n"


def _call(call: Call) -> str:
    rows = [
        ("Needs", "a token" if call.needs_token else "no token"),
        *([("Sent", _kind(call.sent))] if call.sent is not None else []),
        *((f"Answer {status}", "" if kind is None else _kind(kind)) for status, kind in call.answers),
        *([("Repeated", call.repetition)] if call.repetition else []),
        *((f"Error {status}", meaning) for status, meaning in call.errors),
    ]
    told = "\n".join(f"| {name} | {_cell(text)} |" for name, text in rows)
    return "\n\n".join(
        [
            f"### `{call.method} {call.path}`",
            *call.meaning,
            *_fields(call.parameters, "parameter"),
            f"| | |\n|---|---|\n{told}",
        ]
    )


def _message(message: Message) -> str:
    values = ", ".join(f"`{each}`" for each in message.values)
    return "\n\n".join(
        [
            f"### {message.name}",
            *message.meaning,
            *_fields(message.fields, "field"),
            *([f"One of {values}."] if values else []),
            *(f"```json\n{each}\n```" for each in message.examples),
        ]
    )


def _fields(fields: tuple[Field, ...], title: str) -> list[str]:
    if not fields:
        return []
    rows = [
        f"| `{field.name}` | {_kind(field.kind)} | {_needed(field)} | {_cell(field.meaning)} |" for field in fields
    ]
    return ["\n".join([f"| {title} | what it is | without it | meaning |", "|---|---|---|---|", *rows])]


def _needed(field: Field) -> str:
    return "needed" if field.is_needed else f"`{field.default}`" if field.default else ""


def _kind(kind: Kind) -> str:
    return "".join(f"[{word}](#{word.lower()})" if is_message else _plain(word) for word, is_message in kind.words)


def _cell(text: str) -> str:
    return " ".join(_plain(text).split())


def _plain(text: str) -> str:
    """Text in a table; a pattern is no markup."""
    plain, found, pattern = text.partition(" that matches ")
    return (f"{plain}{found}`{pattern}`" if found else text).replace("|", "\\|")
