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
        nbytes: of all shards, as they are stored.
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
        self.nbytes = sum(int(part.nbytes) for part in parts)

    def __len__(self) -> int:
        """The rows of all shards."""
        return self.shape[0]

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[Any]:
        """Those rows.

        Raises:
            IndexError: if there is no row of such a number.
        """
        if isinstance(rows, slice):
            numbers = range(*rows.indices(len(self)))
            rows = rows if numbers.step == 1 else np.array(numbers, np.int64)
            count = len(numbers)
        else:
            count = len(rows)
        if isinstance(rows, slice) and len(inside := self.cut(rows)) == 1:
            number, part = inside[0]
            return self.parts[number][part]
        taken = np.empty((count, self.shape[1]), self.dtype)
        self.copy_to(taken, rows)
        return taken

    def copy_to(self, taken: NDArray[Any], rows: slice | NDArray[np.int64]) -> None:
        """Copies rows, each once.

        Args:
            taken: (rows, size), where to, of any type.
            rows: consecutive ones, or their numbers.

        Raises:
            IndexError: if there is no row of such a number.
        """
        if not isinstance(rows, slice):
            self._gather(taken, np.asarray(rows))
            return
        end = 0
        for number, inside in self.cut(rows):
            piece = self.parts[number][inside]
            taken[end : end + len(piece)] = piece
            end += len(piece)

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

    def _gather(self, taken: NDArray[Any], rows: NDArray[np.int64]) -> None:
        if not len(rows):
            return
        if not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(self)}")
        shards = np.searchsorted(self.starts, rows, side="right") - 1
        order = np.argsort(shards, kind="stable")
        ends = np.flatnonzero(np.diff(shards[order])) + 1
        in_order = bool((np.diff(shards) >= 0).all())  # a slice is filled faster
        for places in np.split(order, ends):
            number = shards[places[0]]
            where = slice(places[0], places[-1] + 1) if in_order else places
            part = np.asarray(self.parts[number])
            taken[where] = np.take(part, rows[where] - self.starts[number], axis=0)
