"""Numbered npy files as one modality, and what does not belong together."""

import os
import resource
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from bidnn.data.formats.npy import read_npy
from bidnn.data.shards import Shards
from bidnn.data.sources import SOURCES, EmbeddingsSource, NpySource, NpzSource, TableSource
from bidnn.errors import UserError

LENGTHS = [3, 1, 4, 1, 5, 2, 2, 3, 2, 4, 3]
ROWS = sum(LENGTHS)


def arrays():
    generator = np.random.default_rng(0)
    return generator.normal(size=(ROWS, 4)).astype("f2"), generator.normal(size=(ROWS, 5))


@pytest.fixture
def folder(tmp_path):
    """Eleven shards as clip-retrieval writes them, and texts of their numbers as labels and ids."""
    ends = np.cumsum(LENGTHS)[:-1]
    table = pa.table({"caption": ["a"] * ROWS, "image_path": [f"i/{n}" for n in range(ROWS)]})
    for name in ("img_emb", "text_emb", "metadata", "label"):
        (tmp_path / name).mkdir()
    for number, rows in enumerate(np.split(np.arange(ROWS), ends)):
        for name, values in zip(("img_emb", "text_emb"), arrays(), strict=True):
            np.save(tmp_path / name / f"{name}_{number}.npy", values[rows])
        np.save(tmp_path / "label" / f"{number}.npy", rows % 3)
        path = tmp_path / "metadata" / f"metadata_{number}.parquet"
        parquet.write_table(table.take(rows), path)
    return tmp_path


def source(folder, **more):
    names = {"first": "img_emb", "second": "text_emb", "label": "label"}
    given = {key: f"{folder}/{name}/*.npy" for key, name in names.items()}
    ids = {"ids": f"{folder}/metadata/*.parquet", "id": "image_path"}
    return NpySource(**{**given, **ids, **more})


def test_shards_are_one_modality_in_the_order_of_their_numbers(folder):
    store = source(folder).open(None)
    first, second = arrays()
    assert isinstance(store.first, Shards)
    assert store.mapped
    assert len(store.files) == 22
    for found, expected in zip(store.take(slice(None)), (first, second), strict=True):
        np.testing.assert_array_equal(found, expected.astype("f4"))
    assert store.ids.tolist() == [f"i/{n}" for n in range(ROWS)]
    assert store.labels.tolist() == [str(n % 3) for n in range(ROWS)]
    folders = EmbeddingsSource(path=str(folder), val_path=str(folder))
    for other in (folders.open(None), folders.open_validation(None)):
        assert other.ids.tolist() == store.ids.tolist()
        np.testing.assert_array_equal(other.take(slice(None))[0], first.astype("f4"))


def test_a_pattern_of_one_file_is_that_file_and_one_file_may_go_with_many(folder):
    np.save(folder / "whole.npy", arrays()[0])
    for path in (f"{folder}/whole.npy", f"{folder}/whole*.npy"):
        store = source(folder, first=path, label=None, ids=None, id=None).open(None)
        assert isinstance(store.first, np.memmap)
        assert isinstance(store.second, Shards)
        assert len(store) == ROWS


@pytest.mark.parametrize("kind", ["npy", "txt"])
def test_ids_may_be_in_shards_of_any_kind(folder, kind):
    (folder / "ids").mkdir()
    for number, length in enumerate(LENGTHS):
        names = np.array([f"{number}{n}" if number else f"x{n}" for n in range(length)])
        if kind == "npy":
            np.save(folder / "ids" / f"{number}.npy", names)
        else:
            np.savetxt(folder / "ids" / f"{number}.txt", names, fmt="%s")
    store = source(folder, ids=f"{folder}/ids/*.{kind}", id=None).open(None)
    assert store.ids.tolist()[:4] == ["x0", "x1", "x2", "10"]


def change(folder, what):
    if what == "gap":
        (folder / "img_emb" / "img_emb_5.npy").unlink()
    elif what == "gaps":
        for number in (4, 5, 6):
            (folder / "img_emb" / f"img_emb_{number}.npy").unlink()
    elif what == "first":
        (folder / "text_emb" / "text_emb_0.npy").unlink()
    elif what == "last":
        (folder / "metadata" / "metadata_10.parquet").unlink()
    elif what == "twice":
        np.save(folder / "text_emb" / "text_emb_07.npy", arrays()[1][:3])
    elif what == "rows":
        np.save(folder / "text_emb" / "text_emb_4.npy", arrays()[1][:4])
    elif what == "swapped":
        paths = [folder / "metadata" / f"metadata_{n}.parquet" for n in (2, 3)]
        paths[0].rename(folder / "aside")
        paths[1].rename(paths[0])
        (folder / "aside").rename(paths[1])
    elif what == "columns":
        np.save(folder / "img_emb" / "img_emb_9.npy", np.ones((4, 3)))
    elif what == "text":
        np.save(folder / "img_emb" / "img_emb_9.npy", np.full((4, 4), "x"))
    elif what == "kind":
        np.savez(folder / "img_emb" / "a.npz", np.ones(3))
        (folder / "img_emb" / "a.npz").rename(folder / "img_emb" / "img_emb_8.npy")
    elif what == "nan":
        np.save(folder / "img_emb" / "img_emb_8.npy", [[1, 2, 3, 4], [1, np.nan, 3, 4]])
    elif what == "none":
        for path in (folder / "text_emb").iterdir():
            path.unlink()
    elif what == "same id":
        ids = pa.table({"image_path": ["i/0"] * LENGTHS[1]})
        parquet.write_table(ids, folder / "metadata" / "metadata_1.parquet")


@pytest.mark.parametrize(
    ("what", "match"),
    [
        ("gap", r"first=.*number 5 missing between .*img_emb_4\.npy and .*img_emb_6\.npy; all"),
        ("gaps", r"numbers to 6, from 4 missing between .*img_emb_3\.npy and .*img_emb_7\.npy"),
        ("first", r"text_emb/\*\.npy: number 0 is missing, of which .*img_emb_0\.npy is there"),
        ("last", r"metadata/\*\.parquet: number 10 is missing, of which .*img_emb_10\.npy"),
        (
            "twice",
            r"text_emb_7\.npy and .*text_emb_07\.npy: both have number 7; remove",
        ),
        ("rows", r"img_emb_4\.npy has 5 rows, .*text_emb_4\.npy 4; shards of the same number"),
        ("swapped", r"img_emb_2\.npy has 4 rows, .*metadata_2\.parquet 1"),
        ("columns", r"img_emb_9\.npy has shape \(4, 3\), .*img_emb_0\.npy \(3, 4\)"),
        ("text", r"img_emb_9\.npy: <U1 is not a numeric type"),
        ("kind", r"img_emb_8\.npy: an npz archive, which data=npy does not read; use data=npz"),
        ("nan", r"img_emb_8\.npy, row 1 counted from 0: infinite, or NaN in a part"),
        ("none", r"data\.second=.*text_emb/\*\.npy: no file is named so"),
        ("same id", r"metadata/\*\.parquet: rows 0 and 3, counted from 0, have the same id 'i/0'"),
    ],
)
def test_what_does_not_belong_together_is_named(folder, what, match):
    change(folder, what)
    with pytest.raises(UserError, match=match) as caught:
        source(folder).open(None)
    assert "\n" not in str(caught.value)


def test_numbers_count_only_where_names_differ_in_one_of_them(tmp_path):
    values = np.arange(12.0).reshape(6, 2)
    for name, row in (("2026-01", 0), ("2026-03", 1), ("2027-02", 2)):
        np.save(tmp_path / f"a-{name}.npy", values[row : row + 1])
    for name, row in (("x", 0), ("y", 1), ("z", 2)):
        np.save(tmp_path / f"b-{name}.npy", values[row : row + 1])
    store = read_npy(tmp_path / "a-*.npy", tmp_path / "b-*.npy", ignore_zeroes=True)
    np.testing.assert_array_equal(store.take(slice(None))[0], values[:3])
    (tmp_path / "b-y.npy").unlink()
    with pytest.raises(UserError, match=r"a-\*\.npy names 3 files, .*b-\*\.npy 2; shards are pai"):
        read_npy(tmp_path / "a-*.npy", tmp_path / "b-*.npy", ignore_zeroes=True)


def test_a_folder_of_embeddings_may_have_one_modality_and_no_ids(folder):
    for path in [*(folder / "text_emb").iterdir(), *(folder / "metadata").iterdir()]:
        path.unlink()
    for name in ("text_emb", "metadata"):
        (folder / name).rmdir()
    store = EmbeddingsSource(path=str(folder)).open((4, 5))
    assert store.ids is None
    assert store.present.all(axis=0).tolist() == [True, False]
    with pytest.raises(UserError, match="has no second, and to learn from"):
        EmbeddingsSource(path=str(folder)).open(None)
    with pytest.raises(UserError, match=r"metadata/\*\.parquet: no file is named so"):
        EmbeddingsSource(path=str(folder), id="key").open((4, 5))


def test_ids_of_a_folder_of_embeddings_are_of_the_column_that_is_named(folder):
    assert EmbeddingsSource(path=str(folder), id=None).open(None).ids is None
    with pytest.raises(UserError, match=r"rows 0 and 1, counted from 0, have the same id 'a'"):
        EmbeddingsSource(path=str(folder), id="caption").open(None)
    with pytest.raises(UserError, match=r"data\.id=captoin: .* did you mean caption\?"):
        EmbeddingsSource(path=str(folder), id="captoin").open(None)


def test_a_folder_of_another_kind_is_named(folder, tmp_path):
    with pytest.raises(UserError, match=r"img_emb: no folder img_emb or text_emb in it; data=npy"):
        EmbeddingsSource(path=str(folder / "img_emb")).open(None)
    with pytest.raises(UserError, match=r"label: a folder; '.*label/\*\.npy' names the shards"):
        source(folder, first=str(folder / "label")).open(None)
    with pytest.raises(OSError, match="nowhere: no such folder"):
        EmbeddingsSource(path=str(folder / "nowhere")).open(None)
    np.savez(tmp_path / "f.npz", first=np.ones((2, 2)))
    with pytest.raises(UserError, match=r"an npz archive, which data=embeddings .* use data=npz"):
        EmbeddingsSource(path=str(tmp_path / "f.npz")).open(None)
    for other in (NpzSource, TableSource, SOURCES["mat"]):
        with pytest.raises(UserError, match=r"a folder of embeddings, .* use data=embeddings"):
            other(path=str(folder)).open(None)


def test_a_shard_that_vanishes_is_read_as_it_was_and_one_that_is_cut_is_named(folder):
    store = source(folder).open(None)
    (folder / "img_emb" / "img_emb_4.npy").unlink()
    (block,) = store.blocks()
    np.testing.assert_array_equal(store.take(block)[0], arrays()[0].astype("f4"))
    os.truncate(folder / "text_emb" / "text_emb_8.npy", 100)
    with pytest.raises(UserError, match=r"text_emb_8\.npy: was changed after it was opened"):
        list(store.blocks())
    with pytest.raises(UserError, match=r"number 4 missing"):  # another process, later
        source(folder).open(None)


def test_more_shards_than_files_may_be_open_are_an_error_with_a_way_out(folder):
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 9, allowed[1]))
    try:
        with pytest.raises(UserError, match=r"\.npy: more files than .* \(`ulimit -n 65536`\)"):
            source(folder).open(None)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, allowed)
