"""Fingerprints of rows: equal for equal rows, wherever they are, and others for others."""

import struct
from dataclasses import replace
from hashlib import blake2b

import numpy as np
import pytest
from scipy import sparse

from bidnn.data.export import export
from bidnn.data.fingerprints import fingerprints
from bidnn.data.formats.arrays import read_npz, store_arrays
from bidnn.data.sources import NpySource, TableSource

ROWS = 200


@pytest.fixture
def store():
    generator = np.random.default_rng(0)
    first, second = (generator.normal(size=(ROWS, size)).astype("f4") for size in (3, 5))
    first[10:20], second[15:30] = np.nan, np.nan
    return store_arrays(first, second, ids=np.arange(ROWS))


def test_equal_rows_have_equal_ones_in_every_format_order_and_block(store, tmp_path, monkeypatch):
    expected = fingerprints(store)
    assert expected.dtype == np.int64
    empty = ~store.present.any(axis=1)
    assert len(set(expected.tolist())) == ROWS - empty.sum() + 1
    files = export(store, tmp_path / "rows.parquet")
    found = fingerprints(TableSource(path=str(files["path"])).open(None))
    np.testing.assert_array_equal(found, expected)
    files = export(store, tmp_path / "rows.npz")
    np.testing.assert_array_equal(
        fingerprints(read_npz(files["path"], ignore_zeroes=True)), expected
    )
    files = export(replace(store, labels=None), tmp_path / "rows.npy")
    given = {key: str(file) for key, file in files.items()}
    np.testing.assert_array_equal(fingerprints(NpySource(**given).open(None)), expected)
    rows = np.random.default_rng(1).permutation(ROWS)[:50]
    np.testing.assert_array_equal(fingerprints(store, rows), expected[rows])
    monkeypatch.setattr("bidnn.data.store.BLOCK_BYTES", 100)
    np.testing.assert_array_equal(fingerprints(store), expected)
    np.testing.assert_array_equal(fingerprints(store, rows), expected[rows])


def test_each_value_and_what_is_present_counts_and_what_is_missing_does_not(store):
    before = fingerprints(store)
    for number, part in enumerate((store.first, store.second)):
        for column in range(part.shape[1]):
            changed = part.copy()
            changed[5, column] = np.nextafter(changed[5, column], np.float32(9))
            changed[15] = 77  # which is missing all the same
            other = replace(store, **{("first", "second")[number]: changed})
            assert np.flatnonzero(fingerprints(other) != before).tolist() == [5]
    present = store.present.copy()
    present[3, 1] = False
    assert np.flatnonzero(fingerprints(replace(store, present=present)) != before).tolist() == [3]
    lost = replace(store, first=np.zeros_like(store.first))
    there = store.present.copy()
    there[7, 0] = False  # zeros that are there, and a modality that is not
    assert fingerprints(lost)[7] != fingerprints(replace(lost, present=there))[7]


def test_how_values_are_stored_does_not_count(store):
    rows = np.abs(store.take(slice(0, 10))[0]).round(1)
    rows[:, 1] = 0
    dense, negative = rows.astype("f8"), rows.copy()
    negative[:, 1] = -0.0
    expected = fingerprints(store_arrays(rows, rows))
    for other in (dense, negative, sparse.csr_array(rows)):
        np.testing.assert_array_equal(fingerprints(store_arrays(other, other)), expected)


def test_they_are_blake2b_of_flags_and_values_and_stay_so_from_version_to_version():
    first = np.arange(6, dtype=np.float32).reshape(2, 3) - 2
    second = np.array([[0.5, -1.25], [np.nan, np.nan]], np.float32)
    rows = [
        struct.pack("<??5f", 1, 1, -2, -1, 0, 0.5, -1.25),
        struct.pack("<??5f", 1, 0, 1, 2, 3, 0, 0),
    ]
    expected = [struct.unpack("<q", blake2b(row, digest_size=8).digest())[0] for row in rows]
    assert fingerprints(store_arrays(first, second)).tolist() == expected
