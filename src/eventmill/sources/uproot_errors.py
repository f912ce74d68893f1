"""Error messages of uproot on one line."""

from __future__ import annotations

import re


def one_line(error: BaseException) -> str:
    """The first paragraph of an error of uproot on one line, without the name of our file handle."""
    text = " ".join(str(error).strip().split("\n\n")[0].split())
    text = re.split(r" (?:in|for) file (?:path )?<| from ObjectSource", text)[0]
    return f"{text[:300] or 'no reason given'} ({type(error).__name__})"
