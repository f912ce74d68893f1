"""How many blocks may read from one storage at a time. A pure rule: it knows numbers and names, and no file.

A disk or a server that many read at once seeks more than it reads: what all get together is less than what fewer
would get.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StorageLimit:
    """At most `most` blocks at a time for each storage; `storages` has the storage of each input.

    An input that is not in it, such as generated events, is on no storage and has no limit.
    """

    most: int
    storages: Mapping[int, str]

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ValueError(f"{self.most} blocks at a time would never read anything")

    def full(self, blocks: Iterable[int]) -> frozenset[int]:
        """The inputs of which no other block may be handed out while there are `blocks`, given by their inputs."""
        number = Counter(self.storages[item] for item in blocks if item in self.storages)
        return frozenset(item for item, storage in self.storages.items() if number[storage] >= self.most)

    def at_once(self, inputs: int) -> int | None:
        """The most blocks at a time, of so many inputs in all; None if some have no limit."""
        return None if len(self.storages) < inputs else self.most * len(set(self.storages.values()))
