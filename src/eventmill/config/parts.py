"""What all parts of a campaign file share: unknown keys are refused, and values can be stored."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, model_validator


def as_text(place: Any) -> Any:
    """A `Path` as the text that a file would have."""
    return str(place) if isinstance(place, Path) else place


def _no_zero_byte(place: str) -> str:
    if "\0" in place:
        raise ValueError("it contains a zero byte, which is not allowed in file names")
    return place


Place = Annotated[str, BeforeValidator(as_text), AfterValidator(_no_zero_byte)]
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

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        title=None,
        hide_input_in_errors=True,
        # Pydantic gives none to a field that is a model: Prefect's form then calls it by its class, or "Field".
        field_title_generator=lambda name, _: name.replace("_", " ").capitalize(),
    )

    PLAIN: ClassVar[str | None] = None
    """The key that is meant if only its value is given, as in `output: results`."""

    PLAIN_TYPES: ClassVar[tuple[type, ...]] = (str, Path)

    @model_validator(mode="before")
    @classmethod
    def _of_one_value(cls, data: Any) -> Any:
        is_plain = isinstance(data, cls.PLAIN_TYPES) and not isinstance(data, bool)
        return {cls.PLAIN: data} if cls.PLAIN is not None and is_plain else data


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
