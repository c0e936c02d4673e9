"""How well vectors tell labels: nearest neighbours, and a linear classifier."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidnn.errors import UserError
from bidnn.evaluation.clustering import MeanDeviation
from bidnn.evaluation.labels import labelled_rows
from bidnn.evaluation.similarity import similarities

PART_ELEMENTS = 2**18


def knn_accuracy(
    vectors: ArrayLike, labels: ArrayLike, k: int = 5, block_rows: int | None = None
) -> float:
    """Share of rows that have the label most frequent among their k nearest other rows by cosine.

    Rows tied for the last places share them equally, and labels tied for most frequent share the
    row: what comes out is no luck of the order. Vectors that are all equal get every row the most
    frequent label among the others, and so score at most that label's share.

    Args:
        vectors: (rows, columns) numbers; a zero vector has similarity 0 with everything.
        labels: (rows,); rows without one (see `labelled`) are left out.
        k: neighbours, at least 1 and less than the number of rows.
        block_rows: see `retrieve`; changes no score.

    Returns:
        In [0, 1].

    Raises:
        ValueError: if numbers of rows differ, k is out of range, or a number is not finite.
    """
    vectors, labels = labelled_rows(vectors, labels)
    codes = _label_codes(vectors, labels)
    if not 1 <= k < len(codes):
        raise UserError(f"k={k}: must be at least 1 and less than the number of rows, {len(codes)}")
    step = max(1, PART_ELEMENTS // len(codes))
    right = 0.0
    for rows, values in similarities(vectors, vectors, exclude_self=True, block_rows=block_rows):
        own = codes[rows]
        for start in range(0, len(values), step):
            part = slice(start, start + step)
            right += _expected_hits(values[part], codes, own[part], k)
    return right / len(codes)


def _expected_hits(
    similarity: NDArray[np.int32], codes: NDArray[np.int64], own: NDArray[np.int64], k: int
) -> float:
    """How many rows of a part are labelled right; votes are whole multiples of 1 / ties."""
    last = np.partition(similarity, -k, axis=1)[:, -k, None]
    nearer, tied = similarity > last, similarity == last
    places = k - nearer.sum(axis=1, keepdims=True)
    ties = tied.sum(axis=1, keepdims=True)
    votes = ties * _label_counts(nearer, codes) + places * _label_counts(tied, codes)
    winners = votes == votes.max(axis=1, keepdims=True)
    return float((winners[np.arange(len(own)), own] / winners.sum(axis=1)).sum())


def _label_counts(chosen: NDArray[np.bool_], codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """(rows, labels): how many of the chosen (rows, documents) have each label."""
    labels = int(codes.max()) + 1
    row, column = np.nonzero(chosen)
    counts = np.bincount(row * labels + codes[column], minlength=len(chosen) * labels)
    return counts.reshape(len(chosen), labels)


def linear_probe_accuracy(
    vectors: ArrayLike,
    labels: ArrayLike,
    seeds: Sequence[int] = (0, 1, 2),
    test_share: float = 0.25,
) -> MeanDeviation:
    """Share of held-out rows that logistic regression on standardised columns labels right.

    Args:
        vectors: (rows, columns) finite numbers.
        labels: (rows,) of at least two kinds, each at least twice; rows without one (see
            `labelled`) are left out.
        seeds: one stratified split into training and test rows each.
        test_share: share of the rows to test on, in (0, 1).

    Returns:
        Mean and deviation over seeds, in [0, 1].

    Raises:
        ValueError: if there are no seeds, numbers of rows differ, labels are too few, the split
            leaves a label without test rows, or a number is not finite.
    """
    # Here, because importing scikit-learn takes long, and only classifiers need it.
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if not seeds:
        raise UserError("seeds: give at least one")
    vectors, labels = labelled_rows(vectors, labels)
    codes = _label_codes(vectors, labels)
    counts = np.bincount(codes)
    if len(counts) < 2 or counts.min() < 2:
        raise UserError(
            f"{len(counts)} different labels, the rarest on {counts.min(initial=len(codes))} rows: "
            "a split needs at least two, each on two rows or more"
        )
    tested = math.ceil(test_share * len(codes))
    if len(counts) > min(tested, len(codes) - tested):
        raise UserError(
            f"{len(counts)} different labels on {len(codes)} rows: a split into "
            f"{len(codes) - tested} to train on and {tested} to test on cannot hold each in both"
        )
    accuracies = []
    for seed in seeds:
        train, test, train_codes, test_codes = train_test_split(
            np.asarray(vectors), codes, test_size=test_share, stratify=codes, random_state=seed
        )
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        accuracies.append(probe.fit(train, train_codes).score(test, test_codes))
    return MeanDeviation(float(np.mean(accuracies)), float(np.std(accuracies)))


def _label_codes(vectors: ArrayLike, labels: ArrayLike) -> NDArray[np.int64]:
    names, rows = np.asarray(labels), len(np.asarray(vectors))
    if names.shape != (rows,):
        raise UserError(f"{rows} vectors, but labels of shape {names.shape}; one each is needed")
    return np.unique(names, return_inverse=True)[1].astype(np.int64)
