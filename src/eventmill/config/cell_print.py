"""What a piece of code does, without where it stands, to compare two that were compiled apart."""

from __future__ import annotations

import dis
import types
from typing import Any

_FUTURE_FLAGS = 0xFFF << 17
"""Where Python keeps `from __future__` in the flags; what they change is seen in the instructions."""

_OF_THE_CALL = {"PUSH_NULL", "CACHE", "PRECALL", "EXTENDED_ARG", "NOP"}
"""How a method is called depends on whether its object is imported in the same text, and changes nothing."""


def print_of(code: types.CodeType) -> tuple[Any, ...]:
    """Two codes with equal prints do the same, given the same global names, defaults and closure."""
    kept: list[dis.Instruction] = []
    places: dict[int, int] = {}
    for each in dis.get_instructions(code):
        places[each.offset] = len(kept)
        if each.opname not in _OF_THE_CALL:
            kept.append(each)
    places[len(code.co_code)] = len(kept)
    return (
        *(code.co_name, code.co_varnames, code.co_freevars, code.co_cellvars),
        *(code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & ~_FUTURE_FLAGS),
        tuple((each.opname.replace("LOAD_METHOD", "LOAD_ATTR"), _argument(each, places)) for each in kept),
        tuple(
            (places.get(each.start), places.get(each.end), places.get(each.target), each.depth, each.lasti)
            for each in dis._parse_exception_table(code)  # type: ignore[attr-defined]  # nothing public reads it
        ),
    )


def _argument(instruction: dis.Instruction, places: dict[int, int]) -> Any:
    if instruction.opcode in dis.hasjrel or instruction.opcode in dis.hasjabs:
        return places[instruction.argval]
    return _constant(instruction.argval)


def _constant(value: Any) -> Any:
    if isinstance(value, types.CodeType):
        return print_of(value)
    if isinstance(value, tuple | frozenset):
        parts = [_constant(each) for each in value]
        return type(value).__name__, tuple(sorted(parts, key=repr) if isinstance(value, frozenset) else parts)
    return type(value).__name__, repr(value)
