import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse
from sklearn.metrics import average_precision_score
from sklearn.metrics.pairwise import cosine_similarity

from bidnn.evaluation import by_judgement, by_label, by_pair, mean_average_precision, retrieve
from bidnn.evaluation import retrieval as module

FIELDS = ("average_precision", "first_rank", "precision", "recall", "ndcg")


def same(left, right, **tolerance):
    return all(
        np.allclose(getattr(left, field), getattr(right, field), equal_nan=True, **tolerance)
        for field in FIELDS
    )


def labelled(seed, rows=50, columns=6, labels=4):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, labels, rows)
    return rng.normal(size=(rows, columns)) + tokens[:, None] * 0.3, tokens.astype(str)


def test_three_queries_and_documents_on_paper():
    queries = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    documents = np.array([[3.0, 1.0], [0.0, 5.0], [1.0, -1.0]])
    # By cosine: query 0 ranks 0 2 1, query 1 ranks 1 0 2, query 2 ranks 0 1 2.
    relevance = by_label(np.array(["a", "a", "b"]), np.array(["b", "a", "a"]))
    scores = retrieve(queries, documents, relevance, exclude_self=False, cutoffs=(1, 2))
    assert scores.average_precision == pytest.approx([(1 / 2 + 2 / 3) / 2, (1 + 2 / 3) / 2, 1])
    assert scores.first_rank.tolist() == [2, 1, 1]
    assert scores.precision.tolist() == [[0, 0.5], [1, 0.5], [1, 0.5]]
    assert scores.recall.tolist() == [[0, 0.5], [0.5, 0.5], [1, 1]]


def test_query_by_example_is_what_scikit_learn_says_of_the_dense_matrix():
    vectors, labels = labelled(0)
    cosines = cosine_similarity(vectors)
    expected = [
        average_precision_score(np.delete(labels == labels[i], i), np.delete(cosines[i], i))
        for i in range(len(labels))
    ]
    scores = retrieve(vectors, vectors, by_label(labels, labels), exclude_self=True)
    assert scores.average_precision == pytest.approx(np.array(expected))
    assert mean_average_precision(vectors, labels) == pytest.approx(np.mean(expected))


def test_leaving_out_the_query_equals_searching_only_the_others():
    vectors, labels = labelled(1, rows=20)
    scores = retrieve(vectors, vectors, by_label(labels, labels), exclude_self=True)
    for i in range(len(labels)):
        others = np.delete(np.arange(len(labels)), i)
        relevance = by_label(labels[[i]], labels[others])
        alone = retrieve(vectors[[i]], vectors[others], relevance, exclude_self=False)
        for field in FIELDS:
            assert getattr(scores, field)[i] == pytest.approx(getattr(alone, field)[0])


@pytest.mark.parametrize("block_rows", [1, 7, 50, None])
@pytest.mark.parametrize("part_elements", [1, 130, 2**18])
def test_blocks_change_no_bit(block_rows, part_elements, monkeypatch):
    vectors, labels = labelled(2)
    vectors[10:30] = vectors[10]
    relevance = by_label(labels, labels)
    whole = retrieve(vectors, vectors, relevance, exclude_self=True)
    monkeypatch.setattr(module, "PART_ELEMENTS", part_elements)
    parts = retrieve(vectors, vectors, relevance, exclude_self=True, block_rows=block_rows)
    assert same(whole, parts, rtol=0, atol=0)


def test_blocks_keep_what_is_outside_with_its_query(monkeypatch):
    monkeypatch.setattr(module, "PART_ELEMENTS", 1)
    relevance = by_judgement(np.eye(3), outside=np.array([0, 1, 4]))
    scores = retrieve(np.eye(3), np.eye(3), relevance, exclude_self=False, block_rows=2)
    assert scores.average_precision.tolist() == [1.0, 0.5, 0.2]


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.float64, (12, 3), elements=st.integers(-2, 2)),
    st.lists(st.sampled_from("abc"), min_size=12, max_size=12),
    st.randoms(use_true_random=False),
    arrays(np.float64, (12, 1), elements=st.floats(1e-6, 1e6)),
)
def test_order_and_length_of_documents_change_nothing(vectors, labels, random, lengths):
    queries, labels = vectors[:5], np.array(labels)
    order = np.array(random.sample(range(12), 12))
    plain = retrieve(queries, vectors, by_label(labels[:5], labels), exclude_self=False)
    moved = retrieve(
        queries * lengths[:5],
        (vectors * lengths)[order],
        by_label(labels[:5], labels[order]),
        exclude_self=False,
    )
    assert same(plain, moved)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3])
def test_vectors_that_are_all_equal_score_what_chance_scores(value):
    labels = np.repeat(["a", "b", "c", "d"], [100, 100, 100, 100])
    vectors = np.full((400, 33), value, np.float32)
    figures = retrieve(vectors, vectors, by_label(labels, labels), exclude_self=True).metrics()
    for name in ("precision@1", "precision@10", "ndcg@5"):
        assert figures[name] == pytest.approx(99 / 399)
    assert figures["recall@10"] == pytest.approx(10 / 399)
    assert figures["median_rank"] == pytest.approx(400 / 100)
    assert figures["map"] == pytest.approx(99 / 399, abs=0.02)


def test_a_pair_is_found_at_the_rank_that_counting_gives():
    rng = np.random.default_rng(3)
    queries = rng.normal(size=(40, 5))
    documents = queries + rng.normal(size=(40, 5))
    cosines = cosine_similarity(queries, documents)
    ranks = 1 + (cosines > np.diag(cosines)[:, None]).sum(axis=1)
    scores = retrieve(queries, documents, by_pair(40), exclude_self=False)
    assert scores.first_rank.tolist() == ranks.tolist()
    assert scores.average_precision == pytest.approx(1 / ranks)
    figures = scores.metrics()
    assert figures["median_rank"] == np.median(ranks)
    assert figures["recall@5"] == pytest.approx(np.mean(ranks <= 5))


def test_one_shared_label_of_several_makes_relevant():
    tokens = [{"3", "7"}, {"7"}, {"5"}, set(), {"3", "5"}]
    names = ["3", "5", "7"]
    indicator = sparse.csr_array([[name in own for name in names] for own in tokens])
    expected = [[bool(left & right) for right in tokens] for left in tokens]
    relevance = by_label(indicator, indicator)
    assert relevance.shape == (5, 5)
    assert relevance.block(slice(0, 2)).tolist() == expected[:2]
    assert relevance.block(slice(2, 5)).tolist() == expected[2:]


def test_single_labels_score_the_same_as_their_indicator_matrix():
    vectors, labels = labelled(4)
    indicator = sparse.coo_matrix(labels[:, None] == np.unique(labels))
    plain = retrieve(vectors, vectors, by_label(labels, labels), exclude_self=True)
    several = retrieve(vectors, vectors, by_label(indicator, indicator), exclude_self=True)
    assert same(plain, several, rtol=0, atol=0)


def test_relevant_documents_outside_the_collection_count_as_never_found():
    queries = documents = np.eye(3)
    judged = sparse.csr_array(np.array([[1, 0, 0], [0, 0, 0], [0, 0, 0]]))
    relevance = by_judgement(judged, outside=np.array([3, 1, 0]))
    scores = retrieve(queries, documents, relevance, exclude_self=False, cutoffs=(1,))
    assert scores.average_precision.tolist() == [0.25, 0.0, pytest.approx(np.nan, nan_ok=True)]
    assert scores.first_rank[:2].tolist() == [1.0, np.inf]
    assert scores.recall[:2].tolist() == [[0.25], [0.0]]
    assert scores.ndcg[:2].tolist() == [[1.0], [0.0]]
    assert scores.metrics()["left_out"] == 1


def test_labels_that_nobody_shares_leave_the_mean_undefined():
    assert np.isnan(mean_average_precision(np.eye(3), ["a", "b", "c"]))
    assert np.isnan(mean_average_precision(np.ones((1, 2)), ["a"]))


def test_the_dot_product_lets_long_documents_win():
    queries, documents = np.array([[1.0, 0.0]]), np.array([[1.0, 0.0], [5.0, 5.0]])
    relevance = by_judgement(np.array([[False, True]]))
    by_cosine = retrieve(queries, documents, relevance, exclude_self=False)
    by_dot = retrieve(queries, documents, relevance, exclude_self=False, similarity="dot")
    assert (by_cosine.first_rank[0], by_dot.first_rank[0]) == (2, 1)


def test_memory_is_that_of_a_block_and_not_of_all_pairs():
    rng = np.random.default_rng(5)
    queries, documents = rng.normal(size=(400, 4)), rng.normal(size=(30_000, 4))
    relevance = by_label(np.arange(400) % 10, np.arange(30_000) % 10)
    tracemalloc.start()
    retrieve(queries, documents, relevance, exclude_self=False, block_rows=16)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    all_pairs = 4 * 400 * 30_000
    assert peak < all_pairs / 2


def test_relevance_that_does_not_fit_is_refused():
    two = np.ones((2, 3))
    with pytest.raises(ValueError, match="relevance of 3 queries and 3 documents"):
        retrieve(two, two, by_pair(3), exclude_self=False)
    with pytest.raises(ValueError, match="4 labels for queries and 5 for documents"):
        by_label(sparse.csr_array((2, 4)), sparse.csr_array((2, 5)))
    with pytest.raises(ValueError, match="one side is a sparse matrix"):
        by_label(sparse.csr_array((2, 4)), np.array(["a", "b"]))
    with pytest.raises(ValueError, match=r"labels of shapes \(2,\) and \(2, 3\)"):
        by_label(np.array(["a", "b"]), two)
