"""Scaling of each modality, fitted on the rows that have it and stored with the model."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bidnn.data.store import PairStore
from bidnn.errors import UserError

SMALLEST, LARGEST = 2.0**-126, float(np.finfo(np.float32).max)


class ScalingKind(Enum):
    """How a modality is brought to a common range before the network sees it."""

    none = "none"
    standard = "standard"
    centred = "centred"
    unit = "unit"
    minmax = "minmax"


class Transform(Enum):
    """What is done to single values before that."""

    none = "none"
    sqrt = "sqrt"
    log_ratio = "log_ratio"
    auto = "auto"
    auto_sqrt = "auto_sqrt"


@dataclass(slots=True, kw_only=True)
class ScalingConfig:
    """Which scaling; the same for both modalities, unless `auto` finds that they differ.

    Attributes:
        kind: `none`; `standard`: mean 0 and deviation 1 by column; `centred`: mean 0 by column, and
            one scale for all, so that the mean square is 1; `unit`: every row to Euclidean length
            1; `minmax`: every column to [0, 1].
        transform: before the kind. `none`; `sqrt`: signed square root (Hellinger's, for
            histograms); `log_ratio`: centred log-ratio of rows that are parts of a whole (Aitchison
            1982), a tenth of the mean value added against zeros; `auto`: `log_ratio` for a
            modality whose rows are not negative and have one and the same sum, else `none`;
            `auto_sqrt`: `sqrt` for such a modality, else `none`.
    """

    kind: ScalingKind = ScalingKind.none
    transform: Transform = Transform.none


class ModalityScaler(nn.Module):
    """A transform, then (x − shift) · scale by columns, or rows to unit length.

    The figures are buffers: they are saved, loaded and moved to a device with the model.
    """

    shift: Tensor
    scale: Tensor
    spread: Tensor
    whole: Tensor
    offset: Tensor

    def __init__(self, size: int, kind: ScalingKind, transform: Transform) -> None:
        """Starts with neutral figures; `fit_scaling` finds the right ones.

        Args:
            size: columns of the modality.
            kind: see ScalingConfig.
            transform: see ScalingConfig; `fit_scaling` replaces `auto` by what it finds.
        """
        super().__init__()
        self.kind, self.transform = kind, transform
        self.register_buffer("shift", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.register_buffer("spread", torch.ones(size))  # 1 / scale; 0 in constant columns
        self.register_buffer("whole", torch.ones(()))  # the sum of a row
        self.register_buffer("offset", torch.full((), 0.1 / size))  # added before a logarithm

    def forward(self, values: Tensor) -> Tensor:
        """Scales (rows, size), in float32 at least, whatever the weights are."""
        values = self.transformed(at_least_float32(values))
        if self.kind is ScalingKind.unit:
            # By the largest value first: squares of large and of small values leave float32.
            largest = values.abs().amax(dim=1, keepdim=True)
            return nn.functional.normalize(values / largest.clamp_min(SMALLEST), dim=1)
        if self.kind is ScalingKind.none:
            return values
        return (values - self.shift) * self.scale

    def transformed(self, values: Tensor) -> Tensor:
        """The transform alone."""
        if self.transform is Transform.sqrt:
            return values.sign() * values.abs().sqrt()
        if self.transform is Transform.log_ratio:
            logs = (values.clamp_min(0.0) + self.offset).log()
            return logs - logs.mean(dim=1, keepdim=True)
        return values

    def inverse(self, values: Tensor) -> Tensor:
        """Back to the units of the data; rows of unit length keep theirs.

        A column that was constant in training is that constant, whatever is predicted.
        """
        values = at_least_float32(values)
        if self.kind not in (ScalingKind.none, ScalingKind.unit):
            values = values * self.spread + self.shift
        if self.transform is Transform.sqrt:
            return values * values.abs()
        if self.transform is Transform.log_ratio:
            filled = self.whole + values.shape[1] * self.offset
            return (values.softmax(dim=1) * filled - self.offset).clamp_min(0.0)
        return values


def at_least_float32(values: Tensor) -> Tensor:
    """The same values; half precision becomes float32, in which sums and lengths are taken."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def fit_scaling(
    scalers: tuple[ModalityScaler, ModalityScaler], store: PairStore, rows: NDArray[np.int64]
) -> None:
    """Sets the figures of both scalers from the rows in which the modality is present.

    One pass over the store, or two with a transform, block by block, in double precision. A
    constant column is only shifted.

    Args:
        scalers: of the first and of the second modality.
        store: the features.
        rows: numbers of the rows to look at, ascending: all that are not held out.

    Raises:
        ValueError: if a modality is present in none of the rows, or float32 cannot scale a column.
    """
    for modality, scaler in enumerate(scalers):
        if scaler.transform is not Transform.none:
            _fit_transform(scaler, _present_blocks(store, rows, modality))
        if scaler.kind not in (ScalingKind.none, ScalingKind.unit):
            _fit_columns(scaler, _present_blocks(store, rows, modality))


def _present_blocks(
    store: PairStore, rows: NDArray[np.int64], modality: int
) -> Iterator[NDArray[np.float32]]:
    chosen = np.zeros(len(store), dtype=bool)
    chosen[rows] = True
    chosen &= store.present[:, modality]
    if not chosen.any():
        name = ("first", "second")[modality]
        raise UserError(f"{store.name}: no training row has the {name} modality to scale by")
    for block in store.blocks():
        yield store.take(block)[modality][chosen[block]]


def _fit_transform(scaler: ModalityScaler, blocks: Iterator[NDArray[np.float32]]) -> None:
    """Finds the sum of the rows, and whether `auto` is to take log-ratios."""
    from sklearn.preprocessing import StandardScaler  # a second, which most programs need not

    sums, low = StandardScaler(), np.inf
    for values in blocks:
        if len(values):
            sums.partial_fit(values.sum(axis=1, dtype=np.float64)[:, None])
            low = min(low, float(values.min()))
    whole, spread = float(sums.mean_[0]), float(np.sqrt(sums.var_[0]))
    closed = low >= 0.0 < whole and spread <= 1e-3 * whole
    found = {Transform.auto: Transform.log_ratio, Transform.auto_sqrt: Transform.sqrt}
    if scaler.transform in found:
        scaler.transform = found[scaler.transform] if closed else Transform.none
    if whole > 0.0:
        scaler.whole.fill_(whole)
        scaler.offset.fill_(0.1 * whole / len(scaler.shift))


def _fit_columns(scaler: ModalityScaler, blocks: Iterator[NDArray[np.float32]]) -> None:
    """Finds shift and scale of the transformed columns."""
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    found = MinMaxScaler() if scaler.kind is ScalingKind.minmax else StandardScaler()
    for values in blocks:
        if len(values):
            transformed = scaler.transformed(torch.from_numpy(values)).numpy()
            found.partial_fit(transformed.astype(np.float64))
    if scaler.kind is ScalingKind.minmax:
        shift, spread = found.data_min_, found.data_range_
    else:
        shift, spread = found.mean_, np.sqrt(found.var_)
    # Otherwise the rounding noise of a constant column would be blown up.
    spread = np.where(spread <= 1e-6 * np.abs(shift), 0.0, spread)
    live = spread > 0.0
    if scaler.kind is ScalingKind.centred:
        spread = np.full_like(spread, np.sqrt(np.mean(spread**2)))
    bad = np.flatnonzero((spread > LARGEST) | ((spread > 0.0) & (spread < SMALLEST)))
    if len(bad):
        raise UserError(
            f"scaling={scaler.kind.value}: column {bad[0]}, counted from 0, of a modality of "
            f"{len(spread)} spreads over {spread[bad[0]]:.3g}, which float32 cannot bring to 1; "
            "multiply the features by a constant"
        )
    scaler.shift.copy_(torch.from_numpy(shift))
    scaler.scale.copy_(torch.from_numpy(1.0 / np.where(spread > 0.0, spread, 1.0)))
    scaler.spread.copy_(torch.from_numpy(np.where(live, spread, 0.0)))
