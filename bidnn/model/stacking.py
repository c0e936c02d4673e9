"""Translations stacked: a sum of the network's and of a regression's, as held-out rows weigh them.

A network of many weights learns few rows by heart, and then translates others worse than ridge
regression does, or than the mean; of many rows it knows more than these do. What either is worth on
rows that train neither says how much of each is taken (stacking: Wolpert, Neural Networks 5(2),
1992; with weights that are not negative, Breiman, Machine Learning 24(1), 1996).

Shapes in comments: B rows, M1 M2 sizes of the modalities, M that of the one that is predicted.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bidnn.model.ridge import Moments
from bidnn.model.scaling import at_least_float32
from bidnn.model.waves import WAVES, Waves, inputs_of

MOST = 2**25
"""Numbers of a map, or of directions, beyond which there is no regression."""
DOUBT = 1.0
"""Held-out rows that the regression alone counts for, whose strength is chosen without them."""


class Stacked(nn.Module):
    """What the two translations become; the network's as they are, until it is fitted.

    Attributes:
        waves: inputs of the regressions, to first (of M2 columns) and to second (of M1); None where
            a regression would be too large.
        maps: ridge regressions, to first (inputs + 1, M1) and to second (inputs + 1, M2), the last
            row a constant; (0, M) where there is none.
        levels: means of the modalities, (M1,) and (M2,).
        shares: (2, 2), to first and to second: of the network and of the regression.
        rows: that the regressions were found from; 0 until then.
    """

    shares: Tensor
    rows: Tensor

    def __init__(self, mod1size: int, mod2size: int) -> None:
        """Leaves the network's translations as they are.

        Args:
            mod1size: M1.
            mod2size: M2.
        """
        super().__init__()
        self.waves_of_second = _waves(mod2size, mod1size)
        self.waves_of_first = _waves(mod1size, mod2size)
        for name, size, waves in zip(
            ("first", "second"), (mod1size, mod2size), self.waves, strict=True
        ):
            self.register_buffer(f"to_{name}", torch.zeros(waves.count + 1 if waves else 0, size))
            self.register_buffer(f"level_{name}", torch.zeros(size))
        self.register_buffer("shares", torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
        self.register_buffer("rows", torch.zeros(()))

    @property
    def waves(self) -> tuple[Waves | None, Waves | None]:
        """See the class."""
        return self.waves_of_second, self.waves_of_first

    @property
    def maps(self) -> tuple[Tensor, Tensor]:
        """See the class."""
        return self.get_buffer("to_first"), self.get_buffer("to_second")

    @property
    def levels(self) -> tuple[Tensor, Tensor]:
        """See the class."""
        return self.get_buffer("level_first"), self.get_buffer("level_second")

    def forward(self, network: Tensor, source: Tensor, side: int) -> Tensor:
        """A translation.

        Args:
            network: (B, M) what the network says.
            source: (B, columns of the other modality) from what.
            side: 0 to first, 1 to second.

        Returns:
            (B, M) float32 at least.
        """
        own, other = self.shares[side]
        level = self.levels[side]
        found: Tensor = level + own * (at_least_float32(network) - level)
        if self.waves[side] is not None:
            found = found + other * (self.regression(source, side) - level)
        return found

    def regression(self, source: Tensor, side: int) -> Tensor:
        """(B, M) what the regression says; the mean if there is none. As `forward`."""
        waves, mapped = self.waves[side], self.maps[side]
        if waves is None:
            return self.levels[side].expand(len(source), -1)
        inputs = waves(source)
        found: Tensor = inputs @ mapped[:-1].to(inputs.dtype) + mapped[-1]
        return found

    def clear(self) -> None:
        """Leaves the network's translations as they are, as before anything was fitted."""
        for values in self.buffers():
            values.zero_()
        for waves in filter(None, self.waves):
            waves.reach.fill_(1.0)
        self.shares[:, 0] = 1.0

    def solve(self, moments: tuple[Moments, Moments]) -> None:
        """Finds the regressions, by the strengths that generalised cross-validation chooses.

        Args:
            moments: to first and to second; the inputs are `waves`, fitted, and none where there
                are no such.
        """
        self.rows.fill_(moments[0].rows)
        for mapped, level, own in zip(self.maps, self.levels, moments, strict=True):
            level.copy_(own.crossed[-1] / own.rows)
            if len(mapped):
                mapped.copy_(own.ridge())

    def weigh(self, side: int, products: NDArray[np.float64], spread: float) -> None:
        """Finds how much of both is taken.

        Args:
            side: 0 to first, 1 to second.
            products: (3, 3) of what the network says, the regression and the truth, each less the
                mean, summed over rows and columns.
            spread: what one row adds to the products of the truth.
        """
        from scipy.linalg import cholesky, solve_triangular
        from scipy.optimize import nnls

        doubt = max(DOUBT * spread, 1e-12)
        lower = cholesky(products[:2, :2] + doubt * np.eye(2), lower=True)
        sought = solve_triangular(lower, products[:2, 2] + [0.0, doubt], lower=True)
        self.shares[side].copy_(torch.from_numpy(nnls(lower.T, sought)[0]))


def _waves(source: int, target: int) -> Waves | None:
    """Of a regression from so many columns to so many; None if it would be too large."""
    return Waves(source) if max(source * WAVES, inputs_of(source) * target) <= MOST else None
