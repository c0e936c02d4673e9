"""Scaling of each modality, fitted on the present training rows and stored with the model."""

from dataclasses import dataclass
from enum import Enum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bidnn.data.store import PairStore


class ScalingKind(Enum):
    """How a modality is brought to a common range before the network sees it."""

    none = "none"
    standard = "standard"
    unit = "unit"
    minmax = "minmax"


@dataclass(slots=True, kw_only=True)
class ScalingConfig:
    """Which scaling.

    Attributes:
        kind: `none`; `standard`: mean 0, deviation 1 per column; `unit`: every row to Euclidean
            length 1; `minmax`: every column to [0, 1].
    """

    kind: ScalingKind = ScalingKind.none


class ModalityScaler(nn.Module):
    """(x − shift) · scale by columns, then rows to unit length where that is asked for.

    The figures are buffers: they are saved, loaded and moved to a device with the model.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, size: int, kind: ScalingKind) -> None:
        """Starts as the identity (but for `unit`); `fit_scaling` fills in the figures.

        Args:
            size: columns of the modality.
            kind: the scaling.
        """
        super().__init__()
        self.kind = kind
        self.register_buffer("shift", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))

    def forward(self, values: Tensor) -> Tensor:
        """Scales (rows, size); a zero row stays zero under `unit`."""
        if self.kind is ScalingKind.unit:
            return nn.functional.normalize(values, dim=1)
        if self.kind is ScalingKind.none:
            return values
        return (values - self.shift) * self.scale

    def inverse(self, values: Tensor) -> Tensor:
        """Back to the units of the data; rows of unit length stay as they are."""
        if self.kind in (ScalingKind.none, ScalingKind.unit):
            return values
        return values / self.scale + self.shift


def fit_scaling(
    scalers: tuple[ModalityScaler, ModalityScaler], store: PairStore, rows: NDArray[np.int64]
) -> None:
    """Sets the figures of both scalers from the rows in which the modality is present.

    One pass over the store, block by block, in double precision. A constant column is only
    shifted.

    Args:
        scalers: of the first and of the second modality.
        store: the features.
        rows: numbers of the training rows, ascending.

    Raises:
        ValueError: if a modality is present in none of the rows.
    """
    if scalers[0].kind in (ScalingKind.none, ScalingKind.unit):
        return
    chosen = np.zeros(len(store), dtype=bool)
    chosen[rows] = True
    moments = [_Moments(store.mod1size), _Moments(store.mod2size)]
    for block in store.blocks():
        values = store.take(block)
        for modality in (0, 1):
            there = store.present[block, modality] & chosen[block]
            moments[modality].add(values[modality][there].astype(np.float64))
    for scaler, moment, name in zip(scalers, moments, ("first", "second"), strict=True):
        if not moment.count:
            raise ValueError(f"{store.name}: no training row has the {name} modality to scale by")
        standard = scaler.kind is ScalingKind.standard
        shift, spread = moment.standard() if standard else moment.range()
        # Otherwise the rounding noise of a constant column would be blown up.
        constant = spread <= 1e-7 * np.maximum(np.abs(shift), 1e-30)
        scale = 1.0 / np.where(constant, 1.0, spread)
        scaler.shift.copy_(torch.from_numpy(shift))
        scaler.scale.copy_(torch.from_numpy(scale))


class _Moments:
    """Running mean, squares (Chan, Golub, LeVeque 1979), minimum and maximum by column."""

    def __init__(self, size: int) -> None:
        self.count = 0
        self.mean = np.zeros(size)
        self.squares = np.zeros(size)
        self.low = np.full(size, np.inf)
        self.high = np.full(size, -np.inf)

    def add(self, values: NDArray[np.float64]) -> None:
        count = len(values)
        if not count:
            return
        mean = values.mean(axis=0)
        total = self.count + count
        self.squares += ((values - mean) ** 2).sum(axis=0)
        self.squares += (mean - self.mean) ** 2 * (self.count * count / total)
        self.mean += (mean - self.mean) * (count / total)
        self.low = np.minimum(self.low, values.min(axis=0))
        self.high = np.maximum(self.high, values.max(axis=0))
        self.count = total

    def standard(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self.mean, np.sqrt(self.squares / self.count)

    def range(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self.low, self.high - self.low
