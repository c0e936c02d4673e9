"""A matrix that is in several files, one after another."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Shards:
    """Matrices of the same columns, one below the other, each of which stays where it is.

    Rows are taken by a slice or by their numbers, as of an array, which copies what it gives unless
    a slice lies within one shard.

    Attributes:
        parts: the matrices, in the order of the rows.
        names: of each, for messages.
        starts: (shards + 1,) the number of each one's first row, and of all rows.
        shape: (rows, size).
        dtype: what holds the values of all.
        ndim: 2.
    """

    ndim = 2

    def __init__(self, parts: Sequence[NDArray[Any]], names: Sequence[str]) -> None:
        """Reads nothing.

        Args:
            parts: (rows of the shard, size) each; one at least.
            names: of each.
        """
        self.parts, self.names = tuple(parts), tuple(names)
        self.starts = np.cumsum([0, *map(len, parts)], dtype=np.int64)
        self.shape = (int(self.starts[-1]), int(parts[0].shape[1]))
        self.dtype = np.result_type(*parts)

    def __len__(self) -> int:
        """The rows of all shards."""
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of all shards, as they are stored."""
        return sum(int(part.nbytes) for part in self.parts)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[Any]:
        """Those rows.

        Raises:
            IndexError: if there is no row of such a number.
        """
        if not isinstance(rows, slice):
            return self._gather(np.asarray(rows))
        start, stop, step = rows.indices(len(self))
        if step != 1:
            return self._gather(np.arange(start, stop, step))
        pieces = [self.parts[number][inside] for number, inside in self.cut(rows)]
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate([np.zeros((0, self.shape[1]), self.dtype), *pieces])

    def cut(self, rows: slice) -> list[tuple[int, slice]]:
        """The shards that some consecutive rows are in, and which of their rows these are."""
        start, stop, _ = rows.indices(len(self))
        if start >= stop:
            return []
        first, last = np.searchsorted(self.starts, [start, stop - 1], side="right") - 1
        cuts = []
        for number in range(int(first), int(last) + 1):
            low, high = self.starts[number : number + 2].tolist()
            if low < high:
                cuts.append((number, slice(max(start, low) - low, min(stop, high) - low)))
        return cuts

    def where(self, row: int) -> str:
        """The shard of a row, and its number there."""
        number = int(np.searchsorted(self.starts, row, side="right")) - 1
        return f"{self.names[number]}, row {row - int(self.starts[number])}"

    def _gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(self)}")
        shards = np.searchsorted(self.starts, rows, side="right") - 1
        order = np.argsort(shards, kind="stable")
        ends = np.flatnonzero(np.diff(shards[order])) + 1
        taken = np.empty((len(rows), self.shape[1]), self.dtype)
        for places in np.split(order, ends) if len(rows) else []:
            number = shards[places[0]]
            part = np.asarray(self.parts[number])
            taken[places] = np.take(part, rows[places] - self.starts[number], axis=0)
        return taken
