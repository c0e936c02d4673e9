"""How a modality is prepared for its neighbours, chosen without labels.

Chosen by how often the neighbours in one modality are neighbours in the other (Huh et al., The
Platonic Representation Hypothesis, 2024).
"""

import logging
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from bidnn.evaluation.agreement import NEIGHBOURS, agreement
from bidnn.training.diffusion.graphs import Rows, nearest, unit

log = logging.getLogger(__name__)

CHOOSING = 2000
"""Complete rows at most that the preparation is chosen by."""
FEWEST = 12
"""Complete rows below which nothing is chosen."""
PER_NEIGHBOUR = 6
"""Complete rows for each neighbour that is looked at, where they are at most twenty."""
EVENED = 2048
"""Columns beyond which strong components are left as they are, for the time that it takes."""
TRANSFORMS = ("none", "standard", "unit", "sqrt", "log_ratio")
EXPONENTS = (0.0, 0.25, 0.5, 0.75)


@dataclass(frozen=True, slots=True)
class View:
    """How a modality is prepared for its neighbours; rows have unit length in the end.

    Attributes:
        transform: of single values.
        scale: of columns, before they are centred.
        offset: added before a logarithm.
        centre: taken off the transformed values.
        evening: (size, size), damps strong components; None for none.
        exponent: the deviation s of a component becomes s^(1 − exponent).
    """

    transform: str
    scale: Rows
    offset: float
    centre: Rows
    evening: Rows | None = None
    exponent: float = 0.0

    @classmethod
    def of(cls, values: Rows, transform: str) -> "View":
        """Fits it to the rows of a modality, (rows, size)."""
        size = values.shape[1]
        deviation = values.std(axis=0, dtype=np.float64)
        live = deviation > 1e-6 * np.abs(values).max()
        scale = np.ones(size)
        if transform == "standard":
            scale = np.where(live, 1.0 / np.where(live, deviation, 1.0), 0.0)
        offset = 0.1 * float(values.mean(dtype=np.float64))
        neutral = cls(transform, scale.astype(np.float32), offset, np.zeros(size, np.float32))
        centre = neutral.transformed(values).mean(axis=0, dtype=np.float64)
        return replace(neutral, centre=centre.astype(np.float32))

    def evened(self, values: Rows, exponent: float) -> "View":
        """The same, that damps the principal components of these rows."""
        if not exponent:
            return replace(self, evening=None, exponent=0.0)
        centred = (self.transformed(values) - self.centre).astype(np.float64)
        variances, axes = eigh(centred.T @ centred / len(centred))
        kept = variances > 1e-6 * variances[-1]
        factors = np.where(kept, np.where(kept, variances, 1.0) ** (-exponent / 2), 0.0)
        evening = ((axes * factors) @ axes.T).astype(np.float32)
        return replace(self, evening=evening, exponent=exponent)

    def transformed(self, values: Rows) -> Rows:
        """The transform alone."""
        if self.transform == "unit":
            return unit(values)
        if self.transform == "sqrt":
            return unit(np.sign(values) * np.sqrt(np.abs(values)))
        if self.transform == "log_ratio":
            logs = np.log(np.maximum(values, 0.0) + self.offset)
            return np.asarray(logs - logs.mean(axis=1, keepdims=True), dtype=np.float32)
        return values * self.scale

    def prepare(self, values: Rows) -> Rows:
        """Rows of unit length, or zero, whose cosines tell how near they are."""
        values = self.transformed(values) - self.centre
        return unit(values if self.evening is None else values @ self.evening)


def choose_views(parts: list[Rows], there: NDArray[np.bool_]) -> tuple[View, View]:
    """The preparations under which the modalities agree most on who is near to whom.

    Transforms are tried together, then exponents, on complete rows.

    Args:
        parts: both modalities, (rows, size) each.
        there: (rows, 2) bool, which of them says anything.
    """
    both = np.flatnonzero(there.all(axis=1))
    both = both[:: -(-len(both) // CHOOSING)] if len(both) else both
    own = [part[has] for part, has in zip(parts, there.T, strict=True)]
    plain = [View.of(values, "none") for values in own]
    if len(both) < FEWEST:
        return plain[0], plain[1]
    tried = [[View.of(v, name) for name in TRANSFORMS if _suits(name, v)] for v in own]
    best = _best(tried, parts, both)
    evened = [
        [view.evened(v, e) for e in (EXPONENTS if v.shape[1] <= EVENED else EXPONENTS[:1])]
        for view, v in zip(best, own, strict=True)
    ]
    first, second = _best(evened, parts, both)
    log.info(
        "neighbours: first by %s, evened %g; second by %s, evened %g",
        *(first.transform, first.exponent, second.transform, second.exponent),
    )
    return first, second


def _best(tried: list[list[View]], parts: list[Rows], both: NDArray[np.int64]) -> list[View]:
    """The pair of views that agree most; the first of several."""
    prepared = [
        [view.prepare(part[both]) for view in views]
        for views, part in zip(tried, parts, strict=True)
    ]
    few = len(both) <= 2 * NEIGHBOURS
    count = len(both) // PER_NEIGHBOUR if few else NEIGHBOURS
    near = [[nearest(rows, None, count)[1] for rows in side] for side in prepared]
    pairs = list(product(range(len(tried[0])), range(len(tried[1]))))
    scores = [agreement(near[0][one], near[1][other]) for one, other in pairs]
    chosen = pairs[int(np.argmax(scores))]
    return [tried[side][chosen[side]] for side in (0, 1)]


def _suits(transform: str, values: Rows) -> bool:
    """Log-ratios are for parts of a whole: not negative, with one and the same sum in each row."""
    if transform != "log_ratio":
        return True
    sums = values.sum(axis=1, dtype=np.float64)
    return bool(values.min() >= 0.0 < sums.mean() and sums.std() <= 1e-3 * sums.mean())
