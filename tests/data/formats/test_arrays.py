"""NumPy and libsvm files as rows, and what is answered to broken ones."""

import gzip
import io
import math
import pickle

import numpy as np
import pytest

from bidnn.data.formats.arrays import read_npz, store_arrays
from bidnn.data.formats.digits import load_halves
from bidnn.data.formats.npy import read_npy
from bidnn.data.sources import SOURCES, LibsvmSource, NpySource, NpzSource


@pytest.fixture
def pair():
    generator = np.random.default_rng(0)
    return generator.normal(size=(6, 2)), generator.normal(size=(6, 3)).astype(np.float32)


def test_npz_masks_nan_and_labels_say_what_is_there(pair, tmp_path):
    first, second = pair
    first[0], second[1] = np.nan, 0
    masks = {"present_first": np.array([1, 0, 1, 1, 1, 1]), "present_second": np.ones(6, bool)}
    label = np.array([1, 2, 3, 4, 5, 6])
    np.savez(tmp_path / "f.npz", first=first, second=second, label=label, **masks)
    store = read_npz(tmp_path / "f.npz", ignore_zeroes=True)
    np.testing.assert_array_equal(store.present[:, 0], [0, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(store.present[:, 1], np.ones(6))
    assert store.labels.tolist() == ["1", "2", "3", "4", "5", "6"]
    store = read_npz(tmp_path / "f.npz", ignore_zeroes=False)
    np.testing.assert_array_equal(store.present[:, 1], [1, 0, 1, 1, 1, 1])
    left, right = store.take(slice(2, 6))
    np.testing.assert_array_equal(left, first[2:].astype(np.float32))
    np.testing.assert_array_equal(right, second[2:])


def test_arrays_of_an_npz_that_are_not_used_are_named_in_one_line(pair, tmp_path, caplog):
    caplog.set_level("INFO")
    path = tmp_path / "f.npz"
    np.savez(path, first=pair[0], second=pair[1], name=np.arange(6), url=np.arange(6))
    read_npz(path, ignore_zeroes=True)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: not used: name, url; used: first, second, label, id, present_first, "
        "present_second"
    ]
    caplog.clear()
    np.savez(path, first=pair[0], second=pair[1], label=np.arange(6))
    read_npz(path, ignore_zeroes=True)
    assert not caplog.records


def test_npy_pairs_are_mapped_not_read(pair, tmp_path):
    for name, values in zip(("first", "second"), pair, strict=True):
        np.save(tmp_path / f"{name}.npy", values)
    store = read_npy(tmp_path / "first.npy", tmp_path / "second.npy", ignore_zeroes=True)
    assert isinstance(store.first, np.memmap)
    assert isinstance(store.second, np.memmap)
    np.testing.assert_array_equal(store.take(slice(None))[1], pair[1])


def broken(kind, path, pair):
    buffer = io.BytesIO()
    np.savez(buffer, first=pair[0], second=pair[1])
    whole = buffer.getvalue()
    if kind == "pickled":
        np.savez(path, first=np.array([{}], dtype=object), second=pair[1])
    elif kind == "text":
        np.savez(path, first=np.array([["a"]] * 6), second=pair[1])
    elif kind == "rows":
        np.savez(path, first=pair[0][1:], second=pair[1])
    elif kind == "flat":
        np.savez(path, first=pair[0][0], second=pair[1])
    elif kind == "partly nan":
        pair[0][3, 1] = np.nan
        np.savez(path, first=pair[0], second=pair[1])
    elif kind == "no second":
        np.savez(path, first=pair[0])
    elif kind == "npy":
        with path.open("wb") as file:
            np.save(file, pair[0])
    else:
        contents = {"empty": b"", "cut": whole[:-30], "half": whole[:300], "words": b"hello"}
        contents["pickle"] = pickle.dumps({"first": 1})
        path.write_bytes(contents[kind])


KINDS = ("empty", "cut", "half", "words", "pickle", "pickled", "text", "rows", "flat")


@pytest.mark.parametrize("kind", [*KINDS, "partly nan", "no second", "npy"])
def test_a_broken_npz_is_refused_in_one_line_that_names_it(kind, pair, tmp_path):
    path = tmp_path / "broken.npz"
    broken(kind, path, pair)
    with pytest.raises(ValueError, match=r"broken\.npz") as caught:
        read_npz(path, ignore_zeroes=True)
    assert "\n" not in str(caught.value)
    assert "unsafe" not in str(caught.value)
    if kind in ("words", "pickle"):
        assert "no readable npz file (its first bytes are those of no such file)" in str(
            caught.value
        )


def test_files_that_are_not_there_and_folders_are_told_apart(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_npz(tmp_path / "none.npz", ignore_zeroes=True)
    with pytest.raises(IsADirectoryError, match="a folder"):
        read_npz(tmp_path, ignore_zeroes=True)
    np.savez(tmp_path / "f.npz", first=np.ones((2, 2)))
    with pytest.raises(ValueError, match="use data=npz"):
        read_npy(tmp_path / "f.npz", tmp_path / "f.npz", ignore_zeroes=True)


def test_a_libsvm_file_is_split_and_zeros_are_missing_unless_they_are_ignored(tmp_path):
    text = "+1 1:0.5 3:2\n3,7 1:1\ncat 4:3\n0\n"
    path = tmp_path / "rows.txt.gz"
    path.write_bytes(gzip.compress(text.encode()))
    store = LibsvmSource(path=str(path), mod1size=2, mod2size=3).open(None)
    assert store.labels.tolist() == ["+1", "3,7", "cat", "0"]
    np.testing.assert_array_equal(store.present, [[1, 1], [1, 0], [0, 1], [0, 0]])
    left, right = store.take(slice(None))
    np.testing.assert_array_equal(left, [[0.5, 0], [1, 0], [0, 0], [0, 0]])
    np.testing.assert_array_equal(right, [[2, 0, 0], [0, 0, 0], [0, 3, 0], [0, 0, 0]])
    store = LibsvmSource(path=str(path), ignore_zeroes=True).open((2, 3))
    assert store.present.all()
    with pytest.raises(ValueError, match=r"data\.mod1size=…"):
        LibsvmSource(path=str(path)).open(None)
    with pytest.raises(ValueError, match=r"data\.path is not given"):
        LibsvmSource(mod1size=2, mod2size=3).open(None)


def test_thin_rows_stay_sparse(tmp_path):
    path = tmp_path / "thin.txt"
    path.write_text("".join(f"1 {i + 1}:1 100001:1\n" for i in range(20)))
    store = LibsvmSource(path=str(path), mod1size=100_000, mod2size=2).open(None)
    assert not isinstance(store.first, np.ndarray)
    assert isinstance(store.second, np.ndarray)
    assert store.take(slice(0, 2))[0].shape == (2, 100_000)


def test_validation_files_are_read_like_the_others(pair, tmp_path):
    np.savez(tmp_path / "f.npz", first=pair[0], second=pair[1])
    np.save(tmp_path / "one.npy", pair[0])
    assert NpzSource(path="x").open_validation(None) is None
    assert len(NpzSource(val_path=str(tmp_path / "f.npz")).open_validation(None)) == 6
    with pytest.raises(ValueError, match=r"data\.val_second is not given"):
        NpySource(val_first=str(tmp_path / "one.npy")).open_validation(None)


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("batch_size", -4, "data.batch_size=-4: must be at least 1"),
        ("batch_size", 0, "data.batch_size=0: must be at least 1"),
        ("val_fraction", 1.0, r"data.val_fraction=1.0: must be in \[0, 1\)"),
        ("val_fraction", -0.1, r"data.val_fraction=-0.1: must be in \[0, 1\)"),
        ("val_fraction", math.nan, r"data.val_fraction=nan: must be in \[0, 1\)"),
        ("missing_rate", 1.1, r"data.missing_rate=1.1: a share of rows, in \[0, 1\]"),
        ("missing_rate", math.nan, r"data.missing_rate=nan: a share of rows, in \[0, 1\]"),
    ],
)
def test_a_source_refuses_values_out_of_their_ranges(key, value, match):
    for source in SOURCES.values():
        with pytest.raises(ValueError, match=match):
            source(**{key: value})


def test_a_source_names_the_keys_that_say_what_to_validate_on():
    assert NpySource(first="a", second="b").validation_keys == []
    assert NpySource(val_first="a", val_second="b").validation_keys == [
        "data.val_first",
        "data.val_second",
    ]
    npz = NpzSource(val_fraction=0.1, val_path="a")
    assert npz.validation_keys == ["data.val_fraction", "data.val_path"]


def test_the_digits_are_cut_into_an_upper_and_a_lower_half():
    store = load_halves()
    assert (len(store), store.mod1size, store.mod2size) == (1797, 32, 32)
    assert store.labels[:3].tolist() == ["0", "1", "2"]
    assert (store.first.min(), store.first.max()) == (0, 1)
    assert store.present.all()


def test_an_archive_whose_offsets_are_wrong_is_refused_by_name(pair, tmp_path):
    """Found by fuzz/archives.py: seeking there is an OSError without the file's name."""
    path = tmp_path / "features.npz"
    np.savez(path, first=pair[0], second=pair[1])
    content = bytearray(path.read_bytes())
    end = content.rindex(b"PK\x05\x06")
    content[end + 16 : end + 20] = (0xFFFFFF00).to_bytes(4, "little")  # the directory's offset
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"features\.npz: no readable npz file"):
        read_npz(path, ignore_zeroes=True)


def test_a_masked_row_is_missing_and_what_is_hidden_is_never_read():
    values = np.array([[1.0, 2.0], [99.0, 99.0], [3.0, 4.0]])
    first = np.ma.masked_array(values, mask=[[0, 0], [1, 1], [0, 0]])
    store = store_arrays(first, np.ones((3, 2)))
    assert store.present[:, 0].tolist() == [True, False, True]
    assert not (store.take(slice(None))[0] == 99).any()
    partly = np.ma.masked_array(values, mask=[[0, 0], [0, 1], [0, 0]])
    with pytest.raises(ValueError, match=r"arrays, second, row 1 .* masked in a part"):
        store_arrays(first, partly)
    labels = np.ma.masked_array([1, 2, 3], mask=[0, 0, 1])
    with pytest.raises(ValueError, match="the label of row 2, counted from 0, is masked"):
        store_arrays(first, first, labels=labels)


def test_a_masked_entry_of_what_is_present_tells_of_no_row():
    present = np.ma.masked_array([True, True, False], mask=[False, True, False])
    store = store_arrays(np.ones((3, 2)), np.ones((3, 2)), present_first=present)
    assert store.present[:, 0].tolist() == [True, False, False]
