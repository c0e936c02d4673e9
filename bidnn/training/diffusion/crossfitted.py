"""Where rows would lie by what other rows teach of their values: cross-fitted predictions.

Neighbours share noise with a row, and the graph follows it. What a regression on other rows says of
a row's place knows nothing of the row's own edges: rows that are near by it are near for a reason
that holds elsewhere. Each row is predicted by a ridge regression that was fitted without it and a
fifth of the others (cross-fitting), from kernels of its modality, or of both if it has both, with
some of the rows (Williams and Seeger, Using the Nyström method to speed up kernel machines, NIPS
2000).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from bidnn.evaluation.agreement import NEIGHBOURS
from bidnn.training.diffusion.completion import complete_for_others
from bidnn.training.diffusion.graphs import Rows, affinities, sketched_walk, unit

FEWEST = 12
"""Complete rows below which nothing is predicted."""
TOLD = 3.0
"""Weight of the graphs of predicted places beside that of each other graph."""
PREDICTED = 256
"""Numbers of the sketched walk that are predicted."""
ROUNDS = 2
"""In which they are, each on the graph of the one before."""
FOLDS = 5
COMPARED = 1024
"""Rows at most that others are compared with; the kernel of two is exp(cosine − 1)."""
STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Of the ridge, as shares of the whole variance of the inputs."""


def joined_by_prediction(
    graph: Any,  # noqa: ANN401 — SciPy's sparse arrays have no types
    prepared: list[Rows],
    there: NDArray[np.bool_],
    count: int = NEIGHBOURS,
) -> Any:  # noqa: ANN401 — likewise
    """A graph with edges besides, between rows that are near by what other rows teach of them.

    These count as all other edges together. Predictions by the first modality and by the second are
    learned to agree from rows that have both; where these are fewer than the others, rows are also
    joined by predictions from one and the same modality, the more, the fewer they are.

    Args:
        graph: (rows, rows) symmetric weights, the sum of three graphs of nearest rows.
        prepared: both modalities, (rows, size) of unit length.
        there: (rows, 2) bool; each row has one at least.
        count: nearest rows that each row is joined to.

    Returns:
        (rows, rows); as it was if fewer than 12 rows are complete.
    """
    if there.all(axis=1).sum() < FEWEST:
        return graph
    everyone, share = np.ones(len(there), dtype=bool), complete_for_others(there)
    predict, found = CrossFitted(prepared, there), graph
    for _ in range(ROUNDS):
        first, second, together = predict(sketched_walk(found, PREDICTED))
        found = graph + TOLD * share * affinities(unit(together), everyone, count)
        if share < 1:
            for told, has in zip((first, second), there.T, strict=True):
                found = found + TOLD * (1 - share) * affinities(unit(told), has, count)
    return found


class CrossFitted:
    """What the modalities that rows have say of their places, learned from other rows."""

    def __init__(self, prepared: list[Rows], there: NDArray[np.bool_]) -> None:
        """Finds what does not depend on the places.

        Args:
            prepared: both modalities, (rows, size) of unit length.
            there: (rows, 2) bool; each row has one at least, and 12 have both.
        """
        self.whole = np.asarray(there.all(axis=1))
        self.alone = []
        if not self.whole.all():
            sides = zip(prepared, there.T, strict=True)
            self.alone = [(has, _Regression(part[has])) for part, has in sides]
        self.both = _Regression(_side_by_side(prepared, self.whole))

    def __call__(self, places: Rows) -> tuple[Rows, Rows, Rows]:
        """Predicts where rows lie.

        Args:
            places: (rows, coordinates) where they do.

        Returns:
            (rows, coordinates) each, by first, by second, and by what there is; zero where a row
            does not have it. If all rows have both, that by both alone.
        """
        first, second, together = (np.zeros_like(places) for _ in range(3))
        for told, (has, regression) in zip((first, second), self.alone, strict=False):
            told[has], _ = regression.fit(places[has])
            together[has] = told[has]
        together[self.whole], _ = self.both.fit(places[self.whole])
        return first, second, together

    def for_others(
        self, places: Rows
    ) -> tuple[Rows, Callable[[list[Rows], NDArray[np.bool_]], Rows]]:
        """Predicts where these rows lie, and others.

        Args:
            places: (rows, coordinates) where they do.

        Returns:
            (rows, coordinates) by what there is, and what says it of others by their prepared
            modalities and (others, 2) bool; zero for what no row here has been told by.
        """
        together, alone = np.zeros_like(places), []
        for has, regression in self.alone:
            together[has], line = regression.fit(places[has])
            alone.append(line())
        together[self.whole], line = self.both.fit(places[self.whole])
        both = line()

        def told(prepared: list[Rows], there: NDArray[np.bool_]) -> Rows:
            found = np.zeros((len(there), places.shape[1]), dtype=np.float32)
            for part, has, line in zip(prepared, there.T, alone, strict=False):
                found[has] = line(part[has])
            whole = np.asarray(there.all(axis=1))
            found[whole] = both(_side_by_side(prepared, whole))
            return found

        return together, told


def _side_by_side(prepared: list[Rows], whole: NDArray[np.bool_]) -> Rows:
    """Both modalities of the rows that have both, of unit length."""
    return unit(np.concatenate([part[whole] for part in prepared], axis=1))


class _Regression:
    """A ridge regression of each fold of the rows on the other folds."""

    def __init__(self, values: Rows) -> None:
        self.kernel = _Kernel(values)
        self.inputs = self.kernel(values)
        fold = np.random.default_rng(0).permutation(len(values)) % FOLDS
        products, sums = self.inputs.T @ self.inputs, self.inputs.sum(axis=0)
        self.folds = []
        for left_out in range(FOLDS):
            rows = np.flatnonzero(fold == left_out)
            own, others = self.inputs[rows], len(values) - len(rows)
            middle = (sums - own.sum(axis=0)) / others
            centred = products - own.T @ own - others * np.outer(middle, middle)
            self.folds.append((rows, middle, *eigh(centred, driver="evd")))

    def fit(self, target: Rows) -> tuple[Rows, Callable[[], "_Line"]]:
        """The target, (rows, size), of each row by the others, by the best of all strengths.

        And what makes the mean of the five regressions that say it, for other rows.
        """
        wanted = target.astype(np.float64)
        products, sums = self.inputs.T @ wanted, wanted.sum(axis=0)
        guesses = np.empty((len(STRENGTHS), *target.shape))
        fitted = []
        for rows, middle, variances, axes in self.folds:
            own, others = self.inputs[rows], len(target) - len(rows)
            level = (sums - wanted[rows].sum(axis=0)) / others
            centred = products - own.T @ wanted[rows] - others * np.outer(middle, level)
            inputs, turned = (own - middle) @ axes, axes.T @ centred
            for guess, strength in zip(guesses, STRENGTHS, strict=True):
                guess[rows] = inputs @ _damped(turned, variances, strength) + level
            fitted.append((level, turned))
        errors = [float(np.square(guess - wanted).sum()) for guess in guesses]
        best = int(np.argmin(errors))

        def line() -> _Line:
            slopes = [
                axes @ _damped(turned, variances, STRENGTHS[best])
                for (_, _, variances, axes), (_, turned) in zip(self.folds, fitted, strict=True)
            ]
            levels = [
                level - fold[1] @ slope
                for fold, (level, _), slope in zip(self.folds, fitted, slopes, strict=True)
            ]
            return _Line(self.kernel, np.mean(slopes, axis=0), np.mean(levels, axis=0))

        return np.asarray(guesses[best], dtype=np.float32), line


@dataclass(frozen=True, slots=True)
class _Line:
    """A linear regression on a kernel's numbers."""

    kernel: "_Kernel"
    weights: NDArray[np.float64]
    level: NDArray[np.float64]

    def __call__(self, values: Rows) -> Rows:
        """Its target, (rows, size), of rows."""
        return np.asarray(self.kernel(values) @ self.weights + self.level, dtype=np.float32)


def _damped(
    turned: NDArray[np.float64], variances: NDArray[np.float64], strength: float
) -> NDArray[np.float64]:
    """Weights of a ridge regression on axes, by the products of axes and target."""
    damped = np.maximum(variances, 0.0) + strength * max(variances.sum(), 1e-12)
    weights: NDArray[np.float64] = turned / damped[:, None]
    return weights


class _Kernel:
    """Numbers whose products are the kernel of two rows, as far as the compared ones tell it."""

    def __init__(self, values: Rows) -> None:
        some = np.random.default_rng(0).permutation(len(values))[:COMPARED]
        self.compared = values[some].astype(np.float64)
        strengths, axes = eigh(np.exp(self.compared @ self.compared.T - 1))
        kept = strengths > 1e-6 * strengths[-1]
        self.turn = axes[:, kept] / np.sqrt(strengths[kept])

    def __call__(self, values: Rows) -> NDArray[np.float64]:
        """(rows, size) to (rows, numbers)."""
        near: NDArray[np.float64] = np.exp(values @ self.compared.T - 1)
        mapped: NDArray[np.float64] = near @ self.turn
        return mapped
