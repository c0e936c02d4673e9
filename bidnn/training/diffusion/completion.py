"""Rows made whole for their neighbours: a missing modality predicted from the other."""

import numpy as np
from numpy.typing import NDArray

from bidnn.evaluation.agreement import NEIGHBOURS
from bidnn.training.diffusion.graphs import Rows, nearest, unit

RIDGES = (0.01, 0.1, 1.0, 10.0)
"""Strengths of the regression, as shares of a mean squared singular value."""


def completed(prepared: list[Rows], there: NDArray[np.bool_]) -> Rows:
    """Both modalities side by side, a missing one predicted from the other.

    The prediction is a mean of ridge regression and of the ten nearest complete rows, each weighted
    as it serves complete rows that it has not seen, so that what cannot be predicted stays near the
    mean.

    Args:
        prepared: both modalities, (rows, size) of unit length.
        there: (rows, 2) bool; each row has one at least.

    Returns:
        (rows, both sizes) of unit length.
    """
    pairs = np.flatnonzero(there.all(axis=1))
    halves = [part * has[:, None] for part, has in zip(prepared, there.T, strict=True)]
    for side in (0, 1):
        lost = np.flatnonzero(~there[:, side])
        if len(lost) and len(pairs) > NEIGHBOURS:
            source = prepared[1 - side]
            halves[side][lost] = predicted(source[pairs], prepared[side][pairs], source[lost])
    return unit(np.concatenate([unit(half) for half in halves], axis=1))


def certainty(there: NDArray[np.bool_]) -> Rows:
    """How much a row counts among completed ones.

    Predictions that are learned from few rows err alike, so that guesses lie nearer to each other
    than what they stand for. Where complete rows are fewer than others, an edge between two of the
    others, whose weight is the product of both, counts as the root of the ratio.

    Args:
        there: (rows, 2) bool.

    Returns:
        (rows,) in [0, 1]; 1 for complete rows.
    """
    whole = there.all(axis=1)
    return np.where(whole, 1.0, complete_for_others(there) ** 0.25).astype(np.float32)


def complete_for_others(there: NDArray[np.bool_]) -> float:
    """Complete rows for each row that is not, at most 1; `there` is (rows, 2) bool."""
    complete = int(there.all(axis=1).sum())
    return min(complete / max(len(there) - complete, 1), 1.0)


def predicted(source: Rows, target: Rows, queries: Rows) -> Rows:
    """What the target is for queries, from pairs of source and target."""
    from scipy.optimize import nnls
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import cross_val_predict

    scale = float((source.astype(np.float64) ** 2).sum()) / min(source.shape)
    folds = 5
    tried = [Ridge(alpha=scale * share, fit_intercept=False) for share in RIDGES]
    flat = target.ravel() if target.shape[1] == 1 else target  # as scikit-learn wants one column
    guesses = [
        cross_val_predict(ridge, source, flat, cv=folds).reshape(target.shape) for ridge in tried
    ]
    errors = [float(((guess - target) ** 2).sum()) for guess in guesses]
    best = int(np.argmin(errors))
    by_rows = mean_of_nearest(source, target, None)
    weights, _ = nnls(
        np.stack([guesses[best].ravel(), by_rows.ravel()], axis=1).astype(np.float64),
        target.ravel().astype(np.float64),
    )
    line = tried[best].fit(source, flat).predict(queries).reshape(len(queries), -1)
    found = weights[0] * line + weights[1] * mean_of_nearest(source, target, queries)
    return np.asarray(found, dtype=np.float32)


def mean_of_nearest(source: Rows, target: Rows, queries: Rows | None) -> Rows:
    """Mean of the target over the rows whose source is nearest, weighted by the cosine."""
    distances, near = nearest(source, queries, NEIGHBOURS)
    weights = np.maximum(1.0 - distances**2 / 2.0, 1e-6)
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    mean: Rows = np.einsum("rk,rkd->rd", weights, target[near])
    return mean
