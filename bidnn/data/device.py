"""Rows that stay on a GPU, where batches are then gathered."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bidnn.data.store import PairStore
from bidnn.data.transfers import moved

SHARE = 0.5
"""Of the device's free memory that rows may take."""


@dataclass(frozen=True, slots=True)
class DeviceRows:
    """What `PairStore.take` gives for all rows, on a device.

    Attributes:
        first: (rows, mod1size) float32, zero where missing.
        second: (rows, mod2size) likewise.
        present: (rows, 2) bool.
    """

    first: Tensor
    second: Tensor
    present: Tensor

    @classmethod
    def of(cls, store: PairStore, device: torch.device) -> "DeviceRows":
        """Copies all rows of a store there, block by block."""
        rows = len(store)
        first, second = (
            torch.empty(rows, size, device=device) for size in (store.mod1size, store.mod2size)
        )
        for block in store.blocks():
            for whole, part in zip((first, second), store.take(block), strict=True):
                whole[block] = torch.from_numpy(part)
        return cls(first, second, torch.from_numpy(store.present).to(device))

    def numbers(self, rows: NDArray[np.int64]) -> Tensor:
        """Numbers of rows, there."""
        return moved(torch.from_numpy(np.ascontiguousarray(rows)), self.first.device)

    def at(self, numbers: Tensor, *, masked: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        """Those rows: both modalities, and, if any row misses one, what is present."""
        present = self.present[numbers] if masked else None
        return self.first[numbers], self.second[numbers], present


def fits(store: PairStore, device: torch.device) -> bool:
    """Whether the rows of a store should be on a device: a GPU with room for them, dense."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return 4 * len(store) * (store.mod1size + store.mod2size) < SHARE * free
