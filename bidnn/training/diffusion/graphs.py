"""Graphs of nearest rows, and walks on them."""

from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import eigh
from scipy.sparse.linalg import eigsh

from bidnn.evaluation.agreement import NEIGHBOURS

Rows: TypeAlias = NDArray[np.float32]

STEPS = 4
"""Of the random walk: eigenvalues are taken to this power."""
DENSE = 1000
"""Rows up to which all eigenvectors are found, which is faster then."""
BLOCK = 512
"""Rows whose neighbours are looked for at once."""


def affinities(values: Rows, has: NDArray[np.bool_], count: int = NEIGHBOURS) -> sparse.csr_array:
    """The symmetric graph of nearest rows in one modality.

    Self-tuned: squared distances over the product of both rows' distances to the last of their
    neighbours (Zelnik-Manor and Perona, NIPS 2004). An edge that only one of two rows counts among
    its nearest has half the weight, so that rows that are near to many draw less to themselves.

    Args:
        values: (rows, size) of unit length.
        has: (rows,) bool, those that say anything in it.
        count: nearest rows of each, at least 1.

    Returns:
        (rows, rows).
    """
    rows = np.flatnonzero(has)
    count = min(count, len(rows) - 1)
    if count < 1:
        return sparse.csr_array((len(values), len(values)), dtype=np.float64)
    distances, near = nearest(values[rows], None, count)
    reach = np.maximum(distances[:, -1], 1e-6)
    weights = np.exp(-(distances**2) / (reach[:, None] * reach[near]))
    places = np.repeat(rows, count), rows[near].ravel()
    graph = sparse.csr_array((weights.ravel(), places), shape=(len(values), len(values)))
    return (graph + graph.T) / 2


def walk(graph: Any, size: int) -> Rows:  # noqa: ANN401 — SciPy's sparse arrays have no types
    """Rows of the leading eigenvectors, after STEPS steps of the walk."""
    values, vectors = leading(graph, size)
    padded = np.zeros((len(vectors), size), dtype=np.float32)
    padded[:, : len(values)] = vectors * np.clip(values, 0.0, None) ** STEPS
    return unit(padded) * np.float32(np.sqrt(size))


def sketched_walk(graph: Any, size: int) -> Rows:  # noqa: ANN401 — SciPy's sparse arrays have no types
    """Rows whose cosines are nearly those of the walk after STEPS steps, without its eigenvectors.

    Random sums of the walk's columns (Johnson and Lindenstrauss, 1984); the same for the same
    graph, a hundred times as fast as the eigenvectors of 8192 rows.

    Args:
        graph: (rows, rows) symmetric weights.
        size: numbers of a row; cosines are off by 1 / √size.
    """
    walk = _symmetric_walk(graph)
    sums = np.random.default_rng(0).normal(size=(graph.shape[0], size))
    for _ in range(STEPS):
        sums = walk @ sums
    return unit(sums.astype(np.float32)) * np.float32(np.sqrt(size))


def leading(
    graph: Any,  # noqa: ANN401 — likewise
    size: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The greatest eigenvalues of a random walk on a graph, made symmetric, and their vectors.

    Args:
        graph: (rows, rows) symmetric weights.
        size: how many.

    Returns:
        (count,) descending and (rows, count); count is the size, or the rows if they are fewer.
    """
    rows, walk = graph.shape[0], _symmetric_walk(graph)
    count = min(size, rows)
    if rows <= max(DENSE, count + 1):
        values, vectors = eigh(walk.toarray(), subset_by_index=(rows - count, rows - 1))
    else:
        values, vectors = eigsh(walk, k=count, which="LA", v0=np.ones(rows))
    order = np.argsort(-values)
    return values[order], vectors[:, order]


def _symmetric_walk(graph: Any) -> Any:  # noqa: ANN401 — likewise
    """A random walk's transitions, each over the root of the ratio of both rows' degrees."""
    # A little of itself for each row, so that one without neighbours has a place too.
    graph = graph + 1e-6 * sparse.eye_array(graph.shape[0])
    roots = sparse.diags_array(graph.sum(axis=1) ** -0.5)
    return roots @ graph @ roots


def nearest(
    values: Rows, queries: Rows | None, count: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distances and numbers of the nearest rows, nearest first.

    Found by products in float32, as precise as the rows are; distances are then of the differences
    themselves, so that equal rows are at distance 0.

    Args:
        values: (rows, size) to search.
        queries: (queries, size); None for the rows themselves, none of which finds itself.
        count: how many, below the number of rows.

    Returns:
        (queries, count) each.
    """
    asking = values if queries is None else queries
    distances = np.empty((len(asking), count))
    near = np.empty((len(asking), count), dtype=np.int64)
    halves = np.einsum("rd,rd->r", values, values) / 2
    room = np.empty((min(BLOCK, len(asking)), len(values)), dtype=np.float32)
    for start in range(0, len(asking), BLOCK):
        block = asking[start : start + BLOCK]
        # |q − v|² = |q|² + 2 (|v|² / 2 − q v), and |q|² is the same for all rows.
        with np.errstate(invalid="ignore"):  # OpenBLAS says so of what lies beside a matrix
            closeness = np.matmul(block, values.T, out=room[: len(block)])
        closeness -= halves
        rows = slice(start, start + len(block))
        if queries is None:
            np.fill_diagonal(closeness[:, rows], -np.inf)
        found = torch.topk(torch.from_numpy(closeness), count, dim=1).indices.numpy()
        gaps = block[:, None] - values[found]
        gaps = np.sqrt(np.einsum("rkd,rkd->rk", gaps, gaps))
        order = np.argsort(gaps, axis=1, kind="stable")
        distances[rows] = np.take_along_axis(gaps, order, axis=1)
        near[rows] = np.take_along_axis(found, order, axis=1)
    return distances, near


def unit(values: Rows) -> Rows:
    """Rows of length 1; those of zeros stay."""
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.maximum(lengths, 1e-12), dtype=np.float32)
