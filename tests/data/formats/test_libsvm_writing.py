"""libsvm text written: read back to the bit, by scikit-learn too, in the fewest digits."""

import io
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.sparse import csr_array
from sklearn.datasets import load_svmlight_file

from bidnn.data.formats.libsvm.text import IndexBase, read_libsvm, write_libsvm
from tests.data.formats.libsvm_files import FIRST, SECOND, SIZE, float32, save, written

label_texts = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\t\n\v\f\r #:"), min_size=1, max_size=8
).filter(lambda text: not text.startswith("\ufeff"))
tables = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.just(SIZE)),
    elements=st.one_of(st.just(0.0), float32, st.integers(-999, 999).map(lambda n: n / 8)),
)


@given(rows=tables, data=st.data(), zero_based=st.booleans())
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read_back_to_the_bit(folder, rows, data, zero_based):
    labels = data.draw(st.lists(label_texts, min_size=len(rows), max_size=len(rows)))
    path = save(folder, written(rows, labels, zero_based=zero_based))
    base = IndexBase.zero if zero_based else IndexBase.one
    read = read_libsvm(path, FIRST, SECOND, index_base=base)
    assert read.matrix.dtype == np.float32
    np.testing.assert_array_equal(read.matrix.toarray(), rows)
    assert read.labels.tolist() == labels
    assert read.matrix.nnz == np.count_nonzero(rows)
    assert read.matrix.has_sorted_indices


@given(rows=tables, zero_based=st.booleans())
@settings(max_examples=100, deadline=None)
def test_scikit_learn_reads_what_is_written(folder, rows, zero_based):
    labels = [f"{row - 2}" for row in range(len(rows))]
    path = save(folder, written(rows, labels, zero_based=zero_based))
    matrix, targets = load_svmlight_file(
        str(path), n_features=SIZE, dtype=np.float32, zero_based=zero_based
    )
    np.testing.assert_array_equal(matrix.toarray(), rows)
    assert targets.tolist() == [float(label) for label in labels]


def test_every_kind_of_float32_survives_in_large_numbers(tmp_path):
    draw = np.random.default_rng(0)
    bits = draw.integers(0, 2**32, 40_000, dtype=np.uint32).view(np.float32)
    decimals = [float(f"{value:.5g}") for value in 10.0 ** draw.uniform(-7, 7, 40_000)]
    powers = 10.0 ** np.arange(-44, 39)
    values = np.concatenate([bits[np.isfinite(bits)], decimals, powers, -powers])
    values = values[: values.size // 50 * 50].astype(np.float32).reshape(-1, 50)
    path = save(tmp_path, written(values, ["1"] * len(values)))
    read = read_libsvm(path, 20, 30, index_base=IndexBase.one).matrix.toarray()
    np.testing.assert_array_equal(read, values)


def test_values_are_written_with_the_fewest_digits():
    values = np.array([[0.1, -2.5, 100, 1 / 3, 16777216, 1e-10, 0]], dtype=np.float32)
    assert written(values, ["cat"]) == (b"cat 1:0.1 2:-2.5 3:100 4:0.33333334 5:16777216 6:1e-10\n")


def test_written_values_are_as_short_as_numpys():
    exponents = np.random.default_rng(3).uniform(-44, 38, 3000)
    values = np.array([float(f"{v:.{n % 10}e}") for n, v in enumerate(10.0**exponents)], np.float32)
    texts = [token.split(b":")[1].decode() for token in written(values[None], ["a"]).split()[1:]]
    np.testing.assert_array_equal(np.array(texts, np.float64).astype(np.float32), values)
    shortest = [np.format_float_scientific(value, trim="-") for value in values]
    assert [digits(text) for text in texts] == [digits(text) for text in shortest]


def digits(text: str) -> int:
    """The number of a decimal's significant digits."""
    return len(Decimal(text).normalize().as_tuple().digits)


@given(rows=tables)
@settings(max_examples=50, deadline=None)
def test_dense_and_sparse_rows_give_the_same_bytes(rows):
    labels = ["a"] * len(rows)
    row_of, columns = np.indices(rows.shape).reshape(2, -1)[:, ::-1]
    with_zeros = csr_array((rows[row_of, columns], (row_of, columns)), shape=rows.shape)
    assert written(with_zeros, labels) == written(rows, labels)
    assert written(csr_array(rows), labels) == written(rows, labels)


def test_blocks_written_one_after_the_other_are_one_file():
    rows = np.random.default_rng(1).standard_normal((9, SIZE)).astype(np.float32)
    labels = [str(row) for row in range(9)]
    file = io.BytesIO()
    for start in range(0, 9, 4):
        write_libsvm(file, rows[start : start + 4], labels[start : start + 4])
    assert file.getvalue() == written(rows, labels)


def test_many_rows_are_written_in_order(tmp_path):
    rows = np.arange(40_000 * SIZE, dtype=np.float32).reshape(-1, SIZE) + 1
    labels = [str(row) for row in range(len(rows))]
    read = read_libsvm(save(tmp_path, written(rows, labels)), FIRST, SECOND)
    np.testing.assert_array_equal(read.matrix.toarray(), rows)
    assert read.labels.tolist() == labels


@pytest.mark.parametrize(
    "label", ["", "a b", "a:1", "#", "a\n", "a\0", "\ufeffa", "\ud800", "x" * 1001]
)
def test_a_label_that_would_not_come_back_is_not_written(label):
    with pytest.raises(ValueError, match=r"row 1: the label .* cannot be written"):
        written(np.ones((2, 1)), ["fine", label])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize("make", [np.asarray, csr_array])
def test_a_value_that_is_not_finite_is_not_written(make, value):
    with pytest.raises(ValueError, match="row 1, column 2: the value is not finite"):
        written(make(np.array([[1, 2, 3], [0, 1, value]])), ["a", "b"])


def test_rows_and_labels_must_fit():
    with pytest.raises(ValueError, match="2 rows but 1 labels"):
        written(np.ones((2, 1)), ["a"])
    with pytest.raises(ValueError, match="a matrix is needed"):
        written(np.ones(2), ["a", "b"])
