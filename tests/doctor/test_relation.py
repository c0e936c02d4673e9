"""The figures of neighbours and of ridge regression, against independent computations."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.metrics.pairwise import cosine_similarity

from bidnn.doctor.findings import percent
from bidnn.doctor.relation import linear, near_rows
from bidnn.doctor.ridge import SHARES, Centred, explained
from bidnn.evaluation.agreement import agreement
from tests.doctor.rows import clean


def by_scikit_learn(first, second):
    """Leave-one-out errors of the best penalty, beside those of the mean of the other rows."""
    centred = first - first.mean(axis=0)
    mean = (centred**2).sum() / min(centred.shape)
    ridge = RidgeCV(alphas=[share * mean for share in SHARES], store_cv_results=True)
    ridge.fit(first, second)
    errors = ridge.cv_results_.sum(axis=(0, 1)).min()
    rows = len(second)
    others = (second.sum(axis=0) - second) / (rows - 1)
    return 1 - errors / ((second - others) ** 2).sum()


@pytest.mark.parametrize("sizes", [(12, 20), (4, 90), (90, 4), (130, 150)])
@pytest.mark.parametrize("seed", [0, 1])
def test_ridge_is_scikit_learns_with_the_best_of_its_penalties(sizes, seed):
    first, second = (part.astype("f8") for part in clean(seed, rows=80, sizes=sizes))
    shuffled = np.random.default_rng(seed).permutation(second)
    for other in (second, shuffled):
        found = explained(Centred.of(first), Centred.of(other).coordinates)
        assert found == pytest.approx(by_scikit_learn(first, other), abs=1e-6)


def test_ridge_of_what_does_not_vary():
    first, _ = clean(0)
    flat = np.ones_like(first)
    assert explained(Centred.of(flat), Centred.of(first).coordinates) == 0.0
    assert np.isnan(explained(Centred.of(first), Centred.of(flat).coordinates))


def ten_nearest(values):
    cosines = cosine_similarity(values - values.mean(axis=0))
    np.fill_diagonal(cosines, -2)
    return np.argsort(-cosines, axis=1)[:, :10]


def test_neighbours_of_permuted_pairs_are_those_of_permuted_rows():
    first, second = (part.astype("f8") for part in clean(0, rows=70))
    found = near_rows((first, second), 3, np.random.default_rng(5))
    assert found.found == agreement(ten_nearest(first), ten_nearest(second))
    again = np.random.default_rng(5)
    again.permutation(70)  # which breaks ties, of which there are none
    for number in range(3):
        partner = second[again.permutation(70)]
        shared = [
            len(set(a) & set(b))
            for a, b in zip(ten_nearest(first), ten_nearest(partner), strict=True)
        ]
        assert found.permuted[number] == pytest.approx(np.mean(shared) / 10)


@pytest.mark.parametrize("seed", range(5))
def test_equally_near_rows_are_not_the_same_ones_in_both_modalities(seed):
    generator = np.random.default_rng(seed)
    first, second = generator.normal(size=(2, 200, 1))  # all cosines are 1 or -1
    found = near_rows((first, second), 200, generator)
    assert not found.tells
    assert found.permuted.mean() == pytest.approx(10 / 199, rel=0.1)


def test_permuted_pairs_of_ridge_are_refitted():
    first, second = (part.astype("f8") for part in clean(0, rows=70))
    found = linear(Centred.of(first), Centred.of(second), 2, np.random.default_rng(5))
    again = np.random.default_rng(5)
    for value in found.permuted:
        expected = by_scikit_learn(first, second[again.permutation(70)])
        assert value == pytest.approx(expected, abs=1e-6)
    assert found.tells
    assert found.found > 0.5


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0.0, "0 %"),
        (0.0004, "less than 0.1 %"),
        (0.012, "1.2 %"),
        (0.05, "5 %"),
        (0.4, "40 %"),
        (0.996, "99.6 %"),
        (0.9999, "more than 99.9 %"),
        (1.0, "100 %"),
        (-0.02, "-2 %"),
        (-0.0004, "less than 0.1 %"),
    ],
)
def test_a_share_is_nought_or_a_hundred_percent_only_if_it_is(share, shown):
    assert percent(share) == shown
