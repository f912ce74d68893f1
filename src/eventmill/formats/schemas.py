"""Column types: the names that a campaign file may use, their Arrow types, and schemas as bytes.

The grammar of a declared column, `T`:

    bool  int8 int16 int32 int64  uint8 uint16 uint32 uint64  float32 float64  string  binary  date32
    timestamp[U]  timestamp[U, ZONE]      with U one of ms, us, ns and ZONE such as UTC
    list<T>
    struct<name: T, name: T>

Everything may be null: nullability is no part of a schema here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

import pyarrow as pa

from eventmill.errors import CampaignError

_PRIMITIVES: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int8": pa.int8(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "uint8": pa.uint8(),
    "uint16": pa.uint16(),
    "uint32": pa.uint32(),
    "uint64": pa.uint64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "string": pa.string(),
    "binary": pa.binary(),
    "date32": pa.date32(),
}
_NAMES = {str(type): name for name, type in _PRIMITIVES.items()}  # Arrow prints 'double' for float64
_SAID_ELSEWHERE = {
    "float": "float32 or float64",
    "double": "float64",
    "int": "int64",
    "str": "string",
    "boolean": "bool",
    "bytes": "binary",
    "date": "date32",
    "datetime": "timestamp[us]",
    "timestamp": "timestamp[us]",
    "list": "list<float64>",
}
_TIMESTAMP = re.compile(r"timestamp\[\s*(ms|us|ns)\s*(?:,\s*([\w/+:-]+)\s*)?\]")


def schema_from_columns(columns: Mapping[str, str]) -> pa.Schema:
    """The schema that a campaign declares, column name -> type, in this order; the grammar is above.

    Raises `CampaignError` naming the column, what was written and what is allowed.
    """
    if not columns:
        raise CampaignError("output.columns is empty: declare at least one column, or leave it out.")
    return pa.schema([pa.field(name, _type(str(text), name)) for name, text in columns.items()])


def _type(text: str, column: str) -> pa.DataType:
    text = text.strip()
    if text in _PRIMITIVES:
        return _PRIMITIVES[text]
    if text.startswith("list<") and text.endswith(">"):
        return pa.list_(_type(text[5:-1], column))
    if text.startswith("struct<") and text.endswith(">"):
        return pa.struct([_field(part, column) for part in _parts(text[7:-1])])
    if found := _TIMESTAMP.fullmatch(text):
        return pa.timestamp(found[1], tz=found[2])
    raise _unknown(text, column)


def _parts(text: str) -> list[str]:
    """Split at the commas that are in no bracket."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "<[") - (letter in ">]")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _field(part: str, column: str) -> pa.Field:
    name, colon, text = part.partition(":")
    if not colon or not name.strip():
        raise CampaignError(
            f"output.columns, column '{column}': in struct<...> '{part.strip()}' is no 'name: type'."
        )
    return pa.field(name.strip(), _type(text, column))


def _unknown(text: str, column: str) -> CampaignError:
    allowed = [*_PRIMITIVES, "timestamp[ms]", "timestamp[us]", "timestamp[ns]", "list<T>", "struct<name: T>"]
    close = _SAID_ELSEWHERE.get(text) or next(iter(difflib.get_close_matches(text, allowed, n=1)), None)
    hint = f" Did you mean {close}?" if close else ""
    return CampaignError(
        f"output.columns, column '{column}': there is no type '{text}'.{hint} Allowed: {', '.join(allowed)}."
    )


def type_name(type: pa.DataType) -> str:
    """`type` as a campaign file would declare it, or as Arrow prints it where the grammar has no word."""
    if pa.types.is_list(type):
        return f"list<{type_name(type.value_type)}>"
    if pa.types.is_struct(type):
        return f"struct<{', '.join(f'{field.name}: {type_name(field.type)}' for field in type)}>"
    if pa.types.is_timestamp(type):
        return f"timestamp[{type.unit}, {type.tz}]" if type.tz else f"timestamp[{type.unit}]"
    return _NAMES.get(str(type), str(type))


def schema_to_bytes(schema: pa.Schema) -> bytes:
    """The schema as an Arrow IPC message; equal schemas give equal bytes, metadata does not count."""
    serialised: bytes = schema.remove_metadata().serialize().to_pybytes()
    return serialised


def schema_from_bytes(serialised: bytes) -> pa.Schema:
    """The reverse of `schema_to_bytes`. Raises `pyarrow.ArrowInvalid` when it is something else."""
    return pa.ipc.read_schema(pa.py_buffer(serialised))
