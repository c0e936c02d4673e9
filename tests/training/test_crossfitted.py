"""Edges by cross-fitted predictions: against scikit-learn, and what they are for."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from bidnn.training.diffusion import crossfitted as module
from bidnn.training.diffusion.crossfitted import FOLDS, STRENGTHS, CrossFitted, joined_by_prediction
from bidnn.training.diffusion.graphs import affinities, sketched_walk, unit, walk
from tests.training.kinds import clustered


def pairs(missing, rows=150, deviation=4.0, seed=0):
    """Noisy rows of three kinds of unit length, what of them is there, and their kinds."""
    store, kind = clustered(rows, missing=missing, deviation=deviation, seed=seed)
    prepared = [unit(part - part.mean(axis=0)) for part in store.take(slice(None))]
    return prepared, store.present, kind


def all_edges(prepared, there):
    return affinities(prepared[0], there[:, 0]) + affinities(prepared[1], there[:, 1])


def by_folds(rows, target, new=None):
    """The same regression by scikit-learn, on a root of the kernel's matrix; of rows or of new."""
    values, axes = np.linalg.eigh(np.exp(rows.astype(np.float64) @ rows.T - 1))
    turn = axes / np.sqrt(np.maximum(values, 1e-9 * values[-1]))
    asked = rows if new is None else np.concatenate([rows, new])
    inputs = np.exp(asked.astype(np.float64) @ rows.T - 1) @ turn
    fold = np.random.default_rng(0).permutation(len(rows)) % FOLDS
    best = np.inf, np.empty(0), np.empty(0)
    for strength in STRENGTHS:
        guess, others = np.empty(target.shape), []
        for out in range(FOLDS):
            fitted = inputs[: len(rows)][fold != out]
            alpha = strength * fitted.var(axis=0).sum() * len(fitted)
            ridge = Ridge(alpha=alpha).fit(fitted, target[fold != out])
            told = ridge.predict(inputs)
            guess[fold == out] = told[: len(rows)][fold == out]
            others.append(told[len(rows) :])
        error = float(np.square(guess - target).sum())
        if error < best[0]:
            best = error, guess, np.mean(others, axis=0)
    return best[1] if new is None else best[2]


def test_rows_are_predicted_by_a_kernel_ridge_regression_on_other_folds():
    prepared, there, _ = pairs(missing=0.4)
    places = walk(all_edges(prepared, there), 8)
    first, second, together = CrossFitted(prepared, there)(places)
    whole = there.all(axis=1)
    for told, part, has in zip((first, second), prepared, there.T, strict=True):
        np.testing.assert_allclose(told[has], by_folds(part[has], places[has]), atol=2e-3)
        np.testing.assert_array_equal(together[has & ~whole], told[has & ~whole])
        assert not told[~has].any()
    both = unit(np.concatenate([part[whole] for part in prepared], axis=1))
    np.testing.assert_allclose(together[whole], by_folds(both, places[whole]), atol=2e-3)


def test_what_is_said_of_a_row_does_not_depend_on_where_it_lies():
    prepared, there, _ = pairs(missing=0.0)
    places = walk(all_edges(prepared, there), 8)
    before = CrossFitted(prepared, there)(places)[2]
    places[7] *= 1.1  # which is too little to choose another strength of the ridge
    after = CrossFitted(prepared, there)(places)[2]
    np.testing.assert_allclose(after[7], before[7], atol=1e-6)
    assert np.abs(after - before).max() > 1e-4  # of others, it is


def test_other_rows_are_told_by_the_mean_of_all_five_regressions():
    prepared, there, _ = pairs(missing=0.4)
    here, others = [part[:110] for part in prepared], [part[110:] for part in prepared]
    places = walk(all_edges(here, there[:110]), 8)
    predict = CrossFitted(here, there[:110])
    together, told = predict.for_others(places)
    np.testing.assert_array_equal(together, predict(places)[2])
    found = told(others, there[110:])
    known, whole = there[:110].all(axis=1), there[110:].all(axis=1)
    for side, has in enumerate(there.T):
        alone = has[110:] & ~whole
        expected = by_folds(here[side][has[:110]], places[has[:110]], others[side][alone])
        np.testing.assert_allclose(found[alone], expected, atol=2e-3)
    rows = unit(np.concatenate([part[known] for part in here], axis=1))
    new = unit(np.concatenate([part[whole] for part in others], axis=1))
    np.testing.assert_allclose(found[whole], by_folds(rows, places[known], new), atol=2e-3)


def test_other_rows_are_told_nothing_by_one_modality_where_all_have_both():
    prepared, there, _ = pairs(missing=0.0)
    told = CrossFitted(prepared, there).for_others(walk(all_edges(prepared, there), 8))[1]
    alone = np.tile([True, False], (150, 1))
    assert not told(prepared, alone).any()
    assert told(prepared, there).any(axis=1).all()


def test_some_rows_are_compared_where_there_are_many(monkeypatch):
    prepared, there, _ = pairs(missing=0.0, rows=300)
    places = walk(all_edges(prepared, there), 4)
    exact = CrossFitted(prepared, there)(places)[2]
    monkeypatch.setattr(module, "COMPARED", 100)
    some = CrossFitted(prepared, there)(places)[2]
    assert 0 < np.square(some - exact).mean() < 0.05 * np.square(exact).mean()


@pytest.mark.parametrize(("missing", "share"), [(0.0, 1.0), (0.5, 1.0), (0.8, 0.25)])
def test_edges_by_one_modality_count_where_few_rows_are_complete(monkeypatch, missing, share):
    monkeypatch.setattr(module, "ROUNDS", 1)
    prepared, there, _ = pairs(missing)
    graph = all_edges(prepared, there)
    first, second, together = CrossFitted(prepared, there)(sketched_walk(graph, module.PREDICTED))
    added = share * affinities(unit(together), np.ones(150, dtype=bool), 7)
    if share < 1:
        alone = affinities(unit(first), there[:, 0], 7) + affinities(unit(second), there[:, 1], 7)
        added = added + (1 - share) * alone
    found = joined_by_prediction(graph, prepared, there, 7)
    np.testing.assert_allclose(found.toarray(), (graph + 3.0 * added).toarray(), atol=1e-6)


@pytest.mark.parametrize("missing", [0.0, 0.5, 0.8])
def test_added_edges_join_rows_of_a_kind_more_often(missing):
    prepared, there, kind = pairs(missing)
    same = kind[:, None] == kind
    before = all_edges(prepared, there)
    added = (joined_by_prediction(before, prepared, there) - before).toarray()
    before = before.toarray()
    assert added[same].sum() / added.sum() > before[same].sum() / before.sum() + 0.03


def test_few_complete_rows_add_nothing():
    prepared, there, _ = pairs(missing=0.93)
    assert there.all(axis=1).sum() == 10
    graph = all_edges(prepared, there)
    assert joined_by_prediction(graph, prepared, there) is graph
