"""Reads YAML files that people write, within limits and without duplicate keys. Knows no campaign.

A file is read completely or refused with one clause. Also refused is what YAML allows but nobody intends: a
duplicate key (the first would be lost silently), an alias inside its own anchor, text that no file can contain.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

MOST_BYTES = 1 << 20
"""A campaign with 10,000 inputs, one per line, has half of it; more inputs belong in a list, `@files.txt`."""

MOST_DEEP = 50
"""Levels of nesting. A campaign has five, and its parameters may have more."""

MOST_VALUES = 100_000
"""Keys and values after expanding aliases: a small file can expand to 10^9 of them."""


class YamlError(Exception):
    """The file cannot be used; the text is one clause, such as `line 3, column 1: key 'name' occurs twice`.

    `where` is its first part, if known, and `problem` the second.
    """

    def __init__(self, problem: str, mark: Any = None) -> None:  # one of two classes: PyYAML's, or its C library's
        self.where = None if mark is None else f"line {mark.line + 1}, column {mark.column + 1}"
        self.problem = problem
        super().__init__(problem if self.where is None else f"{self.where}: {problem}")


def read_yaml(path: Path) -> Any:
    """The content of a YAML file. `YamlError` says what is wrong and where.

    Raises `OSError` if it cannot be read, `UnicodeDecodeError` if it is not text.
    """
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise YamlError(f"it has more than {MOST_BYTES:,} bytes; list many inputs in a separate file, @files.txt")
    text = content.decode("utf-8-sig")
    try:
        _check_size(text)
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check_nodes(node, set())
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it is not understood"
        raise YamlError(str(problem), getattr(error, "problem_mark", None)) from None
    except ValueError as error:  # a number or date that Python has no value for
        raise YamlError(f"a value cannot be read: {error}") from None
    except (AttributeError, LookupError):  # PyYAML's own, for a value that is none of its tag
        raise YamlError(
            "a value does not have the type that is written before it (such as !!int or !!bool)"
        ) from None


def _check_size(text: str) -> None:
    """Refuse what is too deep, or too large once aliases stand for what they mean; nothing is made of it yet."""
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    count = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        anchor: Any = getattr(event, "anchor", None)
        if isinstance(event, yaml.AliasEvent):
            if anchor in {name for name, _ in open_nodes}:
                raise YamlError(f"*{anchor} contains itself", event.start_mark)
            count += sizes.get(anchor, 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((anchor, count))
            count += 1
            if len(open_nodes) > MOST_DEEP:
                raise YamlError(f"it is nested more than {MOST_DEEP} levels deep", event.start_mark)
        elif isinstance(event, yaml.CollectionEndEvent):
            name, before = open_nodes.pop()
            if name is not None:
                sizes[name] = count - before
        elif isinstance(event, yaml.ScalarEvent):
            count += 1
        if count > MOST_VALUES:
            raise YamlError(f"it expands to more than {MOST_VALUES:,} values", event.start_mark)


def _check_nodes(node: yaml.Node, seen: set[int]) -> None:
    """Refuse keys that are there twice, and texts that no file can hold; `seen` has the nodes that were checked.

    Before anything is made of them: `<<` brings in what stands elsewhere, and what is beside it goes over that.
    """
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        if not _is_text(node.value):
            raise YamlError(
                "a string contains half of a surrogate pair, which is not a character", node.start_mark
            )
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_nodes(item, seen)
    else:
        keys: set[tuple[str, str]] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in keys:
                    raise YamlError(f"key '{key.value}' occurs twice", key.start_mark)
                keys.add((key.tag, key.value))
            _check_nodes(key, seen)
            _check_nodes(value, seen)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
