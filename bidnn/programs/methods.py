"""The methods that are compared: from rows that may miss a modality to one vector each."""

import numpy as np
from numpy.typing import NDArray
from sklearn.cross_decomposition import CCA

from bidnn.data.store import PairStore
from bidnn.model.scaling import ModalityScaler, ScalingKind, Transform, fit_scaling
from bidnn.programs.controls import graph, knn, ridge, spectral


def zeros(store: PairStore) -> NDArray[np.float32]:
    """Standardised modalities side by side, zeros for what is missing."""
    return np.concatenate(_standardised(store), axis=1)


def first(store: PairStore) -> NDArray[np.float32]:
    """The first modality alone, standardised."""
    return _standardised(store)[0]


def second(store: PairStore) -> NDArray[np.float32]:
    """The second modality alone, standardised."""
    return _standardised(store)[1]


def scores(store: PairStore) -> NDArray[np.float32]:
    """Linear combination of the two similarity scores: both modalities to unit length first.

    The cosine of two such rows is the mean of their cosines in both modalities.
    """
    units = [
        part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12)
        for part in _standardised(store)
    ]
    return np.concatenate(units, axis=1)


def cca(store: PairStore) -> NDArray[np.float32]:
    """Canonical variates, fitted on complete rows; what is missing is predicted as its variate.

    On the directions that it finds most correlated, one variate is its partner times the
    correlation, so the other one stands for a missing one. scikit-learn's CCA.
    """
    left, right = _standardised(store)
    pairs = store.complete
    size = min(10, store.mod1size, store.mod2size, len(pairs) - 1)
    model = CCA(n_components=size, max_iter=2000).fit(left[pairs], right[pairs])
    variates = [part / part[pairs].std(axis=0) for part in model.transform(left, right)]
    for one, other in ((0, 1), (1, 0)):
        only = store.present[:, one] & ~store.present[:, other]
        variates[other][only] = variates[one][only]
    vectors = np.concatenate(variates, axis=1)
    vectors[~store.present.any(axis=1)] = 0.0
    return np.asarray(vectors, dtype=np.float32)


UNTRAINED = {
    method.__name__: method
    for method in (zeros, first, second, scores, cca, knn, ridge, graph, spectral)
}


def _standardised(store: PairStore) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Both modalities with mean 0 and deviation 1 over the rows that have them, else 0."""
    scalers = tuple(
        ModalityScaler(size, ScalingKind.standard, Transform.none)
        for size in (store.mod1size, store.mod2size)
    )
    fit_scaling((scalers[0], scalers[1]), store, np.arange(len(store)))
    parts = store.take(slice(None))
    shift = [scaler.shift.numpy() for scaler in scalers]
    scale = [scaler.scale.numpy() for scaler in scalers]
    left, right = (
        np.where(store.present[:, [side]], (parts[side] - shift[side]) * scale[side], 0.0)
        for side in (0, 1)
    )
    return left.astype(np.float32), right.astype(np.float32)
