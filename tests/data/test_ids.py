"""Rows that have names: what an id may be, and where it is kept."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from bidnn.data.export import export
from bidnn.data.formats.arrays import read_npz, store_arrays
from bidnn.data.formats.matlab import read_mat
from bidnn.data.formats.npy import read_npy
from bidnn.data.formats.sidecar import read_ids, with_ids
from bidnn.data.ids import as_ids
from bidnn.data.sources import LibsvmSource, MatSource, NpySource, NpzSource

ROWS = np.arange(1, 13, dtype=np.float32).reshape(4, 3)


@pytest.mark.parametrize(
    ("values", "kind", "found"),
    [
        (["b", "a"], "U", ["b", "a"]),
        ([b"\xc3\xa9", b"a"], "U", ["é", "a"]),
        (np.array(["b", "a"], dtype=object), "U", ["b", "a"]),
        (np.array([3, 2], np.uint8), "i", [3, 2]),
        (np.array([2**62, -1], dtype=object), "i", [2**62, -1]),
        (np.array([5, 6], ">i4"), "i", [5, 6]),
    ],
)
def test_ids_are_texts_or_int64(values, kind, found):
    ids = as_ids(values, "f")
    assert ids.dtype.kind == kind
    assert kind == "U" or ids.dtype == np.int64
    assert ids.tolist() == found


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (["x", "y", "z", "y"], "f: rows 1 and 3, counted from 0, have the same id 'y'"),
        ([7, 7], "f: rows 0 and 1, counted from 0, have the same id 7"),
        ([1.0, 2.0], r"f: ids of type float64; .* astype\('int64'\)"),
        ([True, False], "f: ids of type bool"),
        ([["a"], ["b"]], r"f: id has shape \(2, 1\)"),
        (np.array(["a", None], dtype=object), "f: the id of row 1, counted from 0, is None"),
        (np.array([1, "a"], dtype=object), "f: the id of row 0, counted from 0, is 1"),
        (
            np.ma.masked_array([1, 2], [False, True]),
            "f: the id of row 1, counted from 0, is masked",
        ),
        (np.array([2**63], np.uint64), "f: id 9223372036854775808 is beyond int64"),
        ([b"\xff"], "f: an id is not UTF-8"),
    ],
)
def test_what_names_no_row_is_refused_in_one_line(values, match):
    with pytest.raises(ValueError, match=match):
        as_ids(values, "f")


def test_a_store_refuses_ids_of_other_rows():
    store = store_arrays(ROWS, ROWS, ids=[1, 2, 3, 4])
    with pytest.raises(ValueError, match=r"arrays: ids of shape \(3,\) for 4 rows"):
        replace(store, ids=store.ids[:3])
    with pytest.raises(ValueError, match="ids of shape"):
        store_arrays(ROWS, ROWS, ids=[1, 2, 3])


@pytest.mark.parametrize("ids", [[10, -2, 0, 7], ["10", "b c", "ä", "007"]])
def test_ids_are_in_every_format_and_come_back(ids, tmp_path):
    store = store_arrays(ROWS, ROWS + 20, ids=ids, labels=list("aabb"))
    files = export(store, tmp_path / "rows.npz")
    found = read_npz(files["path"], ignore_zeroes=True).ids
    assert (found.dtype, found.tolist()) == (store.ids.dtype, ids)
    files = export(store, tmp_path / "rows.npy")
    assert files["ids"] == tmp_path / "rows_id.npy"
    given = {key: str(file) for key, file in files.items()}
    assert NpySource(**given).open(None).ids.tolist() == ids
    files = export(store, tmp_path / "rows.txt")
    given = {key: str(file) for key, file in files.items()}
    found = LibsvmSource(**given, mod1size=3, mod2size=3).open(None)
    assert (found.ids.dtype.kind, found.ids.tolist()) == (store.ids.dtype.kind, ids)


def test_a_text_of_ids_has_one_a_line(tmp_path):
    file = tmp_path / "ids.txt"
    file.write_bytes(b"\xef\xbb\xbfa b\r\n c\r\n")
    assert read_ids(str(file)).tolist() == ["a b", " c"]
    store = store_arrays(ROWS, ROWS, name="rows.npy")
    with pytest.raises(ValueError, match=r"ids.txt: 2 ids for the 4 rows of rows.npy; one for ea"):
        with_ids(store, str(file))
    file.write_text("a\n\nb\n")
    with pytest.raises(ValueError, match=r"ids.txt, line 2: empty"):
        read_ids(str(file))
    file.write_text("1\n01\n")
    assert read_ids(str(file)).tolist() == ["1", "01"]
    with pytest.raises(ValueError, match=r"rows.txt.ids: the id of row 1, 'a.nb', is no line of t"):
        export(replace(store, ids=np.array(["a", "a\nb", "c", "d"])), tmp_path / "rows.txt")
    assert not (tmp_path / "rows.txt").exists()


def test_ids_beside_may_be_a_column_of_a_table(tmp_path):
    for number, part in ((9, ["a", "b"]), (10, ["c", "d"])):
        table = pa.table({"url": part, "width": [1, 2]})
        parquet.write_table(table, tmp_path / f"metadata_{number}.parquet")
    np.save(tmp_path / "f.npy", ROWS)
    both = {"first": str(tmp_path / "f.npy"), "second": str(tmp_path / "f.npy")}
    ids = str(tmp_path / "metadata_*.parquet")
    assert NpySource(**both, ids=ids, id="url").open(None).ids.tolist() == list("abcd")
    with pytest.raises(ValueError, match=r"data.id=id: .* no column id; did you mean width\?"):
        NpySource(**both, ids=ids).open(None)
    parquet.write_table(pa.table({"url": [4, 3, 2, 1]}), tmp_path / "one.parquet")
    found = NpySource(**both, ids=str(tmp_path / "one.parquet")).open(None)
    assert found.ids.tolist() == [4, 3, 2, 1]
    (tmp_path / "ids.txt").write_text("a\nb\nc\nd\n")
    with pytest.raises(ValueError, match=r"data.id=url: names a column of a table, and data.ids="):
        NpySource(**both, ids=str(tmp_path / "ids.txt"), id="url").open(None)


def test_a_mat_file_names_its_ids(tmp_path):
    from scipy.io import savemat

    savemat(tmp_path / "f.mat", {"first": ROWS, "second": ROWS, "key": [[4, 3, 2, 1]]})
    store = MatSource(path=str(tmp_path / "f.mat"), id="key").open(None)
    assert store.ids.tolist() == [4, 3, 2, 1]


def test_one_modality_alone_is_rows_that_all_miss_the_other(tmp_path):
    from scipy.io import savemat

    np.savez(tmp_path / "f.npz", second=ROWS, id=list("abcd"))
    np.save(tmp_path / "f.npy", ROWS)
    savemat(tmp_path / "f.mat", {"second": ROWS, "other": ROWS})
    sources = [
        NpzSource(path=str(tmp_path / "f.npz")),
        NpySource(second=str(tmp_path / "f.npy")),
        MatSource(path=str(tmp_path / "f.mat")),
        MatSource(path=str(tmp_path / "f.mat"), second="other"),
    ]
    for source in sources:
        store = source.open((5, 3))
        assert (store.mod1size, store.mod2size) == (5, 3)
        np.testing.assert_array_equal(store.present, [[False, True]] * 4)
        first, second = store.take(np.array([2, 0]))
        np.testing.assert_array_equal(first, np.zeros((2, 5)))
        np.testing.assert_array_equal(second, ROWS[[2, 0]])
        with pytest.raises(ValueError, match=r"has no first, and to learn from.*`bidnn embed`"):
            source.open(None)
    assert sources[0].open((5, 3)).ids.tolist() == list("abcd")


def test_what_is_not_there_takes_no_memory():
    store = store_arrays(ROWS, None, sizes=(3, 10**6))
    assert store.second.shape == (4, 10**6)
    assert store.second.strides == (0, 0)


def test_a_file_of_neither_modality_is_refused(tmp_path):
    from scipy.io import savemat

    np.savez(tmp_path / "f.npz", embedding=ROWS)
    with pytest.raises(ValueError, match=r"f.npz: no array first or second in it"):
        read_npz(tmp_path / "f.npz", ignore_zeroes=True, sizes=(3, 3))
    savemat(tmp_path / "f.mat", {"embedding": ROWS})
    with pytest.raises(ValueError, match=r"f.mat: no variable first"):
        read_mat(tmp_path / "f.mat", ignore_zeroes=True, sizes=(3, 3))
    with pytest.raises(ValueError, match=r"data.first is not given"):
        NpySource().open((3, 3))
    assert read_npy(None, _saved(tmp_path), ignore_zeroes=True, sizes=(2, 3)).present[0, 1]


def _saved(folder):
    np.save(folder / "second.npy", ROWS)
    return folder / "second.npy"
