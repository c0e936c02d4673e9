from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_iris, make_blobs
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneOut, cross_val_score, train_test_split
from sklearn.neighbors import KNeighborsClassifier

from bidnn.evaluation import classification as module
from bidnn.evaluation import knn_accuracy, linear_probe_accuracy


def labelled(seed, rows=60):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, 2, rows)
    return rng.normal(size=(rows, 4)) + tokens[:, None], np.array(["no", "yes"])[tokens]


@pytest.mark.parametrize("k", [1, 3, 5])
def test_without_ties_it_is_leave_one_out_of_scikit_learn(k):
    vectors, labels = labelled(0)
    judge = KNeighborsClassifier(k, metric="cosine")
    expected = cross_val_score(judge, vectors, labels, cv=LeaveOneOut()).mean()
    assert 0 < expected < 1
    assert knn_accuracy(vectors, labels, k) == pytest.approx(expected)


def shared_votes(similarity, labels, k):
    """One row's votes, averaged over all choices of k nearest neighbours among equal ones."""
    names = sorted(set(labels))
    choices = [
        [sum(labels[i] == name for i in chosen) for name in names]
        for chosen in combinations(range(len(labels)), k)
        if min(similarity[list(chosen)]) >= max(np.delete(similarity, chosen), default=-9)
    ]
    votes = np.round(np.mean(choices, axis=0), 9)
    return [name for name, vote in zip(names, votes, strict=True) if vote == votes.max()]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abc")), min_size=3, max_size=8),
    st.integers(1, 4),
    st.sampled_from([1, 20, 2**18]),
)
def test_ties_share_places_and_votes(rows, k, part_elements):
    k = min(k, len(rows) - 1)
    directions = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, 0.0]])
    vectors = np.array([directions[kind] for kind, _ in rows])
    labels = [label for _, label in rows]
    expected = []
    for i in range(len(rows)):
        others = [j for j in range(len(rows)) if j != i]
        winners = shared_votes(vectors[others] @ vectors[i], [labels[j] for j in others], k)
        expected.append((labels[i] in winners) / len(winners))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PART_ELEMENTS", part_elements)
        assert knn_accuracy(vectors, labels, k, block_rows=3) == pytest.approx(np.mean(expected))


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_equal_vectors_get_every_row_the_most_frequent_label(value):
    labels = ["a"] * 60 + ["b"] * 40
    assert knn_accuracy(np.full((100, 7), value), labels, 5) == pytest.approx(0.6)


def test_the_linear_probe_is_logistic_regression_on_standardised_training_rows():
    vectors, labels = load_iris(return_X_y=True)
    vectors = vectors[:, :2] * [0.001, 100.0]
    accuracies = []
    for seed in (4, 5):
        train, test, known, asked = train_test_split(
            vectors, labels, test_size=0.4, stratify=labels, random_state=seed
        )
        mean, deviation = train.mean(axis=0), train.std(axis=0)
        judge = LogisticRegression(max_iter=1000).fit((train - mean) / deviation, known)
        accuracies.append(np.mean(judge.predict((test - mean) / deviation) == asked))
    assert 0.5 < min(accuracies) < max(accuracies) < 1
    found = linear_probe_accuracy(vectors, labels, seeds=(4, 5), test_share=0.4)
    assert found == pytest.approx((np.mean(accuracies), np.std(accuracies)))


def test_the_linear_probe_tells_separate_blobs_apart_and_constants_not():
    vectors, labels = make_blobs(80, 3, centers=4, cluster_std=0.1, random_state=0)
    assert linear_probe_accuracy(vectors, labels.astype(str)) == (1.0, 0.0)
    assert linear_probe_accuracy(np.ones((80, 3)), labels) == pytest.approx((0.25, 0.0))


def test_what_cannot_be_classified_is_refused():
    rows = np.eye(3)
    with pytest.raises(ValueError, match="k=3: must be at least 1 and less than"):
        knn_accuracy(rows, ["a", "b", "a"], 3)
    with pytest.raises(ValueError, match="k=0"):
        knn_accuracy(rows, ["a", "b", "a"], 0)
    with pytest.raises(ValueError, match=r"3 vectors, but labels of shape \(2,\)"):
        knn_accuracy(rows, ["a", "b"], 1)
    with pytest.raises(ValueError, match="2 different labels, the rarest on 1 rows"):
        linear_probe_accuracy(rows, ["a", "b", "a"])
    with pytest.raises(ValueError, match="1 different labels"):
        linear_probe_accuracy(rows, ["a", "a", "a"])
    with pytest.raises(ValueError, match=r"3 different labels on 6 rows: .* 2 to test on cannot"):
        linear_probe_accuracy(np.eye(6), list("aabbcc"))
    with pytest.raises(ValueError, match="seeds: give at least one"):
        linear_probe_accuracy(rows, ["a", "b", "a"], seeds=())
