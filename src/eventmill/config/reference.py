"""The table of all keys of a campaign, generated from the model that parses them."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from eventmill.config.campaign_spec import CampaignSpec


def describe_keys() -> str:
    """Each key with its default and meaning, as a Markdown table; `docs/campaign.md` holds exactly this text."""
    return "\n".join(["| key | default | |", "|---|---|---|", *_lines(CampaignSpec, "")])


def _lines(model: type[BaseModel], before: str, needed: str = "needed") -> Iterator[str]:
    for name, field in model.model_fields.items():
        part = _part(field)
        if part is None:
            default = needed if field.is_required() else _default(field)
            yield f"| `{before}{name}` | {default} | {_meaning(field)} |"
        else:
            optional = field.get_default() is None
            yield from _lines(part, f"{before}{name}.", f"needed with `{name}`" if optional else needed)


def _part(field: FieldInfo) -> type[BaseModel] | None:
    return next((kind for kind in _kinds(field) if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _kinds(field: FieldInfo) -> tuple[Any, ...]:
    return (field.annotation, *get_args(field.annotation))


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    return "" if value is None or value in ({}, []) else f"`{value}`"


def _meaning(field: FieldInfo) -> str:
    """The description in the model, and the allowed values of an enumeration."""
    said = field.description or ""
    choices = next(
        (tuple(kind) for kind in _kinds(field) if isinstance(kind, type) and issubclass(kind, StrEnum)), ()
    )
    return f"{said} One of {', '.join(f'`{choice}`' for choice in choices)}." if choices else said
