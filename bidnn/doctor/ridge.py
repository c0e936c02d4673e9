"""Ridge regression of one modality on the other, judged by what it has not seen.

With the centred source X = U S V' and the penalty α, row i of the leave-one-out errors is that of
(I − H) Y divided by 1 − h_ii, where H = 1/n + U diag(s²/(s² + α)) U' (Allen's PRESS, Technometrics
16, 1974). Their squares need the n × n products of rows only, however wide the modalities are.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SHARES = tuple(10.0**power for power in range(3, -4, -1))
"""Penalties, as shares of the mean squared singular value of the source."""
WORSE = 2
"""Penalties in a row that are worse than a greater one; smaller ones are not tried then."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Centred:
    """A modality less its mean, by its singular values.

    Attributes:
        left: (rows, rank) singular vectors.
        values: (rank,) singular values.
        columns: of the modality.
    """

    left: Matrix
    values: Matrix
    columns: int

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> "Centred":
        """Of (rows, columns), by the eigenvectors of the smaller of its two products."""
        matrix = values.astype(np.float64)
        matrix -= matrix.mean(axis=0)
        wide = matrix.shape[1] > matrix.shape[0]
        squares, vectors = np.linalg.eigh(matrix @ matrix.T if wide else matrix.T @ matrix)
        kept = squares > 1e-12 * max(float(squares[-1]), np.finfo(np.float64).tiny)
        singular = np.sqrt(squares[kept])
        left = vectors[:, kept] if wide else matrix @ vectors[:, kept] / singular
        return cls(left, singular, matrix.shape[1])

    @property
    def coordinates(self) -> Matrix:
        """(rows, rank): the rows, turned; their products and distances are those of the rows."""
        return self.left * self.values


def explained(source: Centred, target: Matrix) -> float:
    """The share of the target's variance that ridge regression explains of rows left out.

    Each row is predicted from all others, and compared with the mean of all others; the penalty is
    the best of `SHARES`, from the greatest down to where it no longer helps.

    Args:
        source: of n rows.
        target: (n, size) centred, or `Centred.coordinates`.

    Returns:
        At most 1; below 0 where the mean is nearer; NaN for a target that does not vary.
    """
    rows, left = len(target), source.left
    lengths = np.einsum("ij,ij->i", target, target)
    whole = float(lengths.sum()) * (rows / (rows - 1)) ** 2
    if not whole or not len(source.values):
        return float("nan") if not whole else 0.0
    along = left.T @ target  # (rank, size)
    shared = left * (target @ along.T)  # (rows, rank)
    between = along @ along.T
    squares = source.values**2
    mean = float(squares.sum()) / min(rows, source.columns)
    best, worse = np.inf, 0
    for share in SHARES:
        kept = squares / (squares + share * mean)
        weighted = left * kept
        residual = lengths - 2 * shared @ kept
        residual += np.einsum("ij,ij->i", weighted @ between, weighted)
        free = 1.0 - 1.0 / rows - (left**2) @ kept
        error = float((residual / np.maximum(free, 1e-9) ** 2).sum())
        best, worse = (error, 0) if error < best else (best, worse + 1)
        if worse == WORSE:
            break
    return 1.0 - best / whole
