"""Rows outside a graph: where its own rows that they are near to lie."""

import numpy as np
import pytest

from bidnn.training.diffusion.elsewhere import Elsewhere
from bidnn.training.diffusion.graphs import affinities, unit, walk
from tests.training.kinds import clustered


@pytest.fixture
def rows():
    """Prepared rows, what is there, their kinds, and where the first 100 of them lie."""
    store, kind = clustered(150)
    prepared = [unit(part - part.mean(axis=0)) for part in store.take(slice(None))]
    sides = zip(prepared, store.present.T, strict=True)
    graph = sum(affinities(part[:100], has[:100]) for part, has in sides)
    return prepared, store.present, kind, walk(graph, 8)


def of(prepared, rows):
    return [part[rows] for part in prepared]


def test_other_rows_lie_among_those_of_their_kind_whatever_they_miss(rows):
    prepared, there, kind, places = rows
    found = Elsewhere(of(prepared, slice(100)), there[:100], places, 7)(
        of(prepared, slice(100, None)), there[100:]
    )
    np.testing.assert_allclose((found**2).mean(axis=1), 1.0, rtol=1e-5)
    closeness = found @ places.T / 8
    alike = np.stack([closeness[:, kind[:100] == k].mean(axis=1) for k in range(3)], axis=1)
    for has in ([True, True], [True, False], [False, True]):
        own = (there[100:] == has).all(axis=1)
        assert own.sum() > 5
        np.testing.assert_array_equal(np.argmax(alike[own], axis=1), kind[100:][own])


def test_with_few_complete_rows_it_is_the_weighted_mean_of_the_nearest(rows):
    prepared, there, _, places = rows
    whole = np.flatnonzero(there[:100].all(axis=1))
    there[whole[11:], 1] = False
    lie = Elsewhere(of(prepared, slice(100)), there[:100], places, 3)
    found = lie(of(prepared, slice(100, None)), there[100:])
    for row in (100, 101, 120):
        mean = np.zeros(8)
        for part, has in zip(prepared, there.T, strict=True):
            if has[row]:
                pool = np.flatnonzero(has[:100])
                distances = np.linalg.norm(part[pool] - part[row], axis=1)
                near = np.argsort(distances)[:3]
                weights = np.exp(-((distances[near] / distances[near[-1]]) ** 2))
                mean += weights @ places[pool[near]] / weights.sum()
        expected = mean / np.linalg.norm(mean) * np.sqrt(8)
        np.testing.assert_allclose(found[row - 100], expected, rtol=1e-4, atol=1e-5)


def test_a_row_that_has_nothing_lies_nowhere(rows):
    prepared, there, _, places = rows
    there[100] = False
    lie = Elsewhere(of(prepared, slice(100)), there[:100], places, 7)
    found = lie(of(prepared, slice(100, None)), there[100:])
    assert not found[0].any()
    assert found[1:].any(axis=1).all()
