"""Rows that stay on a GPU, where batches are then gathered; not run on one yet, only on the CPU."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bidnn.data.store import PairStore

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
        """Copies all rows of a store there."""
        parts = (*store.take(slice(None)), store.present)
        first, second, present = (torch.from_numpy(part).to(device) for part in parts)
        return cls(first, second, present)

    def take(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor]:
        """Those rows of all three."""
        numbers = torch.from_numpy(np.ascontiguousarray(rows)).to(self.first.device)
        return self.first[numbers], self.second[numbers], self.present[numbers]


def fits(store: PairStore, device: torch.device) -> bool:
    """Whether the rows of a store are in memory and should be on a device instead."""
    dense = isinstance(store.first, np.ndarray) and isinstance(store.second, np.ndarray)
    if device.type != "cuda" or not dense or store.mapped:
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return 4 * len(store) * (store.mod1size + store.mod2size) < SHARE * free
