"""How far two representations agree on who is near: against sets, and where rows are equal."""

import numpy as np
import pytest

from bidnn.evaluation.agreement import NEIGHBOURS, agreement_of_vectors, neighbours
from bidnn.evaluation.similarity import similarities


def by_sets(vectors, values):
    """Of each row's ten nearest, those that are among the ten nearest in the other."""
    near = []
    for rows in (vectors, values - values.mean(axis=0)):
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        cosines = unit @ unit.T
        np.fill_diagonal(cosines, -np.inf)
        near.append([set(np.argsort(-row)[:NEIGHBOURS]) for row in cosines])
    shared = [len(one & other) for one, other in zip(*near, strict=True)]
    return np.mean(shared) / NEIGHBOURS


def test_it_is_the_share_of_neighbours_in_common():
    draw = np.random.default_rng(0)
    values = draw.normal(size=(120, 6))
    vectors = values @ draw.normal(size=(6, 4)) + draw.normal(size=(120, 4))
    found = agreement_of_vectors(vectors, values)
    assert found == pytest.approx(by_sets(vectors, values))
    assert 0.1 < found < 0.9
    assert agreement_of_vectors(values - values.mean(axis=0), values) == 1.0
    assert np.isnan(agreement_of_vectors(vectors[:20], values[:20]))


def test_equal_rows_agree_no_more_than_chance():
    rows = 400
    kinds = np.eye(4)[np.random.default_rng(0).integers(0, 4, (2, rows))]  # each 100 times, or so
    found = agreement_of_vectors(kinds[0], kinds[1])
    assert found == pytest.approx(NEIGHBOURS / (rows - 1), abs=0.015)


@pytest.mark.parametrize("distinct", [3, 40, 400])
def test_neighbours_are_the_first_of_a_stable_sort_also_among_equals(distinct):
    draw = np.random.default_rng(distinct)
    vectors = draw.normal(size=(distinct, 5))[draw.integers(0, distinct, 400)]
    cosines = np.concatenate([v for _, v in similarities(vectors, vectors, exclude_self=True)])
    expected = np.argsort(-cosines, axis=1, kind="stable")
    for count in (1, NEIGHBOURS, 399):
        np.testing.assert_array_equal(neighbours(vectors, count), expected[:, :count])
