"""The diffusion head, solved: what training left of its error and is linear in the centres.

Steps of gradient descent come near the best linear head, not to it, and a mean of two predictions
is not the best one from both. Both have a closed form, ridge regression of what is left of the
error; its strength is chosen by generalised cross-validation (Golub, Heath and Wahba, Technometrics
21(2), 1979), so that few rows leave the trained head nearly as it is.

Centres know the rows that they were trained on, more of one modality than of the other. So rows
that were held out say how much of each prediction is right where nothing was learned by heart
(stacking: Wolpert, Neural Networks 5(2), 1992; with weights that are not negative, Breiman, Machine
Learning 24(1), 1996).

Shapes in comments: B rows, C = rep / 2 units of a centre, D = rep coordinates.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bidnn.model.ridge import Moments

CLEARLY = 3.0
"""Standard errors by which held-out rows must prefer other weights than the solved ones."""


class Readout(nn.Module):
    """Corrections of what a head predicts from each centre, and from both; zero until solved."""

    singles: Tensor
    joint: Tensor

    def __init__(self, centre: int, coordinates: int) -> None:
        """Corrects nothing.

        Args:
            centre: C.
            coordinates: D.
        """
        super().__init__()
        # By first, by second; the last row of each is the same for all rows.
        self.register_buffer("singles", torch.zeros(2, centre + 1, coordinates))
        self.register_buffer("joint", torch.zeros(2 * centre + 1, coordinates))

    @property
    def inputs(self) -> int:
        """C."""
        return self.singles.shape[1] - 1

    def forward(self, centres: list[Tensor], predicted: list[Tensor], said: Tensor) -> Tensor:
        """Coordinates from what a row has.

        Args:
            centres: of first and second, (B, C) each.
            predicted: from each by the head, (B, D) each.
            said: (B, 2) bool, which of them count.

        Returns:
            (B, D) float32 at least; zero where neither counts.
        """
        left, right = (
            guess + _mapped(centre, correction)
            for guess, centre, correction in zip(predicted, centres, self.singles, strict=True)
        )
        both = (left + right) / 2 + _mapped(torch.cat(centres, dim=1), self.joint)
        alone = left * said[:, :1] + right * said[:, 1:]
        return torch.where(said.all(dim=1, keepdim=True), both, alone)

    def solve(
        self, first: Moments, second: Moments, both: Moments, strength: float | None = None
    ) -> None:
        """Finds the corrections.

        Args:
            first: of the centres of rows that have the first modality, and of what the head misses.
            second: likewise.
            both: of both centres of rows that have both, and of what the mean of both misses.
            strength: see `Moments.ridge`.
        """
        left, right = first.ridge(strength), second.ridge(strength)
        self.singles[0].copy_(left)
        self.singles[1].copy_(right)
        corrected = torch.cat([left[:-1], right[:-1], left[-1:] + right[-1:]]) / 2
        self.joint.copy_(both.less(corrected).ridge(strength))

    def weigh(self, weights: NDArray[np.float64], head: Tensor) -> None:
        """Makes what is predicted from both a sum of all three predictions.

        Args:
            weights: (3,) of that by first, by second and by both.
            head: (C + 1, D), what the trained head makes of a centre; zeros if there is none.
        """
        shares = [float(share + weights[2] / 2 - 0.5) for share in weights[:2]]
        left, right = (
            share * (head.to(single) + single)
            for share, single in zip(shares, self.singles, strict=True)
        )
        own = torch.cat([left[:-1], right[:-1], left[-1:] + right[-1:]])
        self.joint.copy_(float(weights[2]) * self.joint + own)


def best_weights(guesses: list[Tensor], truth: Tensor) -> NDArray[np.float64]:
    """Weights of guesses whose sum is nearest to the truth; none is negative.

    The last guess stands alone unless a sum is nearer by three standard errors.

    Args:
        guesses: (rows, D) each.
        truth: (rows, D).
    """
    from scipy.optimize import nnls

    columns = np.stack([_flat(guess) for guess in guesses], axis=1)
    sought = _flat(truth)
    alone = nnls(columns[:, -1:], sought)[0]
    weights: NDArray[np.float64] = nnls(columns, sought)[0]
    errors = [
        np.square(found - sought).reshape(len(truth), -1).mean(axis=1)
        for found in (columns[:, -1:] @ alone, columns @ weights)
    ]
    gained = errors[0] - errors[1]
    if gained.mean() > CLEARLY * gained.std(ddof=1) / len(gained) ** 0.5:
        return weights
    unweighed: NDArray[np.float64] = np.eye(len(guesses))[-1]
    return unweighed


def _flat(values: Tensor) -> NDArray[np.float64]:
    return np.asarray(values.detach().cpu().double()).ravel()


def _mapped(inputs: Tensor, correction: Tensor) -> Tensor:
    correction = correction.to(torch.promote_types(inputs.dtype, torch.float32))
    return inputs.to(correction.dtype) @ correction[:-1] + correction[-1]
