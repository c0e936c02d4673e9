"""Controls by neighbours and by regression: what a training must be ahead of to be worth it.

They are made of scikit-learn's parts, see no labels, and have no setting that is chosen by hand.
Unlike a trained model they embed the rows that they are given, and no new ones.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bidnn.data.store import PairStore
from bidnn.evaluation.agreement import NEIGHBOURS
from bidnn.training.diffusion.completion import RIDGES, mean_of_nearest
from bidnn.training.diffusion.graphs import Rows, affinities, leading, unit
from bidnn.training.diffusion.views import View

SMOOTHINGS = 3
EIGENVECTORS = 10
"""The usual number is that of the classes, which a control must not know."""


def knn(store: PairStore) -> Rows:
    """Both modalities side by side; a missing one is the mean of that of the nearest rows.

    Nearest are the ten complete rows whose other modality has the greatest cosines, which weight
    the mean. A modality is prepared as `_prepared` says. With ten complete rows or fewer, what is
    missing stays zero, the mean of all.
    """
    return _completed(store, mean_of_nearest)


def ridge(store: PairStore) -> Rows:
    """Both modalities side by side; a missing one is predicted by ridge regression.

    The regression is fitted on complete rows, its strength chosen by their leave-one-out errors
    (scikit-learn's RidgeCV). Otherwise as `knn`.
    """
    from sklearn.linear_model import RidgeCV

    def predict(source: Rows, target: Rows, queries: Rows) -> Rows:
        scale = float((source.astype(np.float64) ** 2).sum()) / min(source.shape)
        model = RidgeCV(alphas=[scale * share for share in RIDGES])
        return np.asarray(model.fit(source, target).predict(queries), dtype=np.float32)

    return _completed(store, predict)


def graph(store: PairStore) -> Rows:
    """Rows completed as by `knn`, each then three times the weighted mean of its neighbours.

    Weights are the sums of both modalities' self-tuned graphs of ten nearest rows (Zelnik-Manor
    and Perona, NIPS 2004). A row without neighbours stays as it is.
    """
    vectors, joined = knn(store), _joined(store)
    degrees = joined.sum(axis=1)
    alone = sparse.diags_array((degrees == 0).astype(np.float64))
    step = sparse.diags_array(1.0 / np.where(degrees == 0, 1.0, degrees)) @ joined + alone
    for _ in range(SMOOTHINGS):
        vectors = step @ vectors
    return np.asarray(vectors, dtype=np.float32)


def spectral(store: PairStore) -> Rows:
    """The spectral embedding of the graph of `graph`, in which nothing is completed.

    The ten leading eigenvectors of D^-½ W D^-½, rows to unit length (Ng, Jordan and Weiss, NIPS
    2001); W is the sum of both modalities' graphs and D has its row sums.
    """
    vectors = np.zeros((len(store), EIGENVECTORS), dtype=np.float32)
    rows = np.flatnonzero(store.present.any(axis=1))
    _, found = leading(_joined(store)[rows][:, rows], EIGENVECTORS)
    vectors[rows, : found.shape[1]] = unit(found.astype(np.float32))
    return vectors


def _prepared(store: PairStore) -> tuple[Rows, Rows]:
    """Signed square roots to unit length, less their mean; zero where a modality is missing."""
    first, second = (
        _centred(part, has)
        for part, has in zip(store.take(slice(None)), store.present.T, strict=True)
    )
    return first, second


def _centred(values: Rows, has: NDArray[np.bool_]) -> Rows:
    if not has.any():
        return values
    view = View.of(values[has], "sqrt")
    return np.where(has[:, None], view.transformed(values) - view.centre, np.float32(0.0))


def _completed(store: PairStore, predict: Callable[[Rows, Rows, Rows], Rows]) -> Rows:
    """Both modalities side by side, what is missing predicted from pairs of the other and it."""
    first, second = _prepared(store)
    halves, pairs = [first.copy(), second.copy()], store.complete
    for side, source, target in ((1, first, second), (0, second, first)):
        lost = np.flatnonzero(store.present[:, 1 - side] & ~store.present[:, side])
        if len(lost) and len(pairs) > NEIGHBOURS:
            halves[side][lost] = predict(source[pairs], target[pairs], source[lost])
    return np.concatenate(halves, axis=1)


def _joined(store: PairStore) -> sparse.csr_array:
    """The sum of both modalities' graphs."""
    graphs = [
        affinities(unit(part), has)
        for part, has in zip(_prepared(store), store.present.T, strict=True)
    ]
    return sparse.csr_array(graphs[0] + graphs[1])
