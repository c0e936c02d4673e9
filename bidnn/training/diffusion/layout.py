"""A layout of a graph on a sphere: neighbours drawn together, other rows pushed apart.

The walk's eigenvectors keep what is near, but let groups of rows that few edges join run into one
another. Uniform manifold approximation and projection (McInnes, Healy and Melville, UMAP, 2018,
with a = b = 1) draws them apart: a row is attracted by its neighbours, each by its edge's weight,
and repelled by rows drawn at random. Here it is on a sphere, for cosines.
"""

from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from bidnn.training.diffusion.graphs import Rows, unit

RADIUS = 4.0
"""Of the sphere; distances of 1 are where attraction and repulsion turn."""
REPULSION = 5.0
"""Weight of all repulsions beside that of all attractions, as UMAP's five negative samples."""
ROUNDS = 200
REPELLING = 256
"""Rows that repel all others in a round."""
RATE = 0.3
"""Of Adam, falling to 0."""
NEAREST = 1e-3
"""Added to squared distances, so that equal rows are not thrown apart without bound."""
EDGES = 2**18
"""Looked at together: what is found for them stays in the processor's memory."""
TOGETHER = 8192
"""Rows that are pushed together, for the same reason."""


def layout(graph: Any, start: Rows) -> Rows:  # noqa: ANN401 — SciPy's sparse arrays have no types
    """Places rows of a graph on a sphere; the same for the same graph.

    The gradient of attraction is that of all edges, that of repulsion from rows drawn anew in each
    round; the time is linear in the edges and in the rows.

    Args:
        graph: (rows, rows) symmetric weights.
        start: (rows, dimensions), not zero, where rows lie at first; its directions count.

    Returns:
        (rows, dimensions) of unit length.
    """
    edges = sparse.coo_array(sparse.triu(graph, 1))
    ones, others = (torch.from_numpy(ends.astype(np.int64)) for ends in edges.coords)
    total = max(float(edges.data.sum()), 1e-12)
    weights = torch.from_numpy(edges.data / total).float()[:, None]
    degrees = torch.from_numpy(np.asarray(graph.sum(axis=1)) / (2 * total)).float()[:, None]
    places = torch.from_numpy(unit(start)) * RADIUS
    rows = len(places)
    mean, square = torch.zeros_like(places), torch.zeros_like(places)
    generator = torch.Generator().manual_seed(0)
    for done in range(ROUNDS):
        pool = torch.randperm(rows, generator=generator)[:REPELLING]
        gradient = rows * (
            _attraction(places, ones, others, weights)
            + REPULSION * _repulsion(places, pool, degrees)
        )
        mean.lerp_(gradient, 0.1)
        square.mul_(0.99).addcmul_(gradient, gradient, value=0.01)
        step = mean / (1 - 0.9 ** (done + 1))
        step /= (square / (1 - 0.99 ** (done + 1))).sqrt() + 1e-8
        places -= RATE * (1 - done / ROUNDS) * step
        places *= RADIUS / places.norm(dim=1, keepdim=True).clamp_min(1e-9)
    return unit(places.numpy())


def _attraction(places: Tensor, ones: Tensor, others: Tensor, weights: Tensor) -> Tensor:
    """Gradient of the weighted sum of log(1 + d²) over edges."""
    gradient = torch.zeros_like(places)
    for start in range(0, len(ones), EDGES):
        edges = slice(start, start + EDGES)
        one, other = ones[edges], others[edges]
        gaps = places[one] - places[other]
        pull = 2 * weights[edges] * gaps / (1 + (gaps * gaps).sum(dim=1, keepdim=True))
        gradient.index_add_(0, one, pull).index_add_(0, other, -pull)
    return gradient


def _repulsion(places: Tensor, pool: Tensor, degrees: Tensor) -> Tensor:
    """Gradient of the mean of log(1 + d²) − log(d²) over pairs of a row and one of the pool."""
    pushing = places[pool]
    gradient, pushed = torch.empty_like(places), torch.zeros_like(pushing)
    for start in range(0, len(places), TOGETHER):
        here = slice(start, start + TOGETHER)
        squares = 2 * RADIUS**2 - 2 * places[here] @ pushing.T
        squares.clamp_min_(0.0)
        push = 2 * degrees[here] / len(pool) * (1 / (1 + squares) - 1 / (NEAREST + squares))
        own = torch.nonzero((pool >= start) & (pool < start + len(push)))[:, 0]
        push[pool[own] - start, own] = 0.0
        gradient[here] = push.sum(dim=1, keepdim=True) * places[here] - push @ pushing
        pushed += push.sum(dim=0)[:, None] * pushing - push.T @ places[here]
    return gradient.index_add_(0, pool, pushed)
