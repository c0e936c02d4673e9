"""Whether a search over complete and incomplete rows favours or buries one kind."""

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidnn.errors import UserError

SAMPLE = 2000


@dataclass(frozen=True, slots=True)
class Spread:
    """Cosines between rows of two kinds.

    Attributes:
        mean: in [−1, 1].
        deviation: at least 0.
        low: the twentieth part is below it.
        high: the twentieth part is above it.
    """

    mean: float
    deviation: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparability:
    """How similarities are distributed between complete and incomplete rows.

    Attributes:
        spreads: by pair of kinds, such as `complete–incomplete`.
        favour: by kind of query: how often incomplete rows are among its ten nearest, as a
            multiple of how often they would be by chance. 1 is fair, below 1 they are buried.
    """

    spreads: dict[str, Spread]
    favour: dict[str, float]


def comparability(vectors: ArrayLike, present: ArrayLike, seed: int = 0) -> Comparability:
    """Compares up to 2000 rows of each kind with each other.

    Args:
        vectors: (rows, size) finite; rows without any modality are left out.
        present: (rows, 2) bool.
        seed: of the sample.

    Raises:
        ValueError: if there are fewer than 20 rows of a kind.
    """
    rows, there = np.asarray(vectors, dtype=np.float32), np.asarray(present, dtype=bool)
    kinds = {"complete": there.all(axis=1), "incomplete": there.sum(axis=1) == 1}
    generator = np.random.default_rng(seed)
    units: dict[str, NDArray[np.float32]] = {}
    for name, mask in kinds.items():
        chosen = np.flatnonzero(mask)
        if len(chosen) < 20:
            raise UserError(f"{len(chosen)} {name} rows are too few to say how they compare")
        sample = rows[generator.permutation(chosen)[:SAMPLE]]
        units[name] = sample / np.maximum(np.linalg.norm(sample, axis=1, keepdims=True), 1e-12)
    spreads = {
        f"{one}–{other}": _spread(units[one], units[other], same=one == other)
        for one, other in combinations_with_replacement(units, 2)
    }
    return Comparability(spreads, {name: _favour(units, name) for name in units})


def _spread(one: NDArray[np.float32], other: NDArray[np.float32], *, same: bool) -> Spread:
    cosines = one @ other.T
    values = cosines[np.triu_indices(len(one), 1)] if same else cosines.ravel()
    low, high = np.quantile(values, (0.05, 0.95))
    return Spread(float(values.mean()), float(values.std()), float(low), float(high))


def _favour(units: dict[str, NDArray[np.float32]], queries: str) -> float:
    """Ten nearest among equally many rows of both kinds, the query itself left out."""
    count = min(len(part) for part in units.values())
    corpus = np.concatenate([units["complete"][:count], units["incomplete"][:count]])
    start = 0 if queries == "complete" else count
    cosines = corpus[start : start + count] @ corpus.T
    cosines[np.arange(count), start + np.arange(count)] = -np.inf
    nearest = np.argpartition(-cosines, 10, axis=1)[:, :10]
    incomplete = count if queries == "complete" else count - 1
    return float((nearest >= count).mean() / (incomplete / (2 * count - 1)))
