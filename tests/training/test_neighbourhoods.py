"""How many neighbours a row is joined to."""

import numpy as np
import pytest

from bidnn.training.diffusion.graphs import unit
from bidnn.training.diffusion.neighbourhoods import neighbours_of_a_kind
from tests.training.kinds import clustered


def unit_rows(rows, kinds, missing=0.0, deviation=1.0):
    store, _ = clustered(rows, kinds, missing=missing, deviation=deviation)
    prepared = [unit(part - part.mean(axis=0)) for part in store.take(slice(None))]
    return prepared, store.present


@pytest.mark.parametrize(
    ("rows", "kinds", "missing", "count"),
    [
        (400, 4, 0.0, 10),  # 100 rows of a kind
        (400, 25, 0.0, 8),  # 16
        (400, 40, 0.0, 5),  # 10
        (400, 100, 0.0, 5),  # 4, and 5 neighbours are the fewest
        (400, 4, 0.8, 10),  # of 20 complete rows of a kind
        (400, 40, 0.8, 5),  # of 2
    ],
)
def test_rows_have_half_as_many_neighbours_as_their_kind_has_rows(rows, kinds, missing, count):
    found = neighbours_of_a_kind(*unit_rows(rows, kinds, missing, 0.5))
    assert abs(found - count) <= 1


def test_the_number_is_where_neighbours_agree_most_beyond_chance(monkeypatch):
    monkeypatch.setattr("bidnn.training.diffusion.neighbourhoods.LEAST", 1)
    prepared, there = unit_rows(180, 12, missing=0.4)
    rows = np.flatnonzero(there.all(axis=1))
    near = []
    for part in prepared:
        gaps = np.linalg.norm(part[rows, None] - part[rows], axis=2)
        np.fill_diagonal(gaps, np.inf)
        near.append(np.argsort(gaps, axis=1, kind="stable"))
    beyond = {}
    for count in (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 17, 20):
        pairs = zip(near[0][:, :count], near[1][:, :count], strict=True)
        share = np.mean([len(set(one) & set(other)) / count for one, other in pairs])
        chance = count / (len(rows) - 1)
        beyond[count] = (share - chance) / (1 - chance)
    most = max(count for count in beyond if beyond[count] >= 0.98 * max(beyond.values()))
    more = there.sum(axis=0).mean() / len(rows)
    assert 1 < most < 20
    assert neighbours_of_a_kind(prepared, there) == round(most * more / 2) < 7  # of 180 rows


@pytest.mark.parametrize(("rows", "count"), [(60, 5), (200, 7), (500, 10)])
def test_few_rows_have_few_neighbours_where_modalities_agree_by_chance_only(rows, count):
    for seed in range(10):
        generator = np.random.default_rng(seed)
        prepared = [unit(generator.normal(size=(rows, 9)).astype(np.float32)) for _ in "12"]
        assert neighbours_of_a_kind(prepared, np.ones((rows, 2), dtype=bool)) == count


@pytest.mark.parametrize("deviation", [0.0, 0.02])
def test_copies_which_agree_on_any_number_tell_nothing_of_kinds(deviation):
    generator = np.random.default_rng(0)
    values = generator.normal(size=(600, 12)).astype(np.float32)
    noise = deviation * generator.normal(size=values.shape).astype(np.float32)
    prepared = [unit(values), unit(values + noise)]
    assert neighbours_of_a_kind(prepared, np.ones((600, 2), dtype=bool)) == 10


@pytest.mark.parametrize("complete", [0, 1, 2])
def test_too_few_complete_rows_tell_nothing_of_kinds(complete):
    prepared, there = unit_rows(400, 40)
    there[complete:, 0] = False
    assert neighbours_of_a_kind(prepared, there) == 10
