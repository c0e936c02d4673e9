"""Rows of a few kinds, which the tests of the graph look for."""

import numpy as np

from bidnn.data.store import PairStore


def clustered(rows=90, kinds=3, seed=0, missing=0.5, deviation=1.0):
    """Rows of both modalities about one centre a kind, half of the rows without one modality."""
    generator = np.random.default_rng(seed)
    kind = np.arange(rows) % kinds
    parts = []
    for size in (8, 12):
        middle = generator.normal(size=(kinds, size)) * 3
        noise = generator.normal(size=(rows, size)) * deviation
        parts.append((middle[kind] + noise).astype(np.float32))
    present = np.ones((rows, 2), dtype=bool)
    losing = generator.permutation(rows)[: round(missing * rows)]
    present[losing, generator.integers(0, 2, len(losing))] = False
    return PairStore(*parts, present), kind
