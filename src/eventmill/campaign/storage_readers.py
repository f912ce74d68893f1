"""Which inputs of a campaign may be read now: its `limits.readers`, and the blocks that are handed out."""

from __future__ import annotations

from pathlib import Path

from eventmill.campaign.handle import CampaignHandle
from eventmill.rules.storage_limit import StorageLimit
from eventmill.sources.storages import storage_of


class StorageReaders:
    """The readers of one campaign. Only its coordinator hands out blocks, so what has room keeps it until then."""

    def __init__(self, opened: CampaignHandle, most: int | None) -> None:
        self._opened, self._most = opened, most
        self._limit: StorageLimit | None = None
        self._inputs = 0

    def full(self) -> frozenset[int]:
        """The numbers of the inputs of which no other block may be handed out now."""
        limit = self._known_limit()
        return frozenset() if limit is None else limit.full(self._opened.block_inputs().values())

    def blocks_on(self, inputs: frozenset[int]) -> frozenset[int]:
        """The blocks on these inputs that are handed out."""
        blocks = self._opened.block_inputs() if inputs else {}
        return frozenset(number for number, item in blocks.items() if item in inputs)

    def are_all(self, inputs: frozenset[int]) -> bool:
        """Whether these are all inputs of the campaign."""
        return bool(inputs) and len(inputs) == self._inputs

    def usable(self, slots: int) -> int:
        """How many of so many slots can have a block at a time."""
        limit = self._known_limit()
        most = None if limit is None else limit.at_once(self._inputs)
        return slots if most is None else min(slots, most)

    def room(self, most: int) -> int:
        """How many blocks more may be handed out now, as far as one looks up to `most`."""
        limit = self._known_limit()
        at_once = None if limit is None else limit.at_once(self._inputs)
        return most if at_once is None else max(0, min(most, at_once - len(self._opened.block_inputs())))

    def _known_limit(self) -> StorageLimit | None:
        if self._most is None:
            return None
        if self._limit is None:
            inputs, folder = self._opened.inputs(), Path(self._opened.order.folder)
            places = {item.id: storage_of(item.url, folder=folder) for item in inputs}
            self._inputs = len(inputs)
            self._limit = StorageLimit(self._most, {n: place for n, place in places.items() if place is not None})
        return self._limit
