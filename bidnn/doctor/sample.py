"""The rows that are looked at: all of few, of many a sample that a seed draws."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidnn.data.store import PairStore

LEAST = 40
"""Rows that are looked at however wide they are."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Some rows of a store, in memory.

    Attributes:
        store: those rows.
        of: how many rows they were drawn from.
        kind: what these are, in the plural.
    """

    store: PairStore
    of: int
    kind: str = "rows"

    @classmethod
    def of_rows(cls, store: PairStore, most: int, size: int, seed: int) -> "Sample":
        """At most so many rows of a store, and so many bytes of them."""
        return cls(_drawn(store, None, most, size, seed), len(store))

    @classmethod
    def of_pairs(cls, store: PairStore, most: int, size: int, seed: int) -> "Sample":
        """Likewise of its complete rows."""
        complete = store.complete
        return cls(_drawn(store, complete, most, size, seed), len(complete), "complete rows")

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.store)

    def words(self, count: int | None = None) -> str:
        """How many rows a figure is of: `of 1797 rows`, `of 5000 rows drawn from 100000000`.

        Args:
            count: of the sample's rows, if not of all.
        """
        count = len(self) if count is None else count
        return f"{count} {self.kind}" + (f" drawn from {self.of}" if len(self) < self.of else "")


def _drawn(
    store: PairStore, rows: NDArray[np.int64] | None, most: int, size: int, seed: int
) -> PairStore:
    total = len(store) if rows is None else len(rows)
    count = min(total, most, max(LEAST, store.rows_in(size)))
    if count == total:
        chosen = np.arange(total)
    else:
        generator = np.random.default_rng([seed, 0x646F63])
        chosen = np.sort(generator.choice(total, count, replace=False, shuffle=False))
    loaded = store.load(chosen if rows is None else rows[chosen])
    return PairStore(*loaded.take(slice(None)), loaded.present, name=store.name)
