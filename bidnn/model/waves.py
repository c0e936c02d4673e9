"""Inputs of a regression that is no line: values, and waves along random directions of theirs.

Products of these waves are nearly a Gaussian kernel of two rows, so that ridge regression on them
is nearly one on a kernel (Rahimi and Recht, Random features for large-scale kernel machines, NIPS
2007), more nearly as directions are orthogonal (Yu et al., Orthogonal random features, NIPS 2016).
No training row is kept.

Shapes in comments: M columns, W waves, V columns that are inputs themselves: M, or none of many.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bidnn.model.scaling import LARGEST, SMALLEST, at_least_float32

WAVES = 512
WIDEST = 4096
"""Columns beyond which only waves are inputs, as solving takes their number to the third power."""
STILL = 1e-6
"""Of the mean; rows that are no farther from it are all the same but for rounding."""


def inputs_of(size: int) -> int:
    """Inputs that a modality of so many columns gives, V + 2 · W."""
    return (size if size <= WIDEST else 0) + 2 * WAVES


class Waves(nn.Module):
    """Of one modality; they say nothing until they are fitted.

    Attributes:
        level: (M,) the mean of rows.
        reach: how far rows are from it, the root of their mean squared distance.
        directions: (M, W), each as long as a normal vector of as many numbers; the kernel is
            exp(−squared distance / (2 · reach²)).
    """

    level: Tensor
    reach: Tensor
    directions: Tensor

    def __init__(self, size: int) -> None:
        """Nothing yet.

        Args:
            size: M.
        """
        super().__init__()
        self.register_buffer("level", torch.zeros(size))
        self.register_buffer("reach", torch.ones(()))
        self.register_buffer("directions", torch.zeros(size, WAVES))

    @property
    def count(self) -> int:
        """Of inputs, V + 2 · W."""
        return inputs_of(len(self.level))

    def forward(self, values: Tensor) -> Tensor:
        """Inputs of a regression, whose mean square is 1 of the values and 1 of the waves.

        Args:
            values: (rows, M), scaled.

        Returns:
            (rows, V + 2 · W), float32 at least.
        """
        values = at_least_float32(values)
        rows = (values - self.level.to(values.dtype)) / self.reach.to(values.dtype)
        angles = rows @ self.directions.to(values.dtype)
        waves = [angles.cos() / WAVES**0.5, angles.sin() / WAVES**0.5]
        return torch.cat([rows, *waves] if self.count > 2 * WAVES else waves, dim=1)

    def fit(self, level: NDArray[np.float64], reach: float) -> None:
        """Finds the directions, the same ones for as many columns.

        Args:
            level: (M,).
            reach: not negative; of rows that are all the same, 0 or what rounding leaves of it.
        """
        self.level.copy_(torch.from_numpy(level))
        still = max(SMALLEST, STILL * float(np.linalg.norm(level)))
        self.reach.fill_(1.0 if reach <= still else min(reach, LARGEST))
        generator, size = np.random.default_rng(0), len(level)
        parts = []
        for left in range(WAVES, 0, -size):
            axes, _ = np.linalg.qr(generator.normal(size=(size, min(size, left))))
            parts.append(axes * np.sqrt(generator.chisquare(size, axes.shape[1])))
        self.directions.copy_(torch.from_numpy(np.concatenate(parts, axis=1)))
