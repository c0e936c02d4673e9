"""In which order rows are drawn: shuffled one by one, or block by block where files are large."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from bidnn.data.store import PairStore

BLOCK_BYTES = 2**20
POOL_BYTES = 256 * 2**20
BLOCKS_FROM = 2**30
_TAG = 0x65706F


class Shuffle(Enum):
    """How rows are shuffled.

    `rows`: all orders are equally likely; every row is read from its own place.
    `blocks`: runs of rows that lie together (1 MiB of features) are shuffled and read whole; the
    rows of 256 of them at a time are shuffled among each other. Every row is still drawn once an
    epoch, and the pools differ from epoch to epoch.
    `auto`: `blocks` for mapped files of 1 GiB and more, `rows` otherwise.
    """

    rows = "rows"
    blocks = "blocks"
    auto = "auto"


@dataclass(frozen=True, slots=True)
class Order:
    """Orders of the numbers 0 … count − 1, one for each epoch, in pools.

    Attributes:
        count: how many numbers there are.
        block: numbers that stay together on the way from the file; 0: none.
        pool: numbers that are shuffled among each other, where there are blocks.
        seed: with the epoch, all that an order depends on.
    """

    count: int
    block: int
    pool: int
    seed: int

    @classmethod
    def of(cls, store: PairStore, count: int, unit: int, shuffle: Shuffle, seed: int) -> "Order":
        """The order for rows of a store.

        Args:
            store: whose rows are numbered.
            count: how many of them are drawn from.
            unit: rows that are taken at once; a pool holds a multiple of them.
            shuffle: see Shuffle.
            seed: see the class.
        """
        row = max(1, store.nbytes // max(1, len(store)))
        blocks = shuffle is Shuffle.blocks
        if shuffle is Shuffle.auto:
            blocks = store.mapped and store.nbytes >= BLOCKS_FROM
        if not blocks:
            return cls(count, 0, count, seed)
        return cls(
            count, max(1, BLOCK_BYTES // row), unit * max(1, POOL_BYTES // row // unit), seed
        )

    def pools(self, epoch: int, start: int = 0) -> Iterator[NDArray[np.int64]]:
        """The numbers of an epoch, pool by pool, each in its order.

        Args:
            epoch: from 0.
            start: how many to leave out at the beginning; those of whole pools are not looked at.
        """
        generator = np.random.default_rng([self.seed, _TAG, epoch])
        if not self.block:
            yield generator.permutation(self.count)[start:]
            return
        blocks = generator.permutation(-(-self.count // self.block))
        sizes = np.minimum(self.block, self.count - blocks * self.block)
        ends = np.cumsum(sizes)
        for low in range(start - start % self.pool, self.count, self.pool):
            high = min(low + self.pool, self.count)
            first, last = np.searchsorted(ends, [low, high - 1], side="right")
            parts = [
                np.arange(number * self.block, number * self.block + size)
                for number, size in zip(
                    blocks[first : last + 1], sizes[first : last + 1], strict=True
                )
            ]
            before = int(ends[first] - sizes[first])
            pool = np.concatenate(parts)[low - before : high - before]
            within = np.random.default_rng([self.seed, _TAG, epoch, low])
            yield within.permutation(pool)[max(0, start - low) :]
