"""Makes text from outside safe for the ledger, a pipe and a terminal.

Exceptions and output of user code, answers of servers and names of files may contain anything: halves of surrogate
pairs, NUL, terminal control sequences, a hundred megabytes. None of it may cause an error.
"""

from __future__ import annotations

import hashlib
import re

WORDS_BYTES = 16_000
"""The maximum length of a traceback or message, in UTF-8. Longer text is cut in the middle, with a note."""

LINE_BYTES = 2_000
"""The maximum length of a reason, which is stored in many rows."""

NAME_BYTES = 8_000
"""The maximum length of a name, such as a url or a key: twice that of a path on Linux."""

_MARK_BYTES = 60  # of the note about the omitted part
_DIGEST_CHARACTERS = 16

# Halves of surrogate pairs; control characters except tab and newline; changes of the writing direction.
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_NO_NAME = re.compile("[\x00\ud800-\udfff]")


def told(text: str, *, most_bytes: int = WORDS_BYTES) -> str:
    r"""`text` to be read by people: UTF-8 of at most `most_bytes`, without orders to a terminal.

    Unsafe characters are written as in Python, `\x1b` or `\udce9`; what is too much is cut from the middle,
    with the number of characters. Safe text is unchanged, so applying this twice is harmless.
    """
    length = str.__len__(text)
    if length <= most_bytes:
        escaped = _escaped(str.__getitem__(text, slice(None)))  # of a subclass, a plain one
        if len(escaped.encode()) <= most_bytes:
            return escaped
    room = (most_bytes - _MARK_BYTES) // 2
    head = _fitting(str.__getitem__(text, slice(room)), room)
    tail = _fitting(str.__getitem__(text, slice(max(0, length - room), length))[::-1], room)[::-1]
    left_out = length - len(head) - len(tail)
    return f"{_escaped(head)} … {left_out:,} characters left out … {_escaped(tail)}"


def line(text: str) -> str:
    """`told`, on one line of at most `LINE_BYTES`."""
    return told(" ".join(told(text, most_bytes=LINE_BYTES).split()), most_bytes=LINE_BYTES)


def name(text: str) -> str:
    """`text` as a name that a database can store. Different names stay different, equal names stay equal.

    A name without halves of surrogate pairs and NUL, of at most `NAME_BYTES`, is unchanged. Any other name is
    written as by `told`, with the beginning of its SHA-256.
    """
    length = str.__len__(text)
    if length <= NAME_BYTES and not _NO_NAME.search(text) and len(text.encode()) <= NAME_BYTES:
        return str.__getitem__(text, slice(None))
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{told(text, most_bytes=NAME_BYTES - _DIGEST_CHARACTERS - 1)}~{digest}"


def words_of(error: BaseException) -> str:
    """The message of `error`, made safe by `told`, even if the message cannot be obtained."""
    try:
        return told(str(error), most_bytes=LINE_BYTES)
    except BaseException as second:  # the method of a user's exception may raise anything
        return f"{type(error).__name__}, whose words cannot be told: they raise {type(second).__name__}"


def _escaped(text: str) -> str:
    return _UNFIT.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def _fitting(text: str, room: int) -> str:
    """As much of the beginning as fits after escaping."""
    used = 0
    for place, character in enumerate(text):
        used += len(_escaped(character).encode())
        if used > room:
            return text[:place]
    return text
