"""The type of an awkward array in the words of `output.columns`, as far as these reach. Imports no awkward."""

from __future__ import annotations

from typing import Any

from eventmill.formats.schemas import field_words


def form_words(form: Any) -> str:
    """`float32`, `list<float32>`, `struct<x: float64>`; awkward's own words where ours do not reach."""
    if (text := form.parameter("__array__")) in ("string", "bytestring"):
        return "string" if text == "string" else "binary"
    if form.is_numpy:
        words = str(form.primitive)
        for length in reversed(form.inner_shape):
            words = f"list<{words}>[{length}]"
        return words
    if form.is_list:
        size = f"[{form.size}]" if form.is_regular else ""
        return f"list<{form_words(form.content)}>{size}"
    if form.is_record:
        fields = zip(form.fields, form.contents, strict=True)
        return f"struct<{', '.join(field_words(name, form_words(content)) for name, content in fields)}>"
    if form.is_indexed or form.is_option:
        return form_words(form.content)
    return str(form.type)
