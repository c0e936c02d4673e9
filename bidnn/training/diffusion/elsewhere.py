"""Where rows outside a graph lie: where those of it do that other rows say the same of."""

import numpy as np
from numpy.typing import NDArray

from bidnn.training.diffusion.crossfitted import FEWEST, CrossFitted
from bidnn.training.diffusion.graphs import Rows, nearest, unit


class Elsewhere:
    """Places rows by the graph's nearest ones: by what regressions say of both.

    Of few complete rows they say nothing; then by each modality.
    """

    def __init__(
        self, prepared: list[Rows], there: NDArray[np.bool_], places: Rows, count: int
    ) -> None:
        """Learns where the graph's rows lie.

        Args:
            prepared: both modalities of these, (rows, size) of unit length.
            there: (rows, 2) bool; each row has one at least.
            places: (rows, coordinates) where they lie.
            count: nearest rows whose mean another row has.
        """
        self.prepared, self.there = prepared, there
        self.places, self.count = places, count
        self.told = None
        if there.all(axis=1).sum() >= FEWEST:
            said, self.told = CrossFitted(prepared, there).for_others(places)
            self.said = unit(said)

    def __call__(self, prepared: list[Rows], there: NDArray[np.bool_]) -> Rows:
        """Places other rows.

        Args:
            prepared: both modalities, (rows, size) of unit length.
            there: (rows, 2) bool.

        Returns:
            (rows, coordinates): mean square 1 in a row; zero for a row that has nothing.
        """
        found = np.zeros((len(there), self.places.shape[1]), dtype=np.float32)
        known = np.zeros(len(there), dtype=bool)
        if self.told is not None:
            told = unit(self.told(prepared, there))
            known = np.asarray(told.any(axis=1))
            found[known] = self._mean_of_nearest(self.said, self.places, told[known])
        sides = zip(self.prepared, self.there.T, prepared, there.T, strict=True)
        for values, pool, queries, has in sides:
            rows = has & ~known
            if pool.any() and rows.any():
                near = self._mean_of_nearest(values[pool], self.places[pool], queries[rows])
                found[rows] += near
        return unit(found) * np.float32(np.sqrt(found.shape[1]))

    def _mean_of_nearest(self, values: Rows, places: Rows, queries: Rows) -> Rows:
        """Mean of the places of the rows that are nearest, the nearer the more."""
        distances, near = nearest(values, queries, min(self.count, len(values)))
        reach = np.maximum(distances[:, -1:], 1e-6)
        weights = np.exp(-((distances / reach) ** 2))
        weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
        mean: Rows = np.einsum("rk,rkd->rd", weights, places[near])
        return mean
