"""Batches of rows, many at a time, in the order of an epoch."""

import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bidnn.data.ahead import ahead
from bidnn.data.device import DeviceRows
from bidnn.data.mapping import let_go
from bidnn.data.order import Order, Shuffle
from bidnn.data.store import PairStore
from bidnn.data.transfers import moved

CHUNK_BYTES = 16 * 2**20
GPU_CHUNK_BYTES = 512 * 2**20
CHUNK_BATCHES = 64


class Chunk:
    """Consecutive batches, gathered at once, because a gather costs as much as a small batch.

    Neither a tuple nor a dataclass, whose tensors Lightning would convert to the precision of the
    weights: rows are rounded after they are scaled, not before.
    """

    __slots__ = ("batch", "coordinates", "first", "present", "second", "start")

    def __init__(
        self,
        first: Tensor,
        second: Tensor,
        batch: int,
        present: Tensor | None = None,
        coordinates: Tensor | None = None,
        *,
        start: int = 0,
    ) -> None:
        """Takes rows.

        Args:
            first: (rows, mod1size).
            second: (rows, mod2size).
            batch: rows of one batch.
            present: (rows, 2) bool; None if all rows are complete.
            coordinates: (rows, rep) for the diffusion head; None without one.
            start: number of the first batch in its epoch, from 0.
        """
        self.first, self.second, self.batch = first, second, batch
        self.present, self.coordinates, self.start = present, coordinates, start

    def to(self, device: torch.device) -> "Chunk":
        """The same rows on a device."""
        return self._each(lambda part: moved(part, device))

    def __len__(self) -> int:
        """Rows of the chunk."""
        return len(self.first)

    def gathered(self) -> "Chunk":
        """Itself."""
        return self

    def batches(self) -> Iterator["Chunk"]:
        """Each batch, as a chunk of its own."""
        for number in range(math.ceil(len(self) / self.batch)):
            rows = slice(number * self.batch, (number + 1) * self.batch)
            batch = self._each(operator.itemgetter(rows))
            batch.start += number
            yield batch

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Chunk":
        known = (
            None if part is None else change(part) for part in (self.present, self.coordinates)
        )
        return Chunk(change(self.first), change(self.second), self.batch, *known, start=self.start)


class Numbered:
    """A chunk of rows that are on a device, by their numbers.

    Compiled steps read each row where it is used, which saves copying them together first.
    """

    __slots__ = ("batch", "coordinates", "masked", "numbers", "rows", "start")

    def __init__(
        self,
        rows: DeviceRows,
        numbers: Tensor,
        batch: int,
        coordinates: Tensor | None = None,
        *,
        masked: bool,
        start: int = 0,
    ) -> None:
        """Takes numbers.

        Args:
            rows: that are numbered.
            numbers: (rows of the chunk,) on their device.
            batch: rows of one batch.
            coordinates: (rows of the chunk, rep) for the diffusion head; None without one.
            masked: whether any row misses a modality.
            start: number of the first batch in its epoch, from 0.
        """
        self.rows, self.numbers, self.batch = rows, numbers, batch
        self.coordinates, self.masked, self.start = coordinates, masked, start

    def __len__(self) -> int:
        """Rows of the chunk."""
        return len(self.numbers)

    def to(self, device: torch.device) -> "Numbered":
        """The same, the coordinates on the device, where the rows are already."""
        own = None if self.coordinates is None else moved(self.coordinates, device)
        return Numbered(
            self.rows, self.numbers, self.batch, own, masked=self.masked, start=self.start
        )

    def gathered(self) -> Chunk:
        """The rows themselves."""
        first, second, present = self.rows.at(self.numbers, masked=self.masked)
        return Chunk(first, second, self.batch, present, self.coordinates, start=self.start)


CPU = torch.device("cpu")


def batches_per_chunk(store: PairStore, batch_size: int) -> int:
    """How many batches are gathered at once for a processor, which keeps them in its caches."""
    return max(1, min(CHUNK_BATCHES, store.rows_in(CHUNK_BYTES) // batch_size))


@dataclass(frozen=True, slots=True)
class Cut:
    """How an epoch is cut.

    Attributes:
        order: in which rows are drawn; the same on all devices.
        chunk: batches of a chunk; more on a GPU, which is done with a few before the next ones
            are there. A pool of the order is cut into whole chunks.
    """

    order: Order
    chunk: int

    @classmethod
    def of(
        cls,
        store: PairStore,
        count: int,
        batch_size: int,
        shuffle: Shuffle,
        seed: int,
        device: torch.device,
    ) -> "Cut":
        """For batches of `count` rows of a store, see `ChunkLoader`."""
        few = batches_per_chunk(store, batch_size)
        order = Order.of(store, count, few * batch_size, shuffle, seed)
        if device.type != "cuda":
            return cls(order, few)
        most = min(CHUNK_BATCHES, store.rows_in(GPU_CHUNK_BYTES) // batch_size)
        if not order.block:
            return cls(order, max(few, most))
        parts = order.pool // (few * batch_size)
        fitting = [n for n in range(1, parts + 1) if parts % n == 0 and n * few <= most]
        return cls(order, few * max(fitting, default=1))


class ChunkLoader:
    """Iterates over chunks of shuffled batches, in an order that seed and epoch decide."""

    def __init__(
        self,
        store: PairStore,
        rows: NDArray[np.int64],
        batch_size: int,
        *,
        seed: int,
        place: Callable[[], tuple[int, int]],
        shuffle: Shuffle = Shuffle.auto,
        share: tuple[int, int] = (0, 1),
        on_device: DeviceRows | None = None,
        one_by_one: bool = False,
        coordinates: NDArray[np.float32] | None = None,
        device: torch.device = CPU,
    ) -> None:
        """Draws nothing yet.

        Args:
            store: where the features are.
            rows: numbers of the rows to draw from, ascending.
            batch_size: rows of a batch, over all processes.
            seed: of the shuffling.
            place: tells which epoch begins, and how many of its batches were taken before.
            shuffle: see Shuffle.
            share: this process's number and how many there are; each takes its part of every batch.
            on_device: the same rows, where they are on a device.
            one_by_one: yields the same batches one at a time.
            coordinates: (rows of the store, D), what goes with each row.
            device: where the steps are taken.
        """
        self.coordinates = coordinates
        self.on_device, self.one_by_one = on_device, one_by_one
        self.store, self.rows, self.batch_size = store, rows, batch_size
        self.share, self.place = share, place
        self.masked = not store.present[rows].all()
        cut = Cut.of(store, len(rows), batch_size, shuffle, seed, device)
        self.order, self.batches_per_chunk = cut.order, cut.chunk
        self._begun: tuple[tuple[int, int], Iterator[NDArray[np.int64]]] | None = None

    @property
    def batches(self) -> int:
        """Batches of an epoch; the incomplete last one is dropped, as in the paper."""
        return len(self.rows) // self.batch_size

    def __len__(self) -> int:
        """Chunks of an epoch, or batches."""
        return math.ceil(self.batches / (1 if self.one_by_one else self.batches_per_chunk))

    def __iter__(self) -> Iterator[Chunk | Numbered]:
        """One epoch, or what is left of it."""
        chunks: Iterator[Chunk | Numbered] = self._chunks()
        if self.one_by_one:
            chunks = (batch for chunk in chunks for batch in chunk.gathered().batches())
        in_memory = isinstance(self.store.first, np.ndarray) and not self.store.mapped
        return chunks if in_memory or self.on_device else ahead(chunks)

    def draw_ahead(self) -> None:
        """Begins the next epoch's order, while a GPU takes the last steps of this one.

        It would wait for the order when they are done.
        """
        if self.on_device:
            epoch, _ = self.place()
            later = self.order.pools(epoch + 1)
            self._begun = (epoch + 1, 0), chain([next(later)], later)

    def _pools(self, epoch: int, start: int) -> Iterator[NDArray[np.int64]]:
        """Those of the order, which may have been begun."""
        begun, self._begun = self._begun, None
        if begun is None or begun[0] != (epoch, start):
            return self.order.pools(epoch, start)
        return begun[1]

    def _chunks(self) -> Iterator[Chunk | Numbered]:
        process, processes = self.share
        epoch, taken = self.place()
        for pool in self._pools(epoch, taken * self.batch_size):
            self.store.check_files()
            batches = len(pool) // self.batch_size
            rows = self.rows[pool[: batches * self.batch_size]]
            rows = rows.reshape(batches, self.batch_size)[:, process::processes]
            numbers, store = rows, self.store
            if self.order.block and not self.on_device:
                # Read as the rows lie in the file, drawn from memory.
                read = np.sort(rows, axis=None)
                store, rows = self.store.load(read), np.searchsorted(read, rows)
            # A chunk of which some batches were taken before is the shorter for it.
            whole = self.batches_per_chunk
            cuts = {0, *range(whole - taken % whole, batches, whole), batches}
            for low, high in pairwise(sorted(cuts)):
                known = None
                if self.coordinates is not None:
                    known = torch.from_numpy(self.coordinates[numbers[low:high].ravel()])
                    let_go(self.coordinates)
                yield self._chunk(store, rows[low:high], known, taken + low)
            taken += batches

    def _chunk(
        self, store: PairStore, rows: NDArray[np.int64], known: Tensor | None, start: int
    ) -> Chunk | Numbered:
        masked, batch, rows = self.masked, rows.shape[1], rows.ravel()
        if self.on_device is None:
            return _gathered(store, rows, batch, known, masked=masked, start=start)
        there = self.on_device.numbers(rows)
        return Numbered(self.on_device, there, batch, known, masked=masked, start=start)


class RowLoader:
    """Iterates over given rows once, in order, batch by batch; for validation."""

    def __init__(
        self,
        store: PairStore,
        rows: NDArray[np.int64],
        batch_size: int,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        """Takes this process's part of the rows, see ChunkLoader."""
        self.store, self.rows = store, rows[share[0] :: share[1]]
        self.size = batch_size

    def __len__(self) -> int:
        """The number of batches."""
        return math.ceil(len(self.rows) / self.size)

    def __iter__(self) -> Iterator[Chunk]:
        """All the rows."""
        self.store.check_files()
        for start in range(0, len(self.rows), self.size):
            rows = self.rows[start : start + self.size]
            yield _gathered(self.store, rows, len(rows), masked=False)


def _gathered(
    store: PairStore,
    rows: NDArray[np.int64],
    batch: int,
    known: Tensor | None = None,
    *,
    masked: bool,
    start: int = 0,
) -> Chunk:
    first, second = (torch.from_numpy(part) for part in store.take(rows))
    present = torch.from_numpy(store.present[rows]) if masked else None
    return Chunk(first, second, batch, present, known, start=start)
