"""The nearest of all rows, exactly: products with each block of rows, and the best of them."""

import numpy as np
import torch
from numpy.typing import NDArray

BLOCK_VALUES = 2**24
QUERIES = 1024


def nearest(
    queries: NDArray[np.float32],
    rows: NDArray[np.float32],
    k: int,
    allowed: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Finds the rows with the largest products.

    Args:
        queries: (queries, size) of unit length.
        rows: (rows, size) likewise, perhaps mapped.
        k: how many for each, at most as many as there are rows.
        allowed: (rows,) which of them may be found; None: all.

    Returns:
        (queries, k) products, the largest first, and the numbers of their rows; of equal ones the
        first row comes first. −1, and a product of −1, where there are fewer.
    """
    similarities = np.empty((len(queries), k), np.float32)
    places = np.empty((len(queries), k), np.int64)
    step = max(k, 1, BLOCK_VALUES // max(1, rows.shape[1]))
    for start in range(0, len(queries), QUERIES):
        part = torch.from_numpy(np.ascontiguousarray(queries[start : start + QUERIES]))
        best = torch.empty(len(part), 0)
        where = torch.empty(len(part), 0, dtype=torch.int64)
        for first in range(0, len(rows), step):
            block = torch.from_numpy(np.array(rows[first : first + step], np.float32))
            products = part @ block.T
            if allowed is not None:
                products[:, ~torch.from_numpy(allowed[first : first + step])] = -torch.inf
            values, numbers = products.topk(min(k, len(block)), dim=1)
            best = torch.cat([best, values], dim=1)
            where = torch.cat([where, numbers + first], dim=1)
            best, where = _best(best, where, k)
        similarities[start : start + QUERIES] = best.numpy()
        places[start : start + QUERIES] = where.numpy()
    none = np.isneginf(similarities)
    similarities[none], places[none] = -1.0, -1
    return similarities, places


def nearest_among(
    queries: NDArray[np.float32],
    rows: NDArray[np.float32],
    candidates: NDArray[np.int64],
    k: int,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """As `nearest`, among some rows for each query.

    Args:
        queries: as there.
        rows: as there.
        candidates: (queries, at least k) numbers of rows, no two alike; −1 is none.
        k: as there.

    Returns:
        As there; −1, and a similarity of −1, where there are fewer than k.
    """
    similarities = np.empty((len(queries), k), np.float32)
    places = np.empty((len(queries), k), np.int64)
    for number, (query, own) in enumerate(zip(queries, candidates, strict=True)):
        known = np.sort(own[own >= 0])  # in the order of the file
        values = np.asarray(rows[known], np.float32) @ query
        order = np.lexsort((known, -values))[:k]
        missing = k - len(order)
        similarities[number] = np.pad(values[order], (0, missing), constant_values=-1.0)
        places[number] = np.pad(known[order], (0, missing), constant_values=-1)
    return similarities, places


def _best(values: torch.Tensor, places: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    by_place = places.argsort(dim=1)
    values, places = values.gather(1, by_place), places.gather(1, by_place)
    order = values.argsort(dim=1, descending=True, stable=True)[:, :k]
    return values.gather(1, order), places.gather(1, order)
