"""The user's code in a campaign: the payload, and a reader of inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, Field, field_validator, model_validator

from eventmill.config.cell_code import written_out
from eventmill.config.needs_spec import Environment, Needs
from eventmill.config.parts import Part, as_json
from eventmill.core.signatures import declared_by, why_no_payload, why_no_reader

SOURCE = Field(
    None,
    description="The code itself, in place of a file; 'callable' is then a name in it. A notebook gives it.",
)


class Code(Part):
    """What the user's payload and reader have in common."""

    ROLE: ClassVar[str]
    PLAIN: ClassVar[str | None] = "callable"

    @model_validator(mode="before")
    @classmethod
    def _of_a_function(cls, data: Any) -> Any:
        return _with_code(data, role=cls.ROLE)

    @field_validator("files", mode="before", check_fields=False)
    @classmethod
    def _a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("parameters", mode="after", check_fields=False)
    @classmethod
    def _can_be_kept(cls, value: dict[str, Any]) -> dict[str, Any]:
        # The ledger stores them as JSON: any other value would be different when the campaign is resumed.
        return {key: as_json(item, key) for key, item in value.items()}


class Payload(Code):
    """The user's code, which turns a range of events into an output."""

    ROLE = "payload"

    callable: str = Field(
        description="path/to/file.py:Name (relative to the working directory) or package.module:Name."
    )
    parameters: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments for the payload.")
    files: list[str] | None = Field(
        None,
        min_length=1,
        description=(
            "Data files beside the payload's file that are shipped with it, such as [model.json, 'tables/*.csv']; "
            "at most 50 MB."
        ),
    )
    source: str | None = SOURCE
    environment: Environment | None = Field(
        None, description="Software that must be where the payload runs; a lock file, or its parts."
    )
    needs: Needs | None = Field(None, description="What a pilot must have to get work of this campaign.")


class Reader(Code):
    """Code of one's own that reads inputs."""

    ROLE = "reader"

    callable: str = Field(
        description="path/to/file.py:Name or package.module:Name; called as Name(url, **parameters)."
    )
    parameters: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments for the reader.")
    files: list[str] | None = Field(
        None, min_length=1, description="Data files that are shipped with the reader, as payload.files."
    )
    source: str | None = SOURCE


def _with_code(data: Any, *, role: str) -> Any:
    """A payload or reader that is given as a function or a class, with the keys that it stands for."""
    if callable(data) and not isinstance(data, BaseModel):
        data = {"callable": data}
    if isinstance(data, dict) and callable(data.get("callable")):
        if data.get("source") is not None:
            raise ValueError("give either a function or its 'source'")
        target = data["callable"]
        data = data | written_out(target, role=role)
        _check_call(target, data.get("parameters"), role=role)
    return data


def _check_call(target: Any, parameters: Any, *, role: str) -> None:
    """Raise ValueError if a function or class cannot be called with these parameters.

    One that a campaign file names is checked when its source is found.
    """
    known, given = declared_by(target), dict(parameters) if isinstance(parameters, Mapping) else {}
    if role == "payload":
        wrong = why_no_payload(known, given, may_generate=True)  # the output's format may allow it
    else:
        wrong = why_no_reader(known, given, columns=False)
    if wrong is not None:
        raise ValueError(wrong)
