"""What all parts of a campaign file share: unknown keys are refused, and values can be stored."""

from __future__ import annotations

from math import isfinite
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict


def _no_zero_byte(place: str) -> str:
    if "\0" in place:
        raise ValueError("it contains a zero byte, which is not allowed in file names")
    return place


Place = Annotated[str, AfterValidator(_no_zero_byte)]
"""A path or an address."""


NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
IDENTIFIER = r"^[A-Za-z_][A-Za-z0-9_]*$"
SUFFIX = r"^[A-Za-z0-9]+(\.[A-Za-z0-9]+)*$"
CREDENTIALS = r"^(anonymous|[a-z0-9-]+/[a-z0-9-]+)$"
PATTERNS = {
    NAME: "use 1 to 64 letters (A-Z, a-z), digits, '.', '_' and '-'; the first must be a letter or a digit",
    IDENTIFIER: "use letters (A-Z, a-z), digits and '_'; the first must not be a digit",
    SUFFIX: "use letters (A-Z, a-z) and digits, with single dots between them, such as jsonl.gz",
    CREDENTIALS: "write 'anonymous', or the type and name of a Prefect block in lower case, such as secret/my-s3",
}
"""What a text must match, and how a message says that."""


class Part(BaseModel):
    """A part of a campaign. Unknown keys are refused; values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, title=None, hide_input_in_errors=True)


def as_json(value: Any, place: str) -> Any:
    """`value` if JSON can represent it, tuples as lists; else ValueError says where, and what to write."""
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"{place} has the key {key!r}, which is not a string; write it in quotes")
        return {key: as_json(item, f"{place}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item, f"{place}[{number}]") for number, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and isfinite(value)):
        return value
    raise ValueError(
        f"{place} is {value!r}, a {type(value).__name__}; only strings, numbers, true, false, null, lists and "
        "mappings can be stored, so write it in quotes"
    )
