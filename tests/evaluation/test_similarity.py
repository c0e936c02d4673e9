import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from bidnn.evaluation import similarity as module
from bidnn.evaluation.similarity import LEAST, STEPS, similarities


def all_of(*arguments, **options):
    blocks = list(similarities(*arguments, **options))
    assert [rows.start for rows, _ in blocks[1:]] == [rows.stop for rows, _ in blocks[:-1]]
    return np.concatenate([values for _, values in blocks])


@pytest.mark.parametrize("block_rows", [1, 7, 64, None])
def test_equal_rows_have_equal_similarities_wherever_they_stand(block_rows, monkeypatch):
    monkeypatch.setattr(module, "TILE_ELEMENTS", 2**14)
    rng = np.random.default_rng(0)
    queries = rng.normal(size=(53, 301)).astype(np.float32)
    documents = rng.normal(size=(61, 301)).astype(np.float32)
    few = all_of(queries, documents)
    many = all_of(np.tile(queries, (5, 1)), np.tile(documents, (7, 1)), block_rows=block_rows)
    assert np.array_equal(many, np.tile(few, (5, 7)))


def test_cosines_are_right_to_the_documented_step():
    rng = np.random.default_rng(1)
    queries, documents = rng.normal(size=(20, 4000)), rng.normal(size=(30, 4000)) + 0.5
    expected = cosine_similarity(queries, documents)
    assert np.abs(all_of(queries, documents) / STEPS - expected).max() < 1 / STEPS


def test_numbers_at_the_ends_of_the_range_have_their_cosine():
    rows = np.array([[1e200, 1e200], [1e-200, 0.0], [3e-310, -3e-310], [0.0, 0.0]])
    half = np.sqrt(0.5)
    expected = [[1, half, 0, 0], [half, 1, half, 0], [0, half, 1, 0], [0, 0, 0, 0]]
    assert all_of(rows, rows) / STEPS == pytest.approx(np.array(expected), abs=1 / STEPS)


def test_whole_numbers_and_flags_are_vectors_too():
    assert all_of(np.array([[3, 4]], np.int8), np.array([[True, False]])).tolist() == [
        [round(0.6 * STEPS)]
    ]
    assert all_of(np.array([[-128, 0]], np.int8), np.array([[1.0, 0.0]])).tolist() == [[-STEPS]]


def test_dot_products_order_documents_by_their_dot_products():
    rng = np.random.default_rng(2)
    queries = rng.normal(size=(6, 5))
    documents = rng.normal(size=(40, 5)) * rng.uniform(0.1, 9, (40, 1))
    dots = queries @ documents.T
    found = all_of(queries, documents, similarity="dot")
    assert np.array_equal(np.argsort(found, axis=1), np.argsort(dots, axis=1))
    among_themselves = all_of(documents, documents, similarity="dot")
    assert np.array_equal(among_themselves, all_of(documents, documents.copy(), similarity="dot"))
    longest = np.linalg.norm(documents, axis=1).max()
    scale = np.linalg.norm(queries, axis=1, keepdims=True) * longest
    assert found / STEPS == pytest.approx(dots / scale, abs=1 / STEPS)


@pytest.mark.parametrize("block_rows", [2, None])
def test_a_row_is_below_all_others_to_itself(block_rows):
    rows = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
    found = all_of(rows, rows, exclude_self=True, block_rows=block_rows)
    assert np.diag(found).tolist() == [LEAST] * 3
    assert found[0, 1] == found[1, 0] == -STEPS


def test_no_rows_give_no_blocks():
    assert list(similarities(np.zeros((0, 3)), np.ones((4, 3)))) == []
    assert all_of(np.ones((4, 3)), np.zeros((0, 3))).shape == (4, 0)


def test_what_cannot_be_compared_is_refused():
    two, three = np.ones((4, 2)), np.ones((4, 3))
    with pytest.raises(ValueError, match="queries have 2 columns and documents 3"):
        similarities(two, three)
    with pytest.raises(ValueError, match="4 queries and 3 documents are not the same rows"):
        similarities(two, two[:3], exclude_self=True)
    with pytest.raises(ValueError, match="block_rows=0"):
        similarities(two, two, block_rows=0)
    with pytest.raises(ValueError, match="similarity='cos'"):
        similarities(two, two, similarity="cos")
    with pytest.raises(ValueError, match="documents: an array of numbers"):
        similarities(two, np.ones(4))
    with pytest.raises(ValueError, match="queries: an array of numbers"):
        similarities(np.array([["a", "b"]]), two)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_refused_with_its_row(number):
    rows = np.ones((4, 2), np.float32)
    rows[2, 1] = number
    with pytest.raises(ValueError, match="documents, row 2: holds a number that is not finite"):
        similarities(np.ones((4, 2)), rows)
