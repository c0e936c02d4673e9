"""How far two representations of the same rows agree on who is near to whom."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidnn.evaluation.similarity import similarities

NEIGHBOURS = 10
SAMPLE = 2000
"""Rows that are looked at, spread evenly: all of them are compared with each other."""


def agreement(near: NDArray[np.int64], others: NDArray[np.int64]) -> float:
    """The mean share of each row's neighbours in one that are its neighbours in the other too.

    The mutual k-nearest-neighbour alignment of Huh et al., The Platonic Representation Hypothesis,
    2024. No labels are needed; k / (rows − 1) is chance.

    Args:
        near: (rows, k) numbers of each row's neighbours, by one representation.
        others: (rows, k) likewise, by another.

    Returns:
        In [0, 1].
    """
    both = np.sort(np.concatenate([near, others], axis=1), axis=1)
    return float((both[:, 1:] == both[:, :-1]).sum() / near.size)


def agreement_of_vectors(vectors: ArrayLike, values: ArrayLike) -> float:
    """How far the ten nearest rows by an embedding are the ten nearest in a modality.

    By the cosines of vectors as they are, and of the modality's values less their mean.

    Args:
        vectors: (rows, size) finite.
        values: (rows, columns) finite, of the same rows in the same order.

    Returns:
        In [0, 1]; NaN for twenty rows or fewer, of which most would be neighbours anyway.

    Raises:
        ValueError: if a number is not finite.
    """
    rows, features = np.asarray(vectors), np.asarray(values, dtype=np.float64)
    if len(rows) <= 2 * NEIGHBOURS:
        return float("nan")
    order = np.random.default_rng(len(rows)).permutation(len(rows))
    return agreement(
        neighbours(rows), neighbours_among_equals(features - features.mean(axis=0), order)
    )


def neighbours_among_equals(
    vectors: NDArray[np.floating], order: NDArray[np.int64]
) -> NDArray[np.int64]:
    """As `neighbours`, but among equals the first ones of an order.

    Where many rows are equally near in two representations, both would have the lowest numbers, and
    agree on what neither says.

    Args:
        vectors: (rows, size) finite.
        order: (rows,) their numbers, in any order.
    """
    near = np.empty((len(order), NEIGHBOURS), np.int64)
    near[order] = order[neighbours(vectors[order])]
    return near


def neighbours(vectors: NDArray[np.floating], count: int = NEIGHBOURS) -> NDArray[np.int64]:
    """Numbers of each row's nearest others by cosine, the lowest numbers first among equals.

    Args:
        vectors: (rows, size) finite.
        count: how many, below the number of rows.

    Returns:
        (rows, count).

    Raises:
        ValueError: if a number is not finite.
    """
    blocks = similarities(vectors, vectors, exclude_self=True)
    return np.concatenate([_largest(values, count) for _, values in blocks])


def _largest(values: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """Columns of each row's largest values, in order, the lowest numbers first among equals.

    As a stable sort of whole rows gives them, in a quarter of its time.

    Args:
        values: (rows, columns).
        count: how many, below the number of columns.
    """
    negated = -values
    found = np.sort(np.argpartition(negated, count - 1, axis=1)[:, :count], axis=1)
    chosen = np.take_along_axis(negated, found, axis=1)
    last = chosen.max(axis=1, keepdims=True)
    found = np.take_along_axis(found, np.argsort(chosen, axis=1, kind="stable"), axis=1)
    # Of several that are equal to the last one, a partition takes any.
    tied = np.flatnonzero((negated == last).sum(axis=1) > (chosen == last).sum(axis=1))
    found[tied] = np.argsort(negated[tied], axis=1, kind="stable")[:, :count]
    return found


def sample(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most `SAMPLE` of these rows, spread evenly."""
    return rows[np.linspace(0, len(rows) - 1, min(SAMPLE, len(rows))).astype(np.int64)]
