"""The registry of what can be added: names, and what stands behind them."""

from __future__ import annotations

import pytest

from eventmill.formats import FORMATS
from eventmill.plugins import Registry
from eventmill.runtime.preemption import NOTICES
from eventmill.sources import SOURCES
from eventmill.store import STORES


@pytest.mark.parametrize("registry", [FORMATS, NOTICES, SOURCES, STORES], ids=lambda each: each.group)
def test_everything_that_is_built_in_can_be_loaded(registry: Registry) -> None:
    """Its address is a string, which no type checker reads."""
    assert set(registry.built_in) <= set(registry.names())
    for name in registry.built_in:
        assert callable(registry.load(name))


def test_an_unknown_name_is_none() -> None:
    """Whoever asked says it with the names that there are."""
    with pytest.raises(KeyError):
        FORMATS.load("papyrus")
