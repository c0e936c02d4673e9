import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from bidnn.evaluation import average_precision, score_rows
from bidnn.evaluation.ranking import Ranker
from tests.evaluation import oracles

CUTOFFS = (1, 2, 3, 5, 9)


@st.composite
def tied_rankings(draw):
    """Scores with few values, relevance, and relevant documents outside the collection."""
    size = draw(st.integers(1, 6))
    scores = draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
    relevant = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    return scores, relevant, draw(st.integers(0, 2))


@settings(max_examples=150, deadline=None)
@given(tied_rankings())
def test_every_score_is_the_mean_over_all_orders_of_the_ties(ranking):
    scores, relevant, outside = ranking
    total = sum(relevant) + outside
    ranker = Ranker(len(scores), CUTOFFS)
    found = ranker.scores(
        [
            ranker.measure(
                np.array([scores], np.int32), np.array([relevant]), np.array([outside], np.int64)
            )
        ]
    )
    if total == 0:
        assert np.isnan(found.average_precision[0])
        assert np.isnan(found.ndcg[0]).all()
        return

    def expect(measure, *k):
        return oracles.over_orders(scores, relevant, measure, total, *k)

    assert found.average_precision[0] == pytest.approx(expect(oracles.average_precision))
    assert found.first_rank[0] == pytest.approx(expect(oracles.first_rank))
    for column, k in enumerate(CUTOFFS):
        assert found.precision[0, column] == pytest.approx(expect(oracles.precision, k))
        assert found.recall[0, column] == pytest.approx(expect(oracles.recall, k))
        assert found.ndcg[0, column] == pytest.approx(expect(oracles.ndcg, k))


def test_a_ranking_on_paper():
    scores = score_rows([[0.6, 0.9, 0.7, 0.8]], [[False, True, True, False]], cutoffs=(1, 2, 5))
    assert scores.average_precision.tolist() == [pytest.approx((1 + 2 / 3) / 2)]
    assert scores.first_rank.tolist() == [1.0]
    assert scores.precision.tolist() == [[1.0, 0.5, pytest.approx(2 / 5)]]
    assert scores.recall.tolist() == [[0.5, 0.5, 1.0]]
    ideal = 1 + 1 / np.log2(3)
    assert scores.ndcg[0] == pytest.approx([1.0, 1 / ideal, 1.5 / ideal])


def test_a_tie_on_paper():
    # One relevant and one other document tied: first or second, each half of the time.
    assert average_precision([0.5, 0.5], [True, False]) == pytest.approx((1 + 1 / 2) / 2)
    # After one irrelevant document, two relevant among three tied: of the three orders of places,
    # 2 and 3, 2 and 4, 3 and 4 are relevant.
    orders = [(1 / 2 + 2 / 3) / 2, (1 / 2 + 2 / 4) / 2, (1 / 3 + 2 / 4) / 2]
    found = score_rows([[9, 1, 1, 1]], [[False, True, False, True]], cutoffs=(2,))
    assert found.average_precision[0] == pytest.approx(np.mean(orders))
    assert found.precision[0, 0] == pytest.approx((2 / 3) / 2)
    assert found.recall[0, 0] == pytest.approx((2 / 3) / 2)
    assert found.first_rank[0] == pytest.approx((2 + 2 + 3) / 3)


def test_a_constant_scorer_scores_what_chance_scores():
    relevant = np.arange(10_000) < 1_000  # all relevant ones first in the given order
    figures = score_rows(np.zeros((1, 10_000)), relevant[None], cutoffs=(1, 10)).metrics()
    assert figures["precision@1"] == pytest.approx(0.1)
    assert figures["precision@10"] == pytest.approx(0.1)
    assert figures["ndcg@10"] == pytest.approx(0.1)
    assert figures["recall@10"] == pytest.approx(10 / 10_000)
    assert figures["map"] == pytest.approx(0.1, abs=1e-3)
    assert figures["median_rank"] == pytest.approx(10_001 / 1_001)


def test_without_ties_the_scores_are_those_of_trec_eval_and_scikit_learn():
    rng = np.random.default_rng(0)
    queries, documents = 40, 30
    scores = rng.permutation(queries * documents).reshape(queries, documents)
    relevant = rng.random((queries, documents)) < rng.choice([0.05, 0.3, 0.9], (queries, 1))
    relevant[:, 0] |= ~relevant.any(axis=1)
    found = score_rows(scores, relevant, cutoffs=(1, 5, 50))
    named = {
        ir_measures.AP: found.average_precision,
        ir_measures.RR: 1 / found.first_rank,
        **{ir_measures.P @ k: found.precision[:, i] for i, k in enumerate(found.cutoffs)},
        **{ir_measures.R @ k: found.recall[:, i] for i, k in enumerate(found.cutoffs)},
        **{ir_measures.nDCG @ k: found.ndcg[:, i] for i, k in enumerate(found.cutoffs)},
    }
    rows = {str(q): {str(d): float(scores[q, d]) for d in range(documents)} for q in range(queries)}
    qrels = {
        str(q): {str(d): int(relevant[q, d]) for d in range(documents)} for q in range(queries)
    }
    compared = 0
    for value in ir_measures.iter_calc(list(named), qrels, rows):
        assert named[value.measure][int(value.query_id)] == pytest.approx(value.value, abs=1e-9)
        compared += 1
    assert compared == queries * len(named)
    for q in range(queries):
        expected = average_precision_score(relevant[q], scores[q])
        assert found.average_precision[q] == pytest.approx(expected)


def test_a_tie_far_down_a_long_ranking_keeps_its_precision():
    documents, before = 300_000, 250_000
    scores = -np.arange(documents, dtype=float)
    scores[before : before + 3] = scores[before]
    relevant = np.zeros(documents, bool)
    relevant[[before, before + 2]] = True
    places = [(1, 2), (1, 3), (2, 3)]
    expected = np.mean([(1 / (before + i) + 2 / (before + j)) / 2 for i, j in places])
    assert average_precision(scores, relevant) == pytest.approx(expected, rel=1e-3)
    assert average_precision(scores, relevant) == pytest.approx(expected, abs=1e-9)


def test_queries_without_relevant_documents_are_left_out_and_counted():
    scores = score_rows([[2, 1], [2, 1], [2, 1]], [[True, False], [False, False], [False, True]])
    assert scores.counted.tolist() == [True, False, True]
    figures = scores.metrics()
    assert (figures["queries"], figures["left_out"]) == (2, 1)
    assert figures["map"] == scores.mean_average_precision == pytest.approx(0.75)
    assert figures["precision@1"] == 0.5
    assert figures["median_rank"] == 1.5


def test_figures_are_undefined_where_no_query_counts():
    figures = score_rows([[2, 1]], [[False, False]], cutoffs=(1,)).metrics()
    assert (figures.pop("queries"), figures.pop("left_out")) == (0, 1)
    assert sorted(figures) == ["map", "median_rank", "ndcg@1", "precision@1", "recall@1"]
    assert np.isnan(list(figures.values())).all()


def test_what_cannot_be_ranked_is_refused():
    with pytest.raises(ValueError, match="NaN has no rank"):
        average_precision([0.5, np.nan], [True, False])
    with pytest.raises(ValueError, match=r"shape \(1, 2\), relevance of shape \(1, 3\)"):
        average_precision([0.5, 0.1], [True, False, True])
    with pytest.raises(ValueError, match=r"cutoffs=\(0, 5\): must be at least 1"):
        score_rows([[1.0]], [[True]], cutoffs=(0, 5))


def test_no_cutoffs_leave_the_figures_of_whole_rankings():
    assert score_rows([[3, 2]], [[False, True]], cutoffs=()).metrics() == {
        "map": 0.5,
        "median_rank": 2.0,
        "queries": 1,
        "left_out": 0,
    }
