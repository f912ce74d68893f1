"""Column types: the names that a campaign file may use, their Arrow types, and schemas as bytes.

The grammar of a declared column, `T`:

    bool  int8 int16 int32 int64  uint8 uint16 uint32 uint64  float16 float32 float64
    string  binary  binary[N]  date32  time32[ms]  time64[U]  duration[U]  null
    timestamp[U]  timestamp[U, ZONE]      with U one of ms, us, ns and ZONE such as UTC
    decimal128(P, S)                      with P digits, S of them behind the point; also decimal32, 64 and 256
    list<T>  list<T>[N]                   of any length, or with N items each
    map<T, T>
    struct<name: T, "na,me": T>           names and zones with special characters are quoted, as in JSON

Everything may be null: nullability is not part of a schema here.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping

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
    "float16": pa.float16(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "string": pa.string(),
    "binary": pa.binary(),
    "date32": pa.date32(),
    "time32[ms]": pa.time32("ms"),
    "time64[us]": pa.time64("us"),
    "time64[ns]": pa.time64("ns"),
    "null": pa.null(),
    **{f"duration[{unit}]": pa.duration(unit) for unit in ("s", "ms", "us", "ns")},
}
_NAMES = {str(type): name for name, type in _PRIMITIVES.items()}  # Arrow prints 'double' for float64
_WITH_PARTS = (
    "timestamp[ms]",
    "timestamp[us]",
    "timestamp[ns]",
    "timestamp[us, ZONE]",
    "decimal128(P, S)",
    "binary[N]",
    "list<T>",
    "list<T>[N]",
    "map<T, T>",
    "struct<name: T>",
)
_SAID_ELSEWHERE = {
    "float": "float32 or float64",
    "double": "float64",
    "half": "float16",
    "int": "int64",
    "str": "string",
    "boolean": "bool",
    "bytes": "binary",
    "date": "date32",
    "datetime": "timestamp[us]",
    "timestamp": "timestamp[us]",
    "timestamp[s]": "timestamp[ms]",
    "time": "time64[us]",
    "timedelta": "duration[us]",
    "decimal": "decimal128(P, S)",
    "list": "list<float64>",
    "map": "map<string, float64>",
}
_TEXT = r'"(?:[^"\\]|\\.)*"'
"""In quotes, as in JSON."""

_PLAIN_NAME = re.compile(r"""[^\s:,<>\[\]()"](?:[^\n\r:,<>\[\]()"]*[^\s:,<>\[\]()"])?""")
_PLAIN_ZONE = re.compile(r"[\w/+:-]+")
_PLAIN_KEY = re.compile(r"(?!(?i:null|true|false|yes|no|on|off)$)[A-Za-z_][A-Za-z0-9_]*")
_PLAIN_VALUE = re.compile(r"(?!null$)[a-z][A-Za-z0-9_<>()]*")
"""What may be written in a campaign file without quotes: ':', ',' and '[' have a meaning in YAML."""

_NESTED = re.compile(r"(list|map|struct)\s*<(.*)>(?:\[\s*(\d+)\s*\])?", re.DOTALL)
_TOKENS = re.compile(rf"{_TEXT}|.", re.DOTALL)
_FIELD = re.compile(rf"\s*({_TEXT}|{_PLAIN_NAME.pattern})\s*:(.*)", re.DOTALL)
_PARAMETRIC: tuple[tuple[re.Pattern[str], Callable[..., pa.DataType]], ...] = (
    (
        re.compile(rf"timestamp\[\s*(ms|us|ns)\s*(?:,\s*({_TEXT}|[\w/+:-]+)\s*)?\]", re.DOTALL),
        lambda unit, zone: pa.timestamp(unit, tz=zone and _unquoted(zone)),
    ),
    (re.compile(r"binary\[\s*([1-9]\d*)\s*\]"), lambda size: pa.binary(int(size))),
    (
        re.compile(r"decimal(32|64|128|256)\(\s*(\d+)\s*,\s*(\d+)\s*\)"),
        lambda bits, digits, scale: _decimal(bits, int(digits), int(scale)),
    ),
)


def schema_from_columns(columns: Mapping[str, str], *, key: str = "output.columns") -> pa.Schema:
    """The schema that a campaign declares, column name -> type, in this order; the grammar is above.

    `key` is where in the campaign file. Raises `CampaignError` naming the column, what was written and what is
    allowed.
    """
    if not columns:
        raise CampaignError(f"{key} is empty: declare at least one column, or omit it.")
    return pa.schema(
        [pa.field(name, _type(str(text), f"{key}, column '{name}'")) for name, text in columns.items()]
    )


def type_from_words(words: str) -> pa.DataType | None:
    """The type that `words` declare; None if they do not follow the grammar."""
    try:
        return _type(words, "")
    except CampaignError:
        return None


def _type(text: str, column: str) -> pa.DataType:
    text = text.strip()
    if text in _PRIMITIVES:
        return _PRIMITIVES[text]
    if found := _NESTED.fullmatch(text):
        return _nested(found[1], found[2], found[3], text=text, column=column)
    for pattern, made in _PARAMETRIC:
        if found := pattern.fullmatch(text):
            try:
                return made(*found.groups())
            except (ValueError, pa.ArrowException):
                break  # an invalid number, such as too many digits of a decimal
    raise _unknown(text, column)


def _nested(kind: str, inside: str, size: str | None, *, text: str, column: str) -> pa.DataType:
    parts = _parts(inside)
    if kind == "list" and len(parts) == 1:
        return pa.list_(_type(parts[0], column), int(size) if size else -1)
    if kind == "map" and len(parts) == 2 and size is None:
        return pa.map_(_type(parts[0], column), _type(parts[1], column))
    if kind == "struct" and size is None:
        fields = [_field(part, column) for part in parts]
        names = [field.name for field in fields]
        if len(set(names)) < len(names):
            raise CampaignError(f"{column}: '{text}' has two fields with the same name.")
        return pa.struct(fields)
    raise _unknown(text, column)


def _parts(text: str) -> list[str]:
    """Split at commas outside of brackets and quotes."""
    parts, depth = [""], 0
    for token in _TOKENS.findall(text):
        depth += (token in tuple("<[(")) - (token in tuple(">])"))
        if token == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += token
    return parts


def _field(part: str, column: str) -> pa.Field:
    found = _FIELD.fullmatch(part)
    if not found:
        raise CampaignError(f"{column}: in struct<...> '{part.strip()}' is not of the form 'name: type'.")
    return pa.field(_unquoted(found[1]), _type(found[2], column))


def _decimal(bits: str, digits: int, scale: int) -> pa.DataType:
    if scale > digits:
        raise ValueError("Parquet cannot store a decimal with more digits after the point than digits in all")
    return getattr(pa, f"decimal{bits}")(digits, scale)


def _unquoted(text: str) -> str:
    return str(json.loads(text)) if text.startswith('"') else text


def _quoted(text: str, plain: re.Pattern[str]) -> str:
    """Unquoted if that can be read back, else quoted as in JSON; always on one line."""
    if plain.fullmatch(text) and text.isprintable():
        return text
    return f'"{"".join(_escaped(letter) for letter in text)}"'


def _escaped(letter: str) -> str:
    shown = letter.isprintable() and letter not in '"\\'
    return letter if shown else json.dumps(letter)[1:-1]


def _unknown(text: str, column: str) -> CampaignError:
    text = " ".join(text.split())
    allowed = [*_PRIMITIVES, *_WITH_PARTS]
    close = _SAID_ELSEWHERE.get(text) or next(iter(difflib.get_close_matches(text, allowed, n=1)), None)
    hint = f" Did you mean {close}?" if close else ""
    return CampaignError(f"{column}: unknown type '{text}'.{hint} Allowed: {', '.join(allowed)}.")


def type_name(type: pa.DataType) -> str:
    """`type` as in a campaign file, or as Arrow prints it if the grammar has no such type."""
    t = pa.types
    if t.is_fixed_size_list(type):
        return f"list<{type_name(type.value_type)}>[{type.list_size}]"
    if t.is_list(type):
        return f"list<{type_name(type.value_type)}>"
    if t.is_map(type):
        return f"map<{type_name(type.key_type)}, {type_name(type.item_type)}>"
    if t.is_struct(type):
        return f"struct<{', '.join(field_words(field.name, type_name(field.type)) for field in type)}>"
    if t.is_timestamp(type):
        return f"timestamp[{type.unit}, {_quoted(type.tz, _PLAIN_ZONE)}]" if type.tz else f"timestamp[{type.unit}]"
    if t.is_fixed_size_binary(type) and not t.is_decimal(type):
        return f"binary[{type.byte_width}]"
    return _NAMES.get(str(type), str(type))


def field_words(name: str, words: str) -> str:
    """A field of a struct, in the grammar."""
    return f"{_quoted(name, _PLAIN_NAME)}: {words}"


def declaration(name: str, type: pa.DataType) -> str:
    """`name: type`, to be pasted into `output: {columns: {...}}` of a campaign file."""
    key = re.sub(r"\\u(d[89ab]..)\\u(d[cdef]..)", _one_for_yaml, _quoted(name, _PLAIN_KEY))
    return f"{key}: {_quoted(type_name(type), _PLAIN_VALUE)}"


def _one_for_yaml(pair: re.Match[str]) -> str:
    """The YAML escape of a character that JSON writes as two escapes."""
    letter = json.loads('"' + pair[0] + '"')
    return f"\\U{ord(letter):08x}"


def schema_to_bytes(schema: pa.Schema) -> bytes:
    """The schema as an Arrow IPC message; equal schemas give equal bytes, without metadata."""
    serialised: bytes = schema.remove_metadata().serialize().to_pybytes()
    return serialised


def schema_from_bytes(serialised: bytes) -> pa.Schema:
    """The reverse of `schema_to_bytes`. Raises `pyarrow.ArrowInvalid` for anything else."""
    return pa.ipc.read_schema(pa.py_buffer(serialised))


def check_arrow_schema(serialised: bytes) -> None:
    """Raise `ValueError` for what is no schema."""
    try:
        schema_from_bytes(serialised)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(" ".join(str(error).split())) from None
