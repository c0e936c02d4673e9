"""What rows with both modalities and rows with one find of each other."""

import numpy as np

from bidnn.search.embeddings import MARKS
from bidnn.search.index import Index, spread


def found_by_kind(index: Index, k: int = 10) -> dict[str, dict[str, float]]:
    """Shares of the kinds of rows among the nearest of each kind, on a sample.

    Args:
        index: of rows of which it is known which modalities they have.
        k: how many nearest are looked at.

    Returns:
        By kind of query (`both`, `first only`, `second only`), the share of each kind among its k
        nearest other rows, and under `pool` among all rows; empty if it is not known which
        modality a row has, or all have the same.
    """
    if not set(MARKS) <= set(index.rows.schema.names):
        return {}
    first, second = (index.rows.column(name).to_numpy().astype(bool) for name in MARKS)
    masks = {
        "both": first & second,
        "first only": first & ~second,
        "second only": second & ~first,
    }
    masks = {name: mask for name, mask in masks.items() if mask.any()}
    if len(masks) < 2:
        return {}
    shares = {"pool": {name: float(mask.mean()) for name, mask in masks.items()}}
    for name, mask in masks.items():
        rows = np.flatnonzero(mask)
        own = rows[spread(len(rows))]
        own = own[index.vectors[own].any(axis=1)]  # others find nothing
        if not len(own):
            continue
        found = index.like(index.ids[own], k).places
        there = found[found >= 0]
        shares[name] = {other: float(masks[other][there].mean()) for other in masks}
    return shares
