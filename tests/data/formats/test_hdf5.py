"""HDF5 files, as h5py and MATLAB write them, are the rows of the npz of the same arrays."""

import os
import subprocess
import sys
from unittest.mock import patch

import h5py
import hdf5storage
import numpy as np
import pytest
from scipy import sparse

from bidnn.data.formats.arrays import store_arrays
from bidnn.data.formats.hdf5 import matrices
from bidnn.data.formats.matlab import read_mat
from bidnn.data.mapping import is_mapped
from bidnn.data.sources import (
    Hdf5Source,
    LibsvmSource,
    MatSource,
    NpySource,
    NpzSource,
    TableSource,
)
from bidnn.errors import UserError

IDS = [f"v{n:02d}" for n in range(30)]
LABELS = [f"é{n % 3}" for n in range(30)]


@pytest.fixture
def rows():
    generator = np.random.default_rng(0)
    first = generator.normal(size=(30, 4))
    second = generator.normal(size=(30, 5)).astype("f4")
    first[:3], second[4:9], second[20] = np.nan, np.nan, 0
    return first, second


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rows.h5"


def write(path, rows, names=("first", "second"), **how):
    with h5py.File(path, "w") as file:
        for name, values in zip(names, rows, strict=True):
            file.create_dataset(name, data=values, **how)
        file["id"], file["label"] = IDS, LABELS
    return path


def same(found, rows, labels=LABELS, ids=IDS, **how):
    expected = store_arrays(*rows, labels=labels, ids=ids, **how)
    np.testing.assert_array_equal(found.present, expected.present)
    for one, other in zip(found.take(slice(None)), expected.take(slice(None)), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in ((found.labels, labels), (found.ids, ids)):
        assert (None if one is None else one.tolist()) == other


def caches(folder):
    return [path.name for path in folder.rglob("*.matrix")]


def test_what_lies_in_one_piece_is_mapped_where_it_is(path, rows, tmp_path):
    for user_block in (0, 1024):
        with h5py.File(path, "w", userblock_size=user_block) as file:
            file["first"], file["second"] = rows[0].astype(">f8"), rows[1]
            file["id"], file["label"] = IDS, LABELS
        store = Hdf5Source(path=str(path)).open(None)
        assert isinstance(store.first, np.memmap)
        assert isinstance(store.second, np.memmap)
        same(store, rows)
        same(Hdf5Source(path=str(path), ignore_zeroes=False).open(None), rows, ignore_zeroes=False)
    assert caches(tmp_path) == []
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(UserError, match=r"rows\.h5: was changed after it was opened"):
        list(store.blocks())


CHUNKED = [
    {"chunks": (7, 3), "compression": "gzip", "shuffle": True, "fletcher32": True},
    {"chunks": (30, 1)},
    {"chunks": (1, 4), "scaleoffset": 9},
    {"chunks": True, "compression": "lzf"},
]


@pytest.mark.parametrize("how", CHUNKED)
@pytest.mark.parametrize("block", [1, 200, 2**24])
def test_what_is_in_chunks_is_converted_once(path, rows, tmp_path, how, block, monkeypatch):
    monkeypatch.setattr(matrices, "BLOCK_BYTES", block)
    if "scaleoffset" in how:
        rows = [np.nan_to_num(part) for part in rows]
    write(path, rows, **how)
    if "scaleoffset" in how:
        with h5py.File(path) as file:
            rows = [file[name][()] for name in ("first", "second")]
    store = Hdf5Source(path=str(path)).open(None)
    same(store, rows)
    assert is_mapped(store.first)
    assert sorted(caches(tmp_path)) == ["first.matrix", "second.matrix"]
    with patch("bidnn.data.formats.hdf5.store._fill_matrix", side_effect=AssertionError):
        same(Hdf5Source(path=str(path), val_path=str(path)).open_validation(None), rows)
    write(path, [rows[0] + 1, rows[1]], **how)
    changed = Hdf5Source(path=str(path), ignore_zeroes=False).open(None)
    same(
        changed,
        [rows[0] + 1, rows[1]] if "scaleoffset" not in how else changed_rows(path),
        ignore_zeroes=False,
    )
    assert sorted(caches(tmp_path)) == ["first.matrix", "second.matrix"]


def changed_rows(path):
    with h5py.File(path) as file:
        return [file[name][()] for name in ("first", "second")]


def test_without_a_cache_nothing_is_left(path, rows, tmp_path):
    write(path, rows, compression="gzip")
    same(Hdf5Source(path=str(path), cache=False).open(None), rows)
    assert [p.name for p in tmp_path.iterdir()] == ["rows.h5"]


def test_data_sets_may_have_any_names_and_be_elsewhere(tmp_path, path, rows):
    write(tmp_path / "other.h5", rows, names=("a", "b"))
    with h5py.File(path, "w") as file:
        file["deep/text"] = h5py.ExternalLink("other.h5", "/a")
        file["image"], file["key"] = rows[1], np.arange(30)
    store = Hdf5Source(path=str(path), first="deep/text", second="image", id="key").open(None)
    same(store, rows, labels=None, ids=list(range(30)))
    assert sorted(file.path.name for file in store.files) == ["other.h5", "rows.h5"]


def test_a_data_set_that_is_put_together_of_others_is_converted_when_they_change(tmp_path, rows):
    path, part = tmp_path / "whole.h5", tmp_path / "part.h5"
    write(part, rows)
    layout = h5py.VirtualLayout((30, 4), "f8")
    layout[:] = h5py.VirtualSource("part.h5", "first", (30, 4))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("first", layout)
        file["second"] = rows[1]
    same(Hdf5Source(path=str(path)).open(None), rows, labels=None, ids=None)
    write(part, [rows[0] * 2, rows[1]])
    same(Hdf5Source(path=str(path)).open(None), [rows[0] * 2, rows[1]], labels=None, ids=None)


def test_one_data_set_alone_misses_the_other(path, rows):
    with h5py.File(path, "w") as file:
        file["second"] = rows[1]
        file.create_dataset("gone", data=rows[0], chunks=True)
    for source in (Hdf5Source(path=str(path)), Hdf5Source(path=str(path), first="gone")):
        store = source.open((4, 5))
        assert (store.mod1size, store.mod2size) == (4, 5)
        assert store.present.any(axis=0).tolist() == [source.first == "gone", not source.first]
    with pytest.raises(UserError, match="has no first, and to learn from"):
        Hdf5Source(path=str(path)).open(None)


def write_groups(path, rows, label="data set"):
    with h5py.File(path, "w") as file:
        for name, text, *vectors in zip(IDS, LABELS, *rows, strict=True):
            group = file.create_group(name)
            for part, vector in zip(("first", "second"), vectors, strict=True):
                if not np.isnan(vector).any():
                    group[part] = vector[None] if name == "v20" else vector
            if label == "data set":
                group["label"] = text
            elif label == "attribute":
                group.attrs["label"] = text
        file["about"] = "no row"
    return path


@pytest.mark.parametrize("label", ["data set", "attribute", None])
@pytest.mark.parametrize("block", [1, 2**24])
def test_a_group_is_a_row_of_its_name(path, rows, label, block, monkeypatch):
    monkeypatch.setattr("bidnn.data.formats.hdf5.groups.BLOCK_BYTES", block)
    store = Hdf5Source(path=str(write_groups(path, rows, label))).open(None)
    assert is_mapped(store.first)
    same(store, rows, labels=LABELS if label else None)
    other = Hdf5Source(path=str(path), id=None, label=None, ignore_zeroes=False).open(None)
    same(other, rows, labels=None, ids=None, ignore_zeroes=False)
    alone = Hdf5Source(path=str(path), first="first").open((4, 7))
    assert (alone.mod2size, alone.present[:, 1].any()) == (7, False)


def bad(path, rows, what):
    with h5py.File(write_groups(path, rows), "a") as file:
        if what in ("longer", "infinite", "partly", "text", "deep", "matrix"):
            del file["v10/second"]
        if what == "longer":
            file["v10/second"] = np.ones(6)
        elif what == "infinite":
            file["v10/second"] = np.full(5, 1e39)
        elif what == "partly":
            file["v10/second"] = [1, 2, 3, 4, np.nan]
        elif what == "text":
            file["v10/second"] = "hello"
        elif what == "deep":
            file["v10/second/more"] = [1]
        elif what == "matrix":
            file["v10/second"] = np.ones((2, 3))
        elif what == "labels":
            del file["v10/label"]
            file["v10/label"] = [1, 2]


@pytest.mark.parametrize(
    ("what", "match"),
    [
        ("longer", "id 'v10', second: 6 values, and the rows before it have 5"),
        ("infinite", r"second, id 'v10': infinite as float32"),
        ("partly", r"second, id 'v10': infinite as float32, or NaN in a part"),
        ("text", r"id 'v10', second: shape \(\); a vector is needed"),
        ("deep", "id 'v10', second: a group, not a data set"),
        ("matrix", r"id 'v10', second: shape \(2, 3\); a vector is needed"),
        ("labels", r"id 'v10', label: shape \(2,\); a label is one text or number"),
    ],
)
def test_what_is_no_vector_is_named_by_its_id(path, rows, what, match, tmp_path):
    bad(path, rows, what)
    with pytest.raises(UserError, match=rf"rows\.h5, .*{match}") as caught:
        Hdf5Source(path=str(path)).open(None)
    assert "\n" not in str(caught.value)
    assert caches(tmp_path) == []


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"first": "frist", "second": "second"}, r"data\.first=frist: .* did you mean first\?"),
        ({"first": "first", "second": "x"}, r"data\.second=x: .*there are first \(30, 4\), id"),
        ({"first": "x"}, r"no data set x, neither .* there are first \(30, 4\), id \(30,\), l"),
        ({"label": "klass"}, r"data\.label=klass: .* has no data set klass"),
        ({"id": "first"}, r"rows\.h5, first has shape \(30, 4\); one id for each row is needed"),
        ({"first": "id"}, r"rows\.h5, id has shape \(30,\); a matrix is needed"),
        ({"first": "first", "second": "words"}, r"rows\.h5, words: object is not a numeric type"),
        (
            {"first": "first", "second": "short"},
            r"first has 30 rows, second has 29 rows, th",
        ),
        ({"first": "nan", "second": "second"}, r"nan, row 3 counted from 0: infinite as float32"),
    ],
)
def test_what_is_not_there_or_no_matrix_is_named(path, rows, given, match):
    with h5py.File(write(path, rows, chunks=True), "a") as file:
        file["words"] = [["a", "b"]] * 30
        file["short"] = rows[1][1:]
        file["nan"] = np.where(np.arange(4) == 1, np.nan, rows[0])
    with pytest.raises(UserError, match=match) as caught:
        Hdf5Source(path=str(path), **given).open((4, 5))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_open_for_writing_is_named(path, rows):
    write(path, rows)
    code = "import h5py, sys; f = h5py.File(sys.argv[1], 'a'); print(1, flush=True); input()"
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        writer.stdout.readline()
        with pytest.raises(UserError, match=r"rows\.h5: another program has it open for writing"):
            Hdf5Source(path=str(path)).open(None)
        writer.communicate(b"\n")
    same(Hdf5Source(path=str(path)).open(None), rows)


def test_a_damaged_file_is_named(path, rows, tmp_path):
    write(path, rows, chunks=(30, 4), fletcher32=True)
    content = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        place = file["first"].id.get_chunk_info(0).byte_offset
    content[place + 40] ^= 255
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"rows\.h5: no readable data set first \("):
        Hdf5Source(path=str(path)).open(None)
    assert caches(tmp_path) == []
    path.write_bytes(content[:1000])
    with pytest.raises(UserError, match=r"rows\.h5: no readable HDF5 file \(.*truncated"):
        Hdf5Source(path=str(path)).open(None)
    with pytest.raises(OSError, match="no such file"):
        Hdf5Source(path=str(tmp_path / "none.h5")).open(None)


def test_the_right_source_for_a_file_is_named(path, rows, tmp_path):
    write(path, rows)
    found = "an HDF5 file, which data={} does not read; use data=hdf5"
    given = {"path": str(path)}
    for name, source in (
        ("npz", NpzSource(**given)),
        ("npy", NpySource(first=str(path), second=str(path))),
        ("mat", MatSource(**given)),
        ("table", TableSource(**given)),
        ("libsvm", LibsvmSource(**given, mod1size=1, mod2size=1)),
    ):
        with pytest.raises(UserError, match=found.format(name)):
            source.open(None)
    np.savez(tmp_path / "rows.npz", first=rows[0])
    with pytest.raises(UserError, match=r"an npz archive, which data=hdf5 .* use data=npz"):
        Hdf5Source(path=str(tmp_path / "rows.npz")).open(None)
    save_mat(tmp_path / "rows.mat", rows)
    with pytest.raises(UserError, match=r"a \.mat file, which data=hdf5 .* use data=mat"):
        Hdf5Source(path=str(tmp_path / "rows.mat")).open(None)


def test_without_h5py_the_error_names_the_extra(path, rows, tmp_path):
    write(path, rows)
    save_mat(tmp_path / "rows.mat", rows)
    with patch.dict(sys.modules, {"h5py": None}):
        for source in (Hdf5Source(path=str(path)), MatSource(path=str(tmp_path / "rows.mat"))):
            with pytest.raises(UserError, match=r"pip install 'bidnn\[hdf5\]'"):
                source.open(None)


def save_mat(path, rows, **more):
    parts = {"first": rows[0], "second": rows[1], **more}
    hdf5storage.savemat(str(path), parts, format="7.3", store_python_metadata=False)
    return path


@pytest.mark.parametrize("block", [1, 2**24])
def test_matlabs_version_7_3_is_read_by_its_columns(tmp_path, rows, block, monkeypatch):
    monkeypatch.setattr(matrices, "BLOCK_BYTES", block)
    cells = {"name": np.array(IDS, object), "class": np.array(LABELS, object)}
    path = save_mat(tmp_path / "rows.mat", rows, **cells, number=np.arange(30))
    store = MatSource(path=str(path), id="name", label="class").open(None)
    same(store, rows)
    assert is_mapped(store.first)
    assert sorted(caches(tmp_path)) == ["first.matrix", "second.matrix"]
    store = MatSource(path=str(path), first="first", id="number", cache=False).open((4, 5))
    assert store.ids.tolist() == list(range(30))
    assert not store.present[:, 1].any()
    with pytest.raises(UserError, match=r"rows\.mat: no variable image; data\.first"):
        MatSource(path=str(path), first="image").open(None)
    with pytest.raises(UserError, match=r"rows\.mat, name: of class cell; a matrix of numbers"):
        MatSource(path=str(path), first="name").open((4, 5))


def test_matlabs_compressed_chunks_sparse_matrices_and_characters_are_read(tmp_path, rows):
    """As MATLAB itself writes them."""
    path, thin = tmp_path / "rows.mat", sparse.random_array((30, 5), density=0.3, rng=0).tocsc()
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("first", data=rows[0].T, chunks=(2, 8), compression="gzip")
        file["full"] = rows[1].T
        group = file.create_group("second")
        group["data"], group["ir"], group["jc"] = thin.data, thin.indices, thin.indptr
        group.attrs["MATLAB_sparse"] = np.uint64(30)
        codes = np.array([[ord(letter) for letter in text] for text in IDS], "u2")
        file["key"] = codes.T
        file["key"].attrs["MATLAB_class"] = np.bytes_("char")
        file["key"].attrs["MATLAB_int_decode"] = np.int32(2)
        for name, kind in (("first", "double"), ("second", "double"), ("full", "single")):
            file[name].attrs["MATLAB_class"] = np.bytes_(kind)
        file.create_group("odd").attrs["MATLAB_class"] = np.bytes_("struct")
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    for second, expected in (("full", rows[1]), ("second", thin.toarray())):
        store = read_mat(path, ("first", second), ids="key", ignore_zeroes=True)
        same(store, (rows[0].astype("f4"), expected.astype("f4")), labels=None)
        assert sparse.issparse(store.second) == (second == "second")
    for name in ("first", "label"):
        given = {"first": "first", name: "odd"}
        with pytest.raises(UserError, match=r"rows\.mat, odd: of class struct; a "):
            MatSource(path=str(path), **given).open((4, 5))
