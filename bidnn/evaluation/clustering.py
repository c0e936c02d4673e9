"""How well clusters of vectors agree with labels: accuracy, NMI, ARI, and k-means to get them.

scikit-learn is imported where it is called: that takes long, and most who evaluate never cluster.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from bidnn.errors import UserError
from bidnn.evaluation.labels import labelled_rows

MINI_BATCH_ABOVE = 100_000


class MeanDeviation(NamedTuple):
    """Mean and population standard deviation over seeds."""

    mean: float
    deviation: float


@dataclass(frozen=True, slots=True)
class ClusterScores:
    """Agreement of clusters with labels.

    Attributes:
        accuracy: see `cluster_accuracy`.
        nmi: see `cluster_nmi`.
        ari: see `cluster_ari`.
    """

    accuracy: MeanDeviation
    nmi: MeanDeviation
    ari: MeanDeviation


def cluster_accuracy(labels: ArrayLike, clusters: ArrayLike) -> float:
    """Share of rows whose cluster stands for their label, with clusters matched to labels at best.

    Args:
        labels: (rows,).
        clusters: (rows,); where there are more clusters than labels, some stand for none.

    Returns:
        In (0, 1], by the assignment of Kuhn and Munkres.

    Raises:
        ValueError: if there are no rows, or their numbers differ.
    """
    from sklearn.metrics.cluster import contingency_matrix

    counts = contingency_matrix(*_same_rows(labels, clusters))
    matched = linear_sum_assignment(counts, maximize=True)
    return float(counts[matched].sum() / counts.sum())


def cluster_nmi(labels: ArrayLike, clusters: ArrayLike) -> float:
    """Mutual information divided by the mean of the two entropies, in [0, 1].

    Raises:
        ValueError: if there are no rows, or their numbers differ.
    """
    from sklearn.metrics import normalized_mutual_info_score

    return float(
        normalized_mutual_info_score(*_same_rows(labels, clusters), average_method="arithmetic")
    )


def cluster_ari(labels: ArrayLike, clusters: ArrayLike) -> float:
    """Rand index adjusted for chance, in [-0.5, 1]; 0 is what chance scores.

    Raises:
        ValueError: if there are no rows, or their numbers differ.
    """
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(*_same_rows(labels, clusters)))


def kmeans_scores(
    vectors: ArrayLike,
    labels: ArrayLike,
    clusters: int | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    n_init: int = 10,
) -> ClusterScores:
    """Clusters vectors with k-means once for each seed, and compares the clusters with labels.

    Above 100 000 rows it is scikit-learn's mini-batch k-means, which is less exact but does not go
    through all rows in every iteration.

    Args:
        vectors: (rows, columns) finite numbers, compared by Euclidean distance as they are.
        labels: (rows,); rows without one (see `labelled`) are left out.
        clusters: how many to make; None for the number of different labels.
        seeds: one clustering each.
        n_init: starts of a clustering, of which the tightest counts.

    Raises:
        ValueError: if there are no seeds, numbers of rows differ, there are fewer rows than
            clusters, or a number is not finite.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans

    if not seeds:
        raise UserError("seeds: give at least one")
    rows, names = labelled_rows(vectors, labels)
    if len(rows) != len(names):
        raise UserError(f"{len(rows)} vectors, but {len(names)} labels")
    count = len(np.unique(names)) if clusters is None else clusters
    if not 1 <= count <= len(rows):
        raise UserError(f"{count} clusters of {len(rows)} rows: at least 1, and at most the rows")
    kind = MiniBatchKMeans if len(rows) > MINI_BATCH_ABOVE else KMeans
    found = [
        kind(n_clusters=count, n_init=n_init, random_state=seed).fit_predict(rows) for seed in seeds
    ]

    def over_seeds(measure: Callable[[ArrayLike, ArrayLike], float]) -> MeanDeviation:
        values = [measure(names, one) for one in found]
        return MeanDeviation(float(np.mean(values)), float(np.std(values)))

    return ClusterScores(*map(over_seeds, (cluster_accuracy, cluster_nmi, cluster_ari)))


def _same_rows(labels: ArrayLike, clusters: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    left, right = np.asarray(labels), np.asarray(clusters)
    if left.ndim != 1 or left.shape != right.shape or not len(left):
        raise UserError(
            f"labels of shape {left.shape} and clusters of shape {right.shape}: "
            "both need one for each row, and at least one row"
        )
    return left, right
