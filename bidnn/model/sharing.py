"""Directions that rows shown by either modality alone share, so that all rows can be compared."""

import torch
from torch import Tensor

from bidnn.errors import UserError

LARGEST = 512
"""Directions at most."""
ROWS = 2048
"""Rows at most that they are found from."""
LEAST = 20
"""Rows at least."""
RIDGE = 0.03
"""Added to variances, as a share of the greatest: weak directions are mostly the training rows'."""


def check_enough(rows: int, key: str = "embedding.shared") -> None:
    """Refuses to find directions, or a map from landmarks, from too few rows.

    Args:
        rows: complete ones; in the space of diffusion, of which neither modality is all zeros.
        key: the setting that needs them.

    Raises:
        UserError: naming the way out.
    """
    if rows < LEAST:
        raise UserError(
            f"{key} needs {LEAST} complete rows to train on, there are {rows}; set {key}=0"
        )


def shared_directions(first: Tensor, second: Tensor, power: float) -> tuple[Tensor, Tensor]:
    """Maps under which vectors of the same rows by one modality and by the other are close.

    Regularised canonical correlation analysis (Vinod, Journal of Econometrics 4(2), 1976): each
    variate has variance 1, times its correlation to a power, so that what only one modality tells
    does not decide which rows are near.

    Args:
        first: (rows, D) vectors by the first modality alone.
        second: (rows, D) vectors of the same rows by the second.
        power: of the correlations, above 0.

    Returns:
        Two maps (D, count) in double precision, of centred vectors; the greatest correlation is
        first, count is at most `LARGEST`, D and the rows.
    """
    left, right = _whitening(first.double()), _whitening(second.double())
    variates = [_centred(part.double()) @ own for part, own in ((first, left), (second, right))]
    one, correlations, other = torch.linalg.svd(
        variates[0].T @ variates[1] / len(first), full_matrices=False
    )
    maps = []
    for own, turn, whitened in ((left, one, variates[0]), (right, other.T, variates[1])):
        spread = (whitened @ turn).square().mean(dim=0).sqrt().clamp_min(1e-12)
        maps.append((own @ turn) * (correlations.clamp(0.0, 1.0) ** power / spread))
    return maps[0], maps[1]


def _whitening(values: Tensor) -> Tensor:
    """Principal axes by columns, each over the root of its variance and the ridge, (D, count)."""
    centred = _centred(values)
    wide = centred.shape[1] > len(centred)
    square = centred @ centred.T if wide else centred.T @ centred
    variances, axes = torch.linalg.eigh(square / len(centred))
    variances, axes = variances.flip(0)[:LARGEST], axes.flip(1)[:, :LARGEST]
    kept = variances > 1e-6 * variances[0]
    variances, axes = variances[kept], axes[:, kept]
    if wide:
        axes = centred.T @ axes / (variances * len(centred)).sqrt()
    whitening: Tensor = axes / (variances + RIDGE * variances[:1]).sqrt()
    return whitening


def _centred(values: Tensor) -> Tensor:
    return values - values.mean(dim=0)
