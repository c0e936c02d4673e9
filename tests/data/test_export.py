"""Features from one format to another."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from scipy.sparse import csc_array

from bidnn.data.export import export
from bidnn.data.formats.arrays import read_npz, store_arrays
from bidnn.data.formats.libsvm.rows import open_libsvm
from bidnn.data.formats.libsvm.text import IndexBase
from bidnn.data.formats.matlab import read_mat
from bidnn.data.formats.npy import read_npy
from bidnn.data.formats.written import FORMATS
from bidnn.data.sources import TableSource
from bidnn.data.store import PairStore
from bidnn.model.outputs import OutputConfig

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def store():
    generator = np.random.default_rng(0)
    first, second = (generator.normal(size=(20, size)).astype("f4") for size in (3, 4))
    present = np.ones((20, 2), dtype=bool)
    present[2, 0] = present[5, 1] = present[7] = False
    labels = np.array([f"a{number % 3}" for number in range(20)])
    return PairStore(first, second, present, labels)


def assert_same(store, other):
    for own, theirs in zip(store.take(slice(None)), other.take(slice(None)), strict=True):
        np.testing.assert_array_equal(own, theirs)
    np.testing.assert_array_equal(store.present, other.present)
    np.testing.assert_array_equal(store.labels, other.labels)


@pytest.mark.parametrize("zero_based", [False, True])
def test_every_format_gives_the_same_rows_back(store, tmp_path, zero_based):
    for name in ("rows.npz", "rows.npy", "rows.parquet", "rows.txt"):
        files = export(store, tmp_path / name, zero_based=zero_based)
        if name == "rows.npz":
            found = read_npz(files["path"], ignore_zeroes=True)
        elif name == "rows.parquet":
            found = TableSource(path=str(files["path"])).open(None)
        elif name == "rows.npy":
            assert files["first"] == tmp_path / "rows_first.npy"
            found = read_npy(
                files["first"], files["second"], label=files["label"], ignore_zeroes=True
            )
        else:
            base = IndexBase.zero if zero_based else IndexBase.one
            found = open_libsvm(files["path"], 3, 4, base, ignore_zeroes=False)
        assert_same(found, store)


def test_rows_without_labels_have_none_in_arrays_and_zero_in_text(store, tmp_path):
    bare = replace(store, labels=None)
    assert set(export(bare, tmp_path / "rows.npy")) == {"first", "second"}
    assert read_npz(export(bare, tmp_path / "r.npz")["path"], ignore_zeroes=True).labels is None
    text = export(bare, tmp_path / "rows.txt")["path"].read_text()
    assert all(line.split()[0] == "0" for line in text.splitlines())


@pytest.mark.parametrize("suffix", ["h5", "mat", "csv", "json", "txt.gz", "PKL"])
def test_a_name_of_another_format_is_refused_and_nothing_is_written(store, tmp_path, suffix):
    path = tmp_path / f"rows.{suffix}"
    with pytest.raises(ValueError, match=rf"\.{suffix.split('.')[-1].lower()} is not written"):
        export(store, path)
    with pytest.raises(
        ValueError, match=r"is not written; name it \.npz, \.npy, \.parquet, or \.txt"
    ):
        OutputConfig(path=str(path))
    assert not list(tmp_path.iterdir())


def test_capital_letters_name_the_same_formats_and_unknown_names_are_text(store, tmp_path):
    path = export(store, tmp_path / "ROWS.NPZ")["path"]
    assert_same(read_npz(path, ignore_zeroes=True), store)
    for name in ("rows", "rows.svm", "rows.txt_00001", "rows.final"):
        assert export(store, tmp_path / name)["path"].read_bytes().startswith(b"a0 1:")


@pytest.mark.parametrize("name", ["rows.npz", "rows.npy", "rows.parquet", "rows.txt"])
def test_rows_that_cannot_be_read_to_their_end_leave_no_file(store, tmp_path, monkeypatch, name):
    def read_to_the_middle(_):
        yield slice(0, 10)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(PairStore, "blocks", read_to_the_middle)
    with pytest.raises(OSError, match="Input/output"):
        export(replace(store, ids=np.arange(20)), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_rows_are_written_the_same_in_many_blocks_as_in_one(store, tmp_path, monkeypatch):
    for name in ("rows.npz", "rows.npy", "rows.txt"):
        whole = [file.read_bytes() for file in export(store, tmp_path / name).values()]
        with monkeypatch.context() as patch:
            patch.setattr("bidnn.data.store.BLOCK_BYTES", 100)
            assert len(list(store.blocks())) > 5
            parts = [file.read_bytes() for file in export(store, tmp_path / name).values()]
        assert parts == whole


def test_zeros_that_are_data_are_reported_where_text_cannot_hold_them(store, tmp_path, caplog):
    store.first[0] = 0.0
    export(store, tmp_path / "rows.npz")
    assert not caplog.text
    export(store, tmp_path / "rows.txt")
    assert "1 modalities of rows are present but all zero" in caplog.text


def test_matlab_files_are_read_dense_or_sparse(store, tmp_path):
    first, second = store.take(slice(None))
    first[~store.present[:, 0]] = np.nan
    cells = np.array(store.labels.tolist(), dtype=object)[:, None]
    path = tmp_path / "rows.mat"
    savemat(path, {"text": first, "image": csc_array(second), "y": cells}, do_compression=True)
    found = read_mat(path, ("text", "image"), label="y", ignore_zeroes=False)
    assert_same(found, store)
    savemat(path, {"text": first, "image": second, "y": np.arange(20.0)})
    assert read_mat(path, ("text", "image"), label="y", ignore_zeroes=True).labels[3] == "3.0"


def test_matlab_files_that_cannot_be_read_are_refused(tmp_path):
    path = tmp_path / "rows.mat"
    savemat(path, {"first": np.ones((3, 2)), "second": np.ones((4, 2))})
    with pytest.raises(ValueError, match="first has 3 rows, second 4"):
        read_mat(path, ("first", "second"), ignore_zeroes=True)
    with pytest.raises(ValueError, match=r"rows\.mat: no variable image"):
        read_mat(path, ("first", "image"), ignore_zeroes=True)
    with pytest.raises(ValueError, match=r"crashes_scipy\.mat: no readable \.mat file"):
        read_mat(GOLDEN / "crashes_scipy.mat", ("first", "second"), ignore_zeroes=True)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"rows\.mat"):
        read_mat(path, ("first", "second"), ignore_zeroes=True)
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(500))
    with pytest.raises(ValueError, match="save -v7"):
        read_mat(path, ("first", "second"), ignore_zeroes=True)


def test_reading_matlab_files_runs_nothing_that_lies_in_the_current_folder(tmp_path, monkeypatch):
    path = tmp_path / "rows.mat"
    savemat(path, {"first": np.ones((3, 2)), "second": np.ones((3, 2))})
    for name in ("pickle", "scipy", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('from the current folder')")
    monkeypatch.chdir(tmp_path)
    assert len(read_mat(path, ("first", "second"), ignore_zeroes=True)) == 3


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_the_room_that_is_asked_for_holds_values_labels_and_what_waits(tmp_path, suffix):
    rows = np.ones((2000, 3), np.float32)
    labels = np.array([f"a long label, {number:080}" for number in range(2000)])
    store = store_arrays(rows, np.ones((2000, 50), np.float32), labels=labels)
    files = set(export(store, tmp_path / f"out{suffix}").values())
    written = sum(file.stat().st_size for file in files)
    waits = rows.itemsize * 2000 * 50 if suffix == ".npz" else 0
    room = FORMATS[suffix].room(store, (3, 50), joined=False)
    assert written + waits - 2000 < room < written + waits + 5000
