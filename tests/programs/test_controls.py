"""The controls by neighbours and regression, against second computations."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from bidnn.data.store import PairStore
from bidnn.programs.controls import graph, knn, ridge, spectral
from bidnn.training.diffusion import graphs


@pytest.fixture
def store():
    generator = np.random.default_rng(0)
    hidden = generator.normal(size=(200, 2))
    first = (hidden @ generator.normal(size=(2, 4)) * 5 + 3).astype(np.float32)
    second = (hidden @ generator.normal(size=(2, 6))).astype(np.float32)
    return PairStore(first, second, np.ones((200, 2), dtype=bool))


def prepared(store):
    """Signed square roots, unit rows, less their mean, in float64."""
    parts = []
    for values, there in zip((store.first, store.second), store.present.T, strict=True):
        roots = np.sign(values) * np.sqrt(np.abs(values.astype(np.float64)))
        roots /= np.linalg.norm(roots, axis=1, keepdims=True)
        parts.append((roots - roots[there].mean(axis=0)) * there[:, None])
    return parts


def test_knn_takes_the_mean_of_the_nearest_complete_rows(store):
    masked = store.drop(0.5, 0)
    parts = prepared(masked)
    expected = [part.copy() for part in parts]
    for row in np.flatnonzero(masked.present.sum(axis=1) == 1):
        side = int(masked.present[row].argmin())
        known = parts[1 - side]
        pairs = masked.complete
        # Distances of rows as they are; weights 1 - d²/2, as cosines are of rows of length 1.
        distances = np.linalg.norm(known[pairs] - known[row], axis=1)
        near = np.argsort(distances)[:10]
        weights = np.maximum(1 - distances[near] ** 2 / 2, 1e-6)
        expected[side][row] = np.average(parts[side][pairs[near]], axis=0, weights=weights)
    np.testing.assert_allclose(knn(masked), np.hstack(expected), atol=1e-5)


def test_ridge_predicts_with_the_strength_that_leaving_one_out_favours(store):
    masked = store.drop(0.5, 0)
    parts, pairs = prepared(masked), masked.complete
    found = np.split(ridge(masked), [4], axis=1)
    for side in (0, 1):
        known, wanted = parts[1 - side], parts[side]
        scale = (known[pairs] ** 2).sum() / known.shape[1]
        tried = [Ridge(alpha=scale * share) for share in (0.01, 0.1, 1.0, 10.0)]
        errors = [
            (cross_val_predict(m, known[pairs], wanted[pairs], cv=LeaveOneOut()) - wanted[pairs])
            for m in tried
        ]
        best = tried[int(np.argmin([(error**2).sum() for error in errors]))]
        expected = wanted.copy()
        lost = ~masked.present[:, side]
        expected[lost] = best.fit(known[pairs], wanted[pairs]).predict(known[lost])
        np.testing.assert_allclose(found[side], expected, atol=1e-4)


def joined(store):
    """Both modalities' self-tuned graphs of ten nearest rows, dense."""
    total = np.zeros((len(store), len(store)))
    for part, there in zip(prepared(store), store.present.T, strict=True):
        rows = np.flatnonzero(there)
        units = part[rows] / np.linalg.norm(part[rows], axis=1, keepdims=True)
        distances = np.linalg.norm(units[:, None] - units, axis=2)
        np.fill_diagonal(distances, np.inf)
        reach = np.sort(distances, axis=1)[:, 9]
        weights = np.exp(-(distances**2) / np.outer(reach, reach))
        near = distances <= reach[:, None]
        total[np.ix_(rows, rows)] += weights * (near.astype(float) + near.T) / 2
    return total


def test_graph_is_three_steps_of_means_over_neighbours(store):
    masked = store.drop(0.5, 0)
    weights = joined(masked)
    step = weights / weights.sum(axis=1, keepdims=True)
    expected = np.linalg.matrix_power(step, 3) @ knn(masked)
    np.testing.assert_allclose(graph(masked), expected, atol=1e-4)


@pytest.mark.parametrize("dense", [True, False], ids=["dense", "sparse"])
def test_spectral_has_the_cosines_of_the_leading_eigenvectors(store, monkeypatch, dense):
    masked = store.drop(0.5, 0)
    if not dense:
        monkeypatch.setattr(graphs, "DENSE", 0)
    weights = joined(masked)
    roots = np.sqrt(weights.sum(axis=1))
    vectors = np.linalg.eigh(weights / np.outer(roots, roots))[1][:, -10:]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = spectral(masked)
    assert found.shape == (200, 10)
    np.testing.assert_allclose(found @ found.T, vectors @ vectors.T, atol=5e-3)


@pytest.mark.parametrize("method", [knn, ridge, graph, spectral])
def test_controls_embed_few_rows_none_complete_and_empty_ones(method, store):
    few = PairStore(store.first[:8], store.second[:8], np.eye(2, dtype=bool)[np.arange(8) % 2])
    few.present[7] = False
    found = method(few)
    assert np.isfinite(found).all()
    assert found[:7].any(axis=1).all()
    assert not found[7].any()
