"""The rows, and which of their modalities are there."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from bidnn.data import mapping
from bidnn.data.formats.arrays import store_arrays
from bidnn.data.store import Modality, PairStore, find_present
from tests.reading import of_files


def complete_store(rows, labels=None):
    generator = np.random.default_rng(0)
    return PairStore(
        generator.normal(size=(rows, 2)).astype(np.float32),
        generator.normal(size=(rows, 3)).astype(np.float32),
        np.ones((rows, 2), dtype=bool),
        labels,
    )


@given(
    rows=st.integers(0, 60),
    rate=st.floats(0, 1),
    seed=st.integers(0, 2**31),
    modality=st.sampled_from(list(Modality)),
)
def test_the_missing_rate_is_the_share_of_complete_rows_that_lose_one_modality(
    rows, rate, seed, modality
):
    store = complete_store(rows)
    dropped = store.drop(rate, seed, modality)
    lost = ~dropped.present
    assert lost.sum() == round(rate * rows)
    assert (lost.sum(axis=1) <= 1).all()
    if modality is Modality.first:
        assert not lost[:, 1].any()
    if modality is Modality.second:
        assert not lost[:, 0].any()
    np.testing.assert_array_equal(dropped.present, store.drop(rate, seed, modality).present)
    assert store.present.all()


def test_either_is_a_fair_coin():
    lost = ~complete_store(4000).drop(0.5, 1).present
    assert abs(int(lost[:, 0].sum()) - 1000) < 150


def test_a_rate_that_is_no_share_is_refused():
    with pytest.raises(ValueError, match=r"data\.missing_rate=1\.5"):
        complete_store(3).drop(1.5, 0)


def test_what_is_missing_is_taken_as_zeros_whatever_lies_there():
    store = complete_store(4)
    first = store.first.copy()
    first[1] = np.nan
    hidden = PairStore(first, store.second, np.array([[1, 1], [0, 1], [1, 0], [1, 1]], bool))
    left, right = hidden.take(np.array([1, 2, 3]))
    np.testing.assert_array_equal(left, [[0, 0], first[2], first[3]])
    np.testing.assert_array_equal(right, [store.second[1], [0, 0, 0], store.second[3]])
    assert left.dtype == right.dtype == np.float32


def test_sparse_and_dense_rows_are_taken_alike():
    store = complete_store(5)
    thin = PairStore(sparse.csr_array(store.first), sparse.csr_array(store.second), store.present)
    for rows in (slice(1, 4), np.array([4, 0])):
        for one, other in zip(store.take(rows), thin.take(rows), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_row_is_missing_if_masked_or_nan_or_if_asked_for_zero():
    values = np.array([[1, 2], [np.nan, np.nan], [0, 0], [3, 0]])
    masked = np.array([True, True, True, False])
    found = find_present(values, masked, ignore_zeroes=True, name="x")
    np.testing.assert_array_equal(found, [True, False, True, False])
    found = find_present(values, None, ignore_zeroes=False, name="x")
    np.testing.assert_array_equal(found, [True, False, False, True])
    thin = sparse.csr_array(np.nan_to_num(values))
    found = find_present(thin, None, ignore_zeroes=False, name="x")
    np.testing.assert_array_equal(found, [True, False, False, True])


@pytest.mark.parametrize("bad", [np.inf, -np.inf, 1e39, np.nan])
def test_rows_that_are_not_finite_are_refused_by_number_unless_they_are_masked(bad):
    values = np.ones((4, 2))
    values[2, 1] = bad
    with pytest.raises(ValueError, match="x, row 2 counted from 0"):
        find_present(values, None, ignore_zeroes=True, name="x")
    masked = np.array([True, True, False, True])
    np.testing.assert_array_equal(
        find_present(values, masked, ignore_zeroes=True, name="x"), masked
    )


def test_matrices_of_other_rows_are_refused():
    one, two = np.ones((3, 2)), np.ones((4, 2))
    with pytest.raises(ValueError, match="first has 3 rows, second 4"):
        store_arrays(one, two)
    with pytest.raises(ValueError, match="second has shape"):
        store_arrays(one, np.ones(3))
    with pytest.raises(ValueError, match="2 labels for 3 rows"):
        store_arrays(one, one, labels=np.array(["a", "b"]))
    with pytest.raises(ValueError, match="not a numeric type"):
        store_arrays(one, np.array([["a", "b"]] * 3))


def test_the_description_counts_what_is_missing():
    present = np.array([[1, 1], [1, 0], [0, 0]], bool)
    store = PairStore(np.ones((3, 2)), np.ones((3, 5)), present, name="f.npz")
    assert store.describe() == "f.npz: 3 rows of 2 + 5 (1 complete, 1 without second, 1 empty)"
    none = PairStore(np.ones((0, 2)), np.ones((0, 5)), np.ones((0, 2), bool), name="f.npz")
    assert none.describe() == "f.npz: 0 rows of 2 + 5"


@pytest.mark.skipif(of_files() is None, reason="only Linux says it")
def test_large_mapped_files_are_let_go_once_they_are_read(tmp_path, monkeypatch):
    values = np.random.default_rng(0).normal(size=(4000, 2000)).astype(np.float32)
    np.save(tmp_path / "values.npy", values)
    mapped = np.load(tmp_path / "values.npy", mmap_mode="r")
    monkeypatch.setattr(mapping, "LET_GO_FROM", values.nbytes)
    before, little = of_files(), values.nbytes / 4
    present = find_present(mapped, None, ignore_zeroes=False, name="values")
    assert of_files() - before < little
    store = PairStore(mapped, values[:, :5], np.stack([present, present], axis=1))
    np.testing.assert_array_equal(store.take(np.arange(3000))[0], values[:3000])
    assert of_files() - before < little
    np.testing.assert_array_equal(store.load(np.arange(0, 4000, 2)).first, values[::2])
    assert of_files() - before < little
    mapped.sum()
    assert of_files() - before > values.nbytes * 3 / 4


def test_changes_of_a_mapped_array_that_are_in_memory_only_are_kept(tmp_path, monkeypatch):
    np.save(tmp_path / "values.npy", np.ones((1000, 10), dtype=np.float32))
    mapped = np.load(tmp_path / "values.npy", mmap_mode="c")
    monkeypatch.setattr(mapping, "LET_GO_FROM", 1)
    mapped[:] = 2.0
    store = PairStore(mapped, mapped, np.ones((1000, 2), dtype=bool))
    assert (store.take(slice(None))[0] == 2.0).all()
    assert (store.take(slice(None))[1] == 2.0).all()
