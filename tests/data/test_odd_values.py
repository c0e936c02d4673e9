"""Masks, labels and vectors of odd types: read as what they are, or refused."""

import zipfile

import numpy as np
import pytest
from scipy import sparse
from scipy.io import savemat

from bidnn import BiDNN
from bidnn.data.formats.arrays import read_npz, store_arrays
from bidnn.data.formats.matlab import read_mat
from bidnn.data.vectors import read_vectors
from bidnn.errors import UserError

ONES = np.ones((2, 2))
STRUCTURED = np.array([(1, 2.0), (3, 4.0)], dtype=[("a", "i4"), ("b", "f4")])


def npz(tmp_path, **arrays):
    path = tmp_path / "rows.npz"
    np.savez(path, **{"first": ONES, "second": ONES, "embedding": ONES, **arrays})
    return path


@pytest.mark.parametrize("mask", [["False", "True"], [np.nan, 1.0], [2, 1], [b"0", b"1"], [1j, 0]])
def test_a_mask_that_is_no_true_and_false_is_refused(tmp_path, mask):
    path = npz(tmp_path, present_first=np.array(mask), present=np.array([mask, mask]))
    with pytest.raises(UserError, match=r"first: a mask of type .* not of true and false"):
        read_npz(path, ignore_zeroes=True)
    with pytest.raises(UserError, match="present: a mask of type"):
        read_vectors(path)


@pytest.mark.parametrize("kind", [bool, int, float, np.uint8])
def test_a_mask_of_ones_and_zeros_is_one(tmp_path, kind):
    path = npz(tmp_path, present_first=np.array([0, 1], kind), present=np.eye(2, dtype=kind))
    store = read_npz(path, ignore_zeroes=True)
    assert store.present.tolist() == [[False, True], [True, True]]
    assert read_vectors(path).present.tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize("values", [1j * ONES, np.array([["2026-01-02"] * 2] * 2, "M8[D]")])
def test_vectors_and_features_that_are_no_real_numbers_are_refused(tmp_path, values):
    np.save(tmp_path / "v.npy", values)
    with pytest.raises(UserError, match="a matrix of numbers is needed"):
        read_vectors(tmp_path / "v.npy")
    with pytest.raises(UserError, match="not a numeric type"):
        store_arrays(values, ONES)


def test_a_sparse_matrix_keeps_its_imaginary_parts_until_it_is_refused():
    with pytest.raises(UserError, match="complex128 is not a numeric type"):
        BiDNN(epochs=1).fit(sparse.csr_array(1j * ONES), ONES)
    with pytest.raises(UserError, match="complex"):
        BiDNN(mod1size=1, mod2size=1).load_dataset(sparse.csr_array(1j * ONES))


def test_labels_of_bytes_are_utf_8(tmp_path):
    names = [name.encode() for name in ("é", "x")]
    for labels in (np.array(names), np.array(names, dtype=object)):
        assert store_arrays(ONES, ONES, labels=labels).labels.tolist() == ["é", "x"]
    path = npz(tmp_path, label=np.array(names))
    assert read_vectors(path).labels.tolist() == ["é", "x"]
    path = npz(tmp_path, label=np.array([b"\xe9", b"x"]))
    for read in (read_vectors, lambda path: read_npz(path, ignore_zeroes=True)):
        with pytest.raises(UserError, match=r"rows\.npz: a label is not UTF-8"):
            read(path)


def test_structured_labels_are_refused(tmp_path):
    path = npz(tmp_path, label=STRUCTURED)
    for read in (read_vectors, lambda path: read_npz(path, ignore_zeroes=True)):
        with pytest.raises(UserError, match="each must be one text or number"):
            read(path)


def test_members_of_an_archive_that_are_no_npy_are_refused(tmp_path):
    path = tmp_path / "rows.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("first", "second", "embedding.npy"):
            archive.writestr(name, "hello")
    with pytest.raises(UserError, match=r"rows\.npz.* member first is no npy file"):
        read_npz(path, ignore_zeroes=True)
    with pytest.raises(UserError, match=r"rows\.npz.* member embedding is no npy file"):
        read_vectors(path)


CELLS = np.array([{"a": 1.0}, "x"], dtype=object)
NUMBERS = np.array([np.array([1.0, 2.0]), "x"], dtype=object)


@pytest.mark.parametrize("label", [{"a": 1, "b": [1, 2]}, STRUCTURED, CELLS, NUMBERS])
def test_struct_labels_of_mat_files_are_refused(tmp_path, label):
    savemat(tmp_path / "rows.mat", {"first": ONES, "second": ONES, "label": label})
    with pytest.raises(UserError, match=r"rows\.mat.*each must be one text or number"):
        read_mat(tmp_path / "rows.mat", ("first", "second"), label="label", ignore_zeroes=True)


def test_cells_and_sparse_vectors_are_labels(tmp_path):
    cells = np.array(["é", 2.0], dtype=object)
    for label, expected in (
        (cells, ["é", "2.0"]),
        (sparse.csc_array([[0.0], [3.0]]), ["0.0", "3.0"]),
    ):
        savemat(tmp_path / "rows.mat", {"first": ONES, "second": ONES, "label": label})
        store = read_mat(
            tmp_path / "rows.mat", ("first", "second"), label="label", ignore_zeroes=True
        )
        assert store.labels.tolist() == expected
