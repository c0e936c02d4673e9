"""Ridge regression from second moments of rows, which are seen once and not kept.

Its strength is chosen by generalised cross-validation (Golub, Heath and Wahba, Technometrics 21(2),
1979), so that of few rows little is learned.
"""

import torch
from torch import Tensor, nn

STRENGTHS = tuple(10.0 ** (power / 2) for power in range(-6, 5))
"""Of the ridge, as shares of the mean variance of a direction."""
LEAST = 20
"""Rows below which no strength can be chosen, so that nothing is said."""
ROWS = 16384
"""At most that one is solved for."""
STILL = 1e-6
"""Of the inputs' squares; where less than this varies, it is what rounding left of nothing."""


class Moments:
    """Second moments of rows: what ridge regression needs, in double precision."""

    def __init__(self, inputs: int, targets: int) -> None:
        """Of no rows yet.

        Args:
            inputs: their number, without the constant.
            targets: their number.
        """
        self.products = torch.zeros(inputs + 1, inputs + 1, dtype=torch.float64)
        self.crossed = torch.zeros(inputs + 1, targets, dtype=torch.float64)
        self.squares = 0.0

    @property
    def inputs(self) -> int:
        """Their number, without the constant."""
        return len(self.products) - 1

    @property
    def rows(self) -> float:
        """How many were counted."""
        return float(self.products[-1, -1])

    def add(self, inputs: Tensor, targets: Tensor) -> None:
        """Counts rows, (B, inputs) and (B, targets)."""
        inputs = nn.functional.pad(inputs, (0, 1), value=1.0)
        self.products += (inputs.T @ inputs).cpu().double()
        self.crossed += (inputs.T @ targets).cpu().double()
        self.squares += float(targets.square().sum())

    def less(self, known: Tensor) -> "Moments":
        """Of the same rows, of what their targets have more than a map (inputs + 1, targets)."""
        left = Moments(len(self.products) - 1, self.crossed.shape[1])
        explained = self.products @ known
        left.products, left.crossed = self.products, self.crossed - explained
        left.squares = self.squares + float((known * (explained - 2 * self.crossed)).sum())
        return left

    def ridge(self, strength: float | None = None) -> Tensor:
        """A map (inputs + 1, targets).

        Args:
            strength: as a share of a row's variance in all inputs together; None for that whose
                generalised cross-validation is the least.

        Returns:
            Zeros of no rows, and of fewer than 20 where the strength is to be chosen.
        """
        rows = self.rows
        if rows < (LEAST if strength is None else 1):
            return torch.zeros_like(self.crossed)
        means, level = self.products[-1, :-1] / rows, self.crossed[-1] / rows
        covariance = self.products[:-1, :-1] - rows * torch.outer(means, means)
        crossed = self.crossed[:-1] - rows * torch.outer(means, level)
        if strength is not None:
            varies = float(covariance.trace())
            if varies <= STILL * float(self.products[:-1, :-1].trace()):
                return torch.cat([torch.zeros_like(crossed), level[None]])
            covariance.diagonal().add_(strength * varies / rows + 1e-12)
            found = torch.cholesky_solve(crossed, torch.linalg.cholesky(covariance))
            return torch.cat([found, (level - means @ found)[None]])
        variances, axes = torch.linalg.eigh(covariance)
        variances = variances.clamp_min(0.0)
        along = axes.T @ crossed
        squares = self.squares - rows * float(level.square().sum())
        power, mean = along.square().sum(dim=1), float(variances.sum()) / min(rows, len(variances))
        strengths = [share * mean + 1e-12 for share in STRENGTHS]

        def criterion(damping: float) -> float:
            damped = variances + damping
            error = squares - float((power * (variances + 2 * damping) / damped**2).sum())
            freedom = 1 - (1 + float((variances / damped).sum())) / rows
            return error / max(freedom, 1e-3) ** 2

        best = min(strengths, key=criterion)
        found = axes @ (along / (variances + best)[:, None])
        return torch.cat([found, (level - means @ found)[None]])
