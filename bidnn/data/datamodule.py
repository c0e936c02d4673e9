"""Which rows train, and which validate."""

import logging

import numpy as np
from lightning import LightningDataModule, Trainer
from numpy.typing import NDArray

from bidnn.data.device import DeviceRows, fits
from bidnn.data.loaders import CPU, ChunkLoader, Cut, RowLoader
from bidnn.data.order import Shuffle
from bidnn.data.store import PairStore
from bidnn.data.taught import Taught
from bidnn.errors import UserError

log = logging.getLogger(__name__)


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
                "of %d%s",
                store.name,
                len(self.train_rows),
                batch_size,
                len(self.train_rows),
                f", since data.val_fraction={val_fraction:g} holds {held} rows out"
                if held > len(self.train_rows)
                else "",
            )
            batch_size = len(self.train_rows)
        self.store, self.batch_size, self.seed = store, batch_size, seed
        self.shuffle = shuffle
        self.one_by_one = False  # whether the loader yields batches, or chunks of them
        self.device = CPU  # where steps are taken
        self.coordinates: NDArray[np.float32] | None = None  # what the diffusion head is to learn
        self.begun = (-1, 0)  # an epoch, and how many batches of its next chunk were taken
        self._there: DeviceRows | None = None
        self.shapes: tuple[list[int] | None, list[int] | None] = (None, None)  # as pictures

    @classmethod
    def of(cls, trainer: Trainer) -> "PairDataModule":
        """The one that a trainer fits on."""
        data = trainer.datamodule  # type: ignore[attr-defined]  # set by Trainer.fit
        assert isinstance(data, cls)
        return data

    @property
    def taught(self) -> Taught | None:
        """What the diffusion head learns from; None without one."""
        if self.coordinates is None:
            return None
        return Taught(self.scaling_rows, self.coordinates, self.held_rows)

    @property
    def held_rows(self) -> NDArray[np.int64]:
        """Rows of the store that are validated on, and train nothing."""
        return self.val_rows if self.val_store is self.store else self.val_rows[:0]

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
        share = self._share()
        if len(self.val_rows) < share[1]:
            raise UserError(
                f"{len(self.val_rows)} rows to validate on are shared by {share[1]} processes; "
                "hold out more (data.val_fraction), or none: data.val_fraction=0"
            )
        return [RowLoader(self.val_store, self.val_rows, self.batch_size, share)]

    def _on_device(self) -> DeviceRows | None:
        """All rows on the GPU that trains, where they fit; once, though loaders are made anew."""
        if self._there is None and fits(self.store, self.device):
            self._there = DeviceRows.of(self.store, self.device)
        return self._there

    def _share(self) -> tuple[int, int]:
        trainer = self.trainer
        return (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)

    def _place(self) -> tuple[int, int]:
        if self.trainer is None:
            return 0, 0
        taken = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready
        if not self.one_by_one:
            taken *= self.batches_per_chunk
        if self.begun[0] == self.trainer.current_epoch:
            taken += self.begun[1]
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
