"""Whether mixed searches favour one kind of row."""

import numpy as np
import pytest

from bidnn.evaluation.comparability import comparability


def rows(complete, incomplete):
    present = np.ones((len(complete) + len(incomplete), 2), dtype=bool)
    present[len(complete) :, 0] = False
    return np.vstack([complete, incomplete]), present


def test_rows_drawn_alike_are_found_as_often_as_chance_would():
    values = np.random.default_rng(0).normal(size=(600, 16))
    found = comparability(*rows(values[:300], values[300:]))
    assert found.favour["complete"] == pytest.approx(1, abs=0.1)
    assert found.favour["incomplete"] == pytest.approx(1, abs=0.1)
    assert found.spreads["complete–incomplete"].mean == pytest.approx(0, abs=0.02)


def test_rows_in_a_corner_of_their_own_are_buried_for_the_others():
    values = np.random.default_rng(0).normal(size=(200, 16))
    values[:100] -= 20
    values[100:] += 20
    found = comparability(*rows(values[:100], values[100:]))
    assert found.favour["complete"] == 0
    assert found.favour["incomplete"] == pytest.approx(199 / 99, rel=1e-6)
    assert found.spreads["incomplete–incomplete"].mean > 0.9


def test_spreads_are_those_of_the_cosines():
    values = np.random.default_rng(0).normal(size=(60, 4))
    found = comparability(*rows(values[:30], values[30:])).spreads["complete–complete"]
    unit = values[:30] / np.linalg.norm(values[:30], axis=1, keepdims=True)
    cosines = (unit @ unit.T)[np.triu_indices(30, 1)]
    low, high = np.quantile(cosines, [0.05, 0.95])
    expected = (cosines.mean(), cosines.std(), low, high)
    got = (found.mean, found.deviation, found.low, found.high)
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_too_few_rows_of_a_kind_are_refused():
    with pytest.raises(ValueError, match="3 incomplete rows are too few"):
        comparability(*rows(np.ones((30, 2)), np.ones((3, 2))))
