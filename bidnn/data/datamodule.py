"""Which rows train, and how batches are drawn from them."""

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from lightning import LightningDataModule, Trainer
from numpy.typing import NDArray
from torch import Tensor

from bidnn.data.ahead import ahead
from bidnn.data.device import DeviceRows, fits
from bidnn.data.mapping import let_go
from bidnn.data.order import Order, Shuffle
from bidnn.data.store import PairStore
from bidnn.data.transfers import moved
from bidnn.errors import UserError

log = logging.getLogger(__name__)

CHUNK_BYTES = 16 * 2**20
GPU_CHUNK_BYTES = 512 * 2**20
CHUNK_BATCHES = 64


class Chunk:
    """Consecutive batches, gathered at once, because a gather costs as much as a small batch.

    Neither a tuple nor a dataclass, whose tensors Lightning would convert to the precision of the
    weights: rows are rounded after they are scaled, not before.
    """

    __slots__ = ("batch", "coordinates", "first", "present", "second")

    def __init__(
        self,
        first: Tensor,
        second: Tensor,
        batch: int,
        present: Tensor | None = None,
        coordinates: Tensor | None = None,
    ) -> None:
        """Takes rows.

        Args:
            first: (rows, mod1size).
            second: (rows, mod2size).
            batch: rows of one batch.
            present: (rows, 2) bool; None if all rows are complete.
            coordinates: (rows, rep) for the diffusion head; None without one.
        """
        self.first, self.second, self.batch = first, second, batch
        self.present, self.coordinates = present, coordinates

    def to(self, device: torch.device) -> "Chunk":
        """The same rows on a device."""
        return self._each(lambda part: moved(part, device))

    def part(self, rows: slice) -> "Chunk":
        """Some of the rows."""
        return self._each(lambda part: part[rows])

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Chunk":
        known = (
            None if part is None else change(part) for part in (self.present, self.coordinates)
        )
        return Chunk(change(self.first), change(self.second), self.batch, *known)


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
            place: tells which epoch begins, and how many of its chunks were taken before.
            shuffle: see Shuffle.
            share: this process's number and how many there are; each takes its part of every batch.
            on_device: the same rows, where they are on a device.
            one_by_one: yields the same batches one at a time; `place` counts batches then.
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

    @property
    def batches(self) -> int:
        """Batches of an epoch; the incomplete last one is dropped, as in the paper."""
        return len(self.rows) // self.batch_size

    def __len__(self) -> int:
        """Chunks of an epoch, or batches."""
        return math.ceil(self.batches / (1 if self.one_by_one else self.batches_per_chunk))

    def __iter__(self) -> Iterator[Chunk]:
        """One epoch, or what is left of it."""
        chunks = self._chunks()
        if self.one_by_one:
            chunks = (batch for chunk in chunks for batch in _split(chunk))
        in_memory = isinstance(self.store.first, np.ndarray) and not self.store.mapped
        return chunks if in_memory or self.on_device else ahead(chunks)

    def _chunks(self) -> Iterator[Chunk]:
        process, processes = self.share
        epoch, taken = self.place()
        taken *= 1 if self.one_by_one else self.batches_per_chunk
        for pool in self.order.pools(epoch, taken * self.batch_size):
            self.store.check_files()
            batches = len(pool) // self.batch_size
            rows = self.rows[pool[: batches * self.batch_size]]
            rows = rows.reshape(batches, self.batch_size)[:, process::processes]
            numbers, store = rows, self.on_device or self.store
            if self.order.block and not self.on_device:
                # Read as the rows lie in the file, drawn from memory.
                read = np.sort(rows, axis=None)
                store, rows = self.store.load(read), np.searchsorted(read, rows)
            for start in range(0, batches, self.batches_per_chunk):
                part = rows[start : start + self.batches_per_chunk]
                chunk = _chunk(store, part.ravel(), part.shape[1], masked=self.masked)
                if self.coordinates is not None:
                    own = numbers[start : start + self.batches_per_chunk].ravel()
                    chunk.coordinates = torch.from_numpy(self.coordinates[own])
                    let_go(self.coordinates)
                yield chunk


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
            yield _chunk(self.store, rows, len(rows), masked=False)


def _split(chunk: Chunk) -> Iterator[Chunk]:
    """The batches of a chunk, each as a chunk of its own."""
    for start in range(0, len(chunk.first), chunk.batch):
        yield chunk.part(slice(start, start + chunk.batch))


def _chunk(
    store: PairStore | DeviceRows, rows: NDArray[np.int64], batch: int, *, masked: bool
) -> Chunk:
    if isinstance(store, DeviceRows):
        on_device = store.take(rows)
        return Chunk(*on_device[:2], batch, on_device[2] if masked else None)
    first, second = (torch.from_numpy(part) for part in store.take(rows))
    return Chunk(first, second, batch, torch.from_numpy(store.present[rows]) if masked else None)


class PairDataModule(LightningDataModule):
    """Training on rows with both modalities, or on all; validation on held-out complete ones."""

    def __init__(
        self,
        store: PairStore,
        *,
        batch_size: int,
        seed: int,
        trains: bool = True,
        incomplete_rows: bool = False,
        shuffle: Shuffle = Shuffle.auto,
        val_fraction: float = 0.0,
        val_store: PairStore | None = None,
    ) -> None:
        """Splits the rows.

        Args:
            store: the rows; those with both modalities train, the others if told to.
            batch_size: rows of a batch, at least 1.
            seed: of the split and of the shuffling.
            trains: rows will be drawn; without it, none needs to be complete.
            incomplete_rows: rows with one modality train too.
            shuffle: see Shuffle.
            val_fraction: share of the complete rows that is held out, in [0, 1).
            val_store: rows to validate on instead.

        Raises:
            ValueError: if no row is complete, or a key is out of its range.
        """
        super().__init__()
        if batch_size < 1:
            raise UserError(f"data.batch_size={batch_size}: must be at least 1")
        if not 0.0 <= val_fraction < 1.0:
            raise UserError(f"data.val_fraction={val_fraction}: must be in [0, 1)")
        if val_fraction and val_store is not None:
            raise UserError("data.val_fraction and data.val_path exclude each other; set one")
        rows = store.complete
        if trains and not len(rows):
            raise UserError(
                f"{store.describe()}: no row has both modalities, so there is nothing to learn a "
                "translation from"
            )
        held = round(val_fraction * len(rows))
        if trains and val_fraction and not 0 < held < len(rows):
            raise UserError(
                f"data.val_fraction={val_fraction} of {len(rows)} complete rows leaves nothing to "
                f"{'validate' if not held else 'train'} on"
            )
        self.val_rows, self.train_rows = rows[:0], rows
        if held:
            self.val_rows, self.train_rows = _held_out(rows, held, seed)
        kept = np.ones(len(store), dtype=bool)
        kept[self.val_rows] = False
        alike = len(rows) == len(store)  # then one list of numbers will do, of many rows
        self.scaling_rows = self.train_rows if alike else np.flatnonzero(kept)
        self.complete_rows = self.train_rows
        if incomplete_rows and not alike:
            self.train_rows = np.flatnonzero(kept & (store.present[:, 0] | store.present[:, 1]))
        self.val_store = store if val_store is None else val_store
        if val_store is not None:
            self.val_rows = val_store.complete
            if not len(self.val_rows):
                raise UserError(
                    f"{val_store.describe()}: no row has both modalities to validate on"
                )
            if (val_store.mod1size, val_store.mod2size) != (store.mod1size, store.mod2size):
                raise UserError(
                    f"{val_store.name}: {val_store.mod1size} + {val_store.mod2size} columns, but "
                    f"the training rows have {store.mod1size} + {store.mod2size}"
                )
        if trains and len(self.train_rows) < batch_size:
            # Unlike the original, which trains nothing then and divides by zero.
            log.warning(
                "%s: %d rows to train on are fewer than data.batch_size=%d; training on one batch "
                "of %d",
                store.name,
                len(self.train_rows),
                batch_size,
                len(self.train_rows),
            )
            batch_size = len(self.train_rows)
        self.store, self.batch_size, self.seed = store, batch_size, seed
        self.shuffle = shuffle
        self.one_by_one = False  # whether the loader yields batches, or chunks of them
        self.device = CPU  # where steps are taken
        self.coordinates: NDArray[np.float32] | None = None  # what the diffusion head is to learn
        self.shapes: tuple[list[int] | None, list[int] | None] = (None, None)  # as pictures

    @classmethod
    def of(cls, trainer: Trainer) -> "PairDataModule":
        """The one that a trainer fits on."""
        data = trainer.datamodule  # type: ignore[attr-defined]  # set by Trainer.fit
        assert isinstance(data, cls)
        return data

    @property
    def taught(self) -> tuple[NDArray[np.int64], NDArray[np.float32]] | None:
        """The rows that train the diffusion head, and what it is to predict by row of the store."""
        return None if self.coordinates is None else (self.scaling_rows, self.coordinates)

    @property
    def batches_per_chunk(self) -> int:
        """Batches that are gathered at once."""
        count, size = len(self.train_rows), self.batch_size
        return Cut.of(self.store, count, size, self.shuffle, self.seed, self.device).chunk

    @property
    def batches(self) -> int:
        """Optimiser steps of an epoch."""
        return len(self.train_rows) // self.batch_size

    def train_dataloader(self) -> ChunkLoader:
        """Shuffled chunks; a new order every epoch."""
        share = self._share()
        if self.batch_size % share[1]:
            raise UserError(
                f"data.batch_size={self.batch_size} is shared by {share[1]} processes; "
                "use a multiple of them"
            )
        return ChunkLoader(
            self.store,
            self.train_rows,
            self.batch_size,
            seed=self.seed,
            place=self._place,
            shuffle=self.shuffle,
            share=share,
            on_device=self._on_device(),
            one_by_one=self.one_by_one,
            coordinates=self.coordinates,
            device=self.device,
        )

    def val_dataloader(self) -> list[RowLoader]:
        """All held-out rows, in order; an empty list without validation."""
        if not len(self.val_rows):
            return []
        return [RowLoader(self.val_store, self.val_rows, self.batch_size, self._share())]

    def _on_device(self) -> DeviceRows | None:
        """All rows on the GPU that trains, where they fit."""
        return DeviceRows.of(self.store, self.device) if fits(self.store, self.device) else None

    def _share(self) -> tuple[int, int]:
        trainer = self.trainer
        return (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)

    def _place(self) -> tuple[int, int]:
        if self.trainer is None:
            return 0, 0
        taken = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready
        # Overfitting a few batches means the same ones in every epoch.
        repeats = self.trainer.overfit_batches  # type: ignore[attr-defined]  # set by Trainer
        epoch = 0 if repeats else self.trainer.current_epoch
        return epoch, taken


def _held_out(
    rows: NDArray[np.int64], count: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """As many of the rows as are held out, and the others; both ascending."""
    places = np.arange(len(rows), dtype=np.int32 if len(rows) < 2**31 else np.int64)
    np.random.default_rng([seed, 0x76616C]).shuffle(places)
    held = np.sort(places[:count])
    del places  # of very many rows
    others = np.ones(len(rows), dtype=bool)
    others[held] = False
    return rows[held], rows[others]
