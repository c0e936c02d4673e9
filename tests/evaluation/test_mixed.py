"""A pool of rows with one modality and rows with two, against plain counting."""

import numpy as np
import pytest
from scipy import sparse

from bidnn.evaluation.mixed import KINDS, mixed_pool


def shown(count):
    """`count` rows of each kind, kind by kind."""
    return np.repeat(np.array(list(KINDS.values())), count, axis=0)


def nearest(values):
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    return np.argsort(-cosines, axis=1)[:, :10]


def test_shares_ndcg_and_pairs_are_those_of_the_ten_nearest():
    generator = np.random.default_rng(0)
    values, labels = generator.normal(size=(90, 5)), generator.integers(0, 3, size=90)
    items = np.concatenate([np.arange(60), np.arange(30, 60)[::-1]])
    found = mixed_pool(values, shown(30), labels, items)
    near, kind = nearest(values), np.repeat(np.arange(3), 30)
    discounts = 1 / np.log2(np.arange(2, 12))
    gains = ((labels[near] == labels[:, None]) * discounts).sum(axis=1) / discounts.sum()
    other = 119 - np.arange(90)
    hit = (near == other[:, None]).any(axis=1)
    for query, name in enumerate(KINDS):
        own = kind == query
        for row, other_name in enumerate(KINDS):
            fair = (30 - (query == row)) / 89
            expected = (kind[near[own]] == row).mean() / fair
            assert found[name].shares[other_name] == pytest.approx(expected)
        assert found[name].ndcg == pytest.approx(gains[own].mean())
    assert np.isnan(found["complete"].pair_recall)
    for query, name in ((1, "first-only"), (2, "second-only")):
        assert found[name].pair_recall == pytest.approx(hit[kind == query].mean())


def test_rows_that_differ_in_nothing_are_found_as_chance_would_find_them():
    found = mixed_pool(np.ones((60, 2)), shown(20), np.zeros(60), np.tile(np.arange(20), 3))
    for scores in found.values():
        assert list(scores.shares.values()) == pytest.approx([1, 1, 1])
    assert found["first-only"].pair_recall == pytest.approx(10 / 59)


def test_the_pool_has_as_many_rows_of_each_kind_and_keeps_items_together():
    generator = np.random.default_rng(0)
    present = np.array([[1, 1]] * 200 + [[1, 0]] * 50 + [[0, 1]] * 30 + [[0, 0]] * 9, dtype=bool)
    values = generator.normal(size=(289, 8))
    items = np.concatenate([np.arange(1000, 1200), np.arange(50), np.arange(30), np.arange(9)])
    values[200:230] = values[250:280]
    found = mixed_pool(values, present, items=items)
    assert np.isnan(found["complete"].ndcg)
    # All of the second, so that those of the first that are left out have no other half.
    assert found["second-only"].pair_recall == 1
    two = mixed_pool(values[200:280], present[200:280])
    assert set(two) == {"first-only", "second-only"}
    assert np.isnan(two["first-only"].pair_recall)


def test_labels_of_several_are_an_indicator_matrix():
    values = np.random.default_rng(0).normal(size=(60, 4))
    labels = np.arange(60) % 4
    matrix = sparse.csr_array((np.ones(60), (np.arange(60), labels)))
    found, expected = (mixed_pool(values, shown(20), given) for given in (matrix, labels))
    assert {kind: scores.ndcg for kind, scores in found.items()} == {
        kind: scores.ndcg for kind, scores in expected.items()
    }


@pytest.mark.parametrize(
    ("rows", "present", "message"),
    [
        (30, [[1, 1]] * 30, "all rows are complete"),
        (30, [[1, 1]] * 25 + [[1, 0]] * 5, "5 first-only rows are too few"),
        (30, [[0, 0]] * 30, "without any modality"),
        (30, [[1, 1]] * 20, "present: 20 rows, but there are 30 vectors"),
    ],
)
def test_what_is_no_mixed_pool_is_refused(rows, present, message):
    with pytest.raises(ValueError, match=message):
        mixed_pool(np.ones((rows, 2)), np.array(present, dtype=bool))
