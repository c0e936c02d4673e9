from itertools import permutations

import numpy as np
import pytest
import sklearn.cluster
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.datasets import make_blobs

from bidnn.evaluation import cluster_accuracy, cluster_ari, cluster_nmi, kmeans_scores
from bidnn.evaluation import clustering as module

pairs_of_partitions = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 3)), min_size=1, max_size=25
)


@settings(max_examples=100, deadline=None)
@given(pairs_of_partitions)
def test_accuracy_is_the_best_over_all_namings_of_the_clusters(rows):
    labels, clusters = map(np.array, zip(*rows, strict=True))
    best = max(np.mean(np.array(naming)[clusters] == labels) for naming in permutations("abc-", 4))
    assert cluster_accuracy(labels, clusters) == pytest.approx(best)


@settings(max_examples=100, deadline=None)
@given(pairs_of_partitions)
def test_nmi_and_ari_are_those_of_their_definitions(rows):
    labels, clusters = map(np.array, zip(*rows, strict=True))
    table = np.array([[np.sum((labels == a) & (clusters == b)) for b in range(4)] for a in "abc"])
    joint = table / table.sum()
    of_labels, of_clusters = joint.sum(axis=1), joint.sum(axis=0)

    def entropy(shares):
        return -np.sum(shares[shares > 0] * np.log(shares[shares > 0]))

    mean_entropy = (entropy(of_labels) + entropy(of_clusters)) / 2
    information = entropy(of_labels) + entropy(of_clusters) - entropy(joint)
    nmi = information / mean_entropy if mean_entropy else 1.0
    assert cluster_nmi(labels, clusters) == pytest.approx(nmi, abs=1e-9)

    def pairs(counts):
        return np.sum(counts * (counts - 1) / 2)

    both, left, right = pairs(table), pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    every = pairs(table.sum())
    chance = left * right / every if every else 0.0
    ceiling = (left + right) / 2
    ari = (both - chance) / (ceiling - chance) if ceiling != chance else 1.0
    assert cluster_ari(labels, clusters) == pytest.approx(ari, abs=1e-9)


def test_clusters_on_paper():
    labels, clusters = ["x", "x", "x", "y", "y"], [1, 1, 0, 0, 0]
    assert cluster_accuracy(labels, clusters) == pytest.approx(4 / 5)
    # More clusters than labels: the third stands for nothing.
    assert cluster_accuracy(labels, [1, 1, 2, 0, 0]) == pytest.approx(4 / 5)
    assert cluster_accuracy(labels, [0] * 5) == pytest.approx(3 / 5)


def test_kmeans_scores_are_mean_and_deviation_over_seeds():
    vectors, truth = make_blobs(120, 2, centers=6, cluster_std=3.0, random_state=0)
    labels = np.array(list("abcdef"))[truth]
    scores = kmeans_scores(vectors, labels, seeds=(3, 4, 5), n_init=1)
    found = [KMeans(6, n_init=1, random_state=seed).fit_predict(vectors) for seed in (3, 4, 5)]
    for score, measure in [
        (scores.accuracy, cluster_accuracy),
        (scores.nmi, metrics.normalized_mutual_info_score),
        (scores.ari, metrics.adjusted_rand_score),
    ]:
        values = [measure(labels, one) for one in found]
        assert len(set(values)) > 1
        assert score == pytest.approx((np.mean(values), np.std(values)))


@pytest.mark.parametrize("above", [100, 1000])
def test_separate_blobs_are_found_by_either_kind_of_kmeans(above, monkeypatch):
    monkeypatch.setattr(module, "MINI_BATCH_ABOVE", above)
    vectors, truth = make_blobs(500, 5, centers=3, cluster_std=0.1, random_state=0)
    scores = kmeans_scores(vectors, truth, seeds=(0, 1))
    assert scores.accuracy == scores.nmi == scores.ari == (1.0, 0.0)


def test_many_rows_go_to_mini_batches(monkeypatch):
    made = []

    class Seen(MiniBatchKMeans):
        def __init__(self, n_clusters=8, *, n_init=1, random_state=None):
            made.append((n_clusters, n_init, random_state))
            super().__init__(n_clusters, n_init=n_init, random_state=random_state)

    monkeypatch.setattr(sklearn.cluster, "MiniBatchKMeans", Seen)
    monkeypatch.setattr(module, "MINI_BATCH_ABOVE", 40)
    vectors, truth = make_blobs(41, 2, centers=2, random_state=0)
    kmeans_scores(vectors[:40], truth[:40], seeds=(7,))
    assert made == []
    kmeans_scores(vectors, truth, clusters=3, seeds=(7,), n_init=2)
    assert made == [(3, 2, 7)]


def test_what_cannot_be_clustered_is_refused():
    with pytest.raises(ValueError, match="seeds: give at least one"):
        kmeans_scores(np.eye(3), ["a", "b", "c"], seeds=())
    with pytest.raises(ValueError, match="3 vectors, but 2 labels"):
        kmeans_scores(np.eye(3), ["a", "b"])
    with pytest.raises(ValueError, match=r"labels of shape \(3,\) and clusters of shape \(2,\)"):
        cluster_accuracy([1, 1, 2], [1, 1])
    with pytest.raises(ValueError, match="at least one row"):
        cluster_ari([], [])
    for clusters in (0, 4):
        with pytest.raises(ValueError, match=f"{clusters} clusters of 3 rows"):
            kmeans_scores(np.eye(3), ["a", "b", "c"], clusters=clusters)
