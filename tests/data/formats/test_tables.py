"""Tables as rows, whoever wrote them."""

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from bidnn.data.formats.arrays import store_arrays
from bidnn.data.formats.tables.files import open_table
from bidnn.data.mapping import is_mapped
from tests.data.formats.tables import ROWS, assert_same, hugging_face, opened, table_of


def written(how, table, folder):
    """Writes a table in one of many ways; returns the path to give."""
    path = folder / how
    if how == "parquet":
        parquet.write_table(table, path, row_group_size=11)
    elif how == "pandas":
        frame = pd.DataFrame({name: table[name].to_pylist() for name in table.column_names})
        frame.to_parquet(path)
    elif how == "polars":
        pl.from_arrow(table).write_parquet(path)
    elif how == "arrow":
        feather.write_feather(table, str(path), compression="uncompressed", chunksize=9)
    elif how == "lz4":
        feather.write_feather(table, str(path), compression="lz4", chunksize=9)
    elif how == "polars ipc":
        pl.from_arrow(table).write_ipc(path)
    elif how == "hugging face":
        hugging_face(table, path)
    else:
        path.mkdir()
        for number, start in enumerate((0, 12, 31)):
            part = table.slice(start, (12, 19, ROWS)[number])
            parquet.write_table(part, path / f"part-{number + 9}.parquet")
        (path / "notes.txt").write_text("not a table")
        return path / "part-*.parquet" if how == "pattern" else path
    return path


AS_THEY_ARE = ("arrow", "polars ipc", "hugging face")
"""Of which the vectors are mapped in the file itself."""


HOW = ("parquet", "pandas", "polars", "arrow", "lz4", "polars ipc", "hugging face", "folder")


@pytest.mark.parametrize("how", [*HOW, "pattern"])
@pytest.mark.parametrize("cache", [True, False])
def test_the_rows_are_those_of_the_npz(rows, tmp_path, how, cache):
    path = written(how, table_of(rows), tmp_path)
    for _ in range(2):
        found = opened(path, cache=cache)
        assert_same(found, rows)
        assert is_mapped(found.first)
        assert bool(found.files) == (cache or how in AS_THEY_ARE)
    assert len(list(tmp_path.rglob("meta.json"))) == (cache and how not in AS_THEY_ARE)


@pytest.mark.parametrize("kind", ["halffloat", "float", "double", "int8"])
@pytest.mark.parametrize("make", [pa.list_, pa.large_list, "fixed"])
@pytest.mark.parametrize("form", ["parquet", "arrow", "complete arrow"])
def test_lists_of_every_kind_of_number_are_vectors(rows, tmp_path, kind, make, form):
    if form == "complete arrow":
        whole = rows.complete
        rows = store_arrays(rows.first[whole], rows.second[whole])
    scaled = [np.clip(values * 20, -99, 99) for values in (rows.first, rows.second)]
    numbers = pa.type_for_alias(kind)
    columns = {}
    for name, values, size in (("first", scaled[0], 3), ("second", scaled[1], 5)):
        dtype = "i1" if kind == "int8" else "f2" if kind == "halffloat" else "f8"
        lists = [None if np.isnan(row).any() else row.astype(dtype) for row in values]
        outer = pa.list_(numbers, size) if make == "fixed" else make(numbers)
        columns[name] = pa.array(lists, outer)
        expected = [np.zeros(size) if row is None else row for row in lists]
        columns[f"expected {name}"] = np.array(expected, np.float32)
    table = pa.table({"first": columns["first"], "second": columns["second"]})
    if form == "parquet":
        parquet.write_table(table, tmp_path / "t")
    else:
        feather.write_feather(table, str(tmp_path / "t"), compression="uncompressed", chunksize=9)
    found = opened(tmp_path / "t")
    as_it_is = form == "complete arrow" or (form == "arrow" and make == "fixed")
    assert as_it_is != (tmp_path / "t.cache").exists()
    assert found.first.dtype == (
        columns["first"].type.value_type.to_pandas_dtype() if as_it_is else "f4"
    )
    for name, values in zip(("first", "second"), found.take(slice(None)), strict=True):
        np.testing.assert_array_equal(values, columns[f"expected {name}"])
    np.testing.assert_array_equal(found.present, rows.present)
    assert found.ids is None
    assert found.labels is None


def test_slices_and_nulls_over_values_are_read_at_their_place(rows, tmp_path):
    """A null of a fixed-size list lies over values that are there all the same."""
    values = pa.array(np.arange(12, dtype="f4"))
    hidden = pa.FixedSizeListArray.from_arrays(
        values, 3, mask=pa.array([False, True, False, False])
    )
    table = pa.table({"first": hidden, "second": hidden.slice(0)}).slice(1)
    feather.write_feather(table, str(tmp_path / "t.arrow"), compression="uncompressed")
    found = opened(tmp_path / "t.arrow")
    assert found.present[:, 0].tolist() == [False, True, True]
    np.testing.assert_array_equal(found.take(slice(None))[0], [[0, 0, 0], [6, 7, 8], [9, 10, 11]])


def test_a_row_of_nan_is_missing_and_a_row_of_zeros_only_if_asked(tmp_path):
    lists = [[1.0, 2.0], [np.nan, np.nan], [0.0, 0.0]]
    table = pa.table({"first": lists, "second": [[1.0], [1.0], [1.0]]})
    parquet.write_table(table, tmp_path / "t.parquet")
    assert opened(tmp_path / "t.parquet").present[:, 0].tolist() == [True, False, True]
    found = opened(tmp_path / "t.parquet", ignore_zeroes=False)
    assert found.present[:, 0].tolist() == [True, False, False]


@pytest.mark.parametrize("whole", [True, False])
def test_two_tables_are_joined_by_id_and_what_has_no_partner_is_missing(
    rows, tmp_path, caplog, whole
):
    caplog.set_level("INFO")
    there = rows.present
    order = np.random.default_rng(1).permutation(ROWS)
    text = table_of(rows).select(["id", "label", "first"]).filter(pa.array(there[:, 0]))
    image = table_of(rows).rename_columns({"second": "clip"}).take(order)
    image = image.filter(pa.array(there[order, 1])).select(["id", "clip", "label"])
    if not whole:
        image = image.cast(image.schema.set(0, pa.field("id", pa.large_string())))
    parquet.write_table(text, tmp_path / "text.parquet")
    parquet.write_table(image, tmp_path / "image.parquet", row_group_size=7)
    more = {"second_path": str(tmp_path / "image.parquet"), "second": "clip"}
    found = opened(tmp_path / "text.parquet", **more)
    both = int(there.all(axis=1).sum())
    only = [int((there[:, k] & ~there[:, 1 - k]).sum()) for k in (0, 1)]
    told = f"{both} ids in both, {only[0]} in the first only, {only[1]} in the second only"
    assert told in caplog.text
    by_id = {name: row for row, name in enumerate(rows.ids.tolist())}
    same = [by_id[name] for name in found.ids.tolist()]
    assert sorted(same) == np.flatnonzero(there.any(axis=1)).tolist()
    assert found.ids[: int(there[:, 0].sum())].tolist() == text["id"].to_pylist()
    np.testing.assert_array_equal(found.present, there[same])
    for own, theirs in zip(found.take(slice(None)), rows.take(np.array(same)), strict=True):
        np.testing.assert_array_equal(own, theirs)
    assert found.labels.tolist() == rows.labels[same].tolist()


def test_one_column_alone_is_rows_that_miss_the_other(rows, tmp_path):
    parquet.write_table(table_of(rows), tmp_path / "t.parquet")
    found = opened(tmp_path / "t.parquet", (9, 5), second="second")
    assert (found.mod1size, found.mod2size) == (9, 5)
    np.testing.assert_array_equal(found.present[:, 0], np.zeros(ROWS))
    np.testing.assert_array_equal(found.present[:, 1], rows.present[:, 1])
    with pytest.raises(ValueError, match="has no first, and to learn from"):
        opened(tmp_path / "t.parquet", second="second")


def test_ids_of_whole_numbers_stay_such_and_labels_may_be_null(rows, tmp_path):
    numbers = pa.array(np.arange(ROWS) * 10**12)
    label = pa.array([None, *["a", "b c"] * 19, "ä"]).dictionary_encode()
    table = table_of(rows, key=numbers, kind_of=label)
    parquet.write_table(table, tmp_path / "t.parquet")
    found = opened(tmp_path / "t.parquet", id="key", label="kind_of")
    assert found.ids.dtype == np.int64
    assert found.ids.tolist() == (np.arange(ROWS) * 10**12).tolist()
    assert found.labels.tolist() == ["", *["a", "b c"] * 19, "ä"]
    assert opened(tmp_path / "t.parquet", id=None, label=None).ids is None


def test_a_changed_table_is_read_anew_and_its_old_arrays_are_removed(rows, tmp_path):
    path = tmp_path / "t.parquet"
    parquet.write_table(table_of(rows), path)
    opened(path)
    first_only = opened(path, (3, 5), first="first")
    assert len(list((tmp_path / "t.parquet.cache").iterdir())) == 2
    parquet.write_table(table_of(rows).slice(0, 30), path)
    assert len(opened(path)) == 30
    assert len(list((tmp_path / "t.parquet.cache").iterdir())) == 1
    assert len(first_only.take(slice(None))[0]) == ROWS  # mapped still


def test_a_part_of_a_table_is_mapped_where_it_begins(rows, tmp_path):
    table = pa.table({"first": list(rows.first[20:]), "second": list(rows.second[:20])})
    for kind in (pa.list_(pa.float32()), pa.list_(pa.float32(), 3)):
        column = pa.array(list(rows.first[20:]), kind).slice(3, 9)
        part = pa.record_batch({"first": column, "second": table["second"].chunk(0).slice(3, 9)})
        with pa.OSFile(str(tmp_path / "t"), "wb") as file, pa.ipc.new_file(file, part.schema) as to:
            to.write_batch(part)
            to.write_batch(part.slice(4))
        found = opened(tmp_path / "t")
        expected = rows.first[20:][[*range(3, 12), *range(7, 12)]]
        np.testing.assert_array_equal(found.take(slice(None))[0], np.nan_to_num(expected))
        order = np.array([13, 0, 9])
        np.testing.assert_array_equal(found.take(order)[0], np.nan_to_num(expected[order]))
        assert not (tmp_path / "t.cache").exists()


def test_where_no_cache_can_be_written_the_table_is_read_all_the_same(rows, tmp_path, caplog):
    caplog.set_level("INFO")
    path = tmp_path / "t.parquet"
    parquet.write_table(table_of(rows), path)
    Path(f"{path}.cache").write_text("a file in its way")
    assert_same(opened(path), rows)
    assert "t.parquet: no cache can be made beside it" in caplog.text


@pytest.mark.parametrize("groups", [1, 8])
def test_a_large_row_group_or_many_are_read_piece_by_piece(tmp_path, monkeypatch, groups):
    values = pa.array(np.random.default_rng(0).normal(size=2**23).astype("f4"))  # 32 MiB
    table = pa.table({"first": pa.FixedSizeListArray.from_arrays(values, 64)})
    parquet.write_table(table, tmp_path / "t.parquet", row_group_size=2**17 // groups)
    monkeypatch.setattr("bidnn.data.formats.tables.files.BATCH_BYTES", 2**20)
    del values, table
    begin, most = pa.total_allocated_bytes(), 0
    batches = open_table(str(tmp_path / "t.parquet")).batches(["first"])
    for batch in batches:
        most = max(most, pa.total_allocated_bytes() - begin)
        assert batch.nbytes < 3 * 2**20
    assert most < 12 * 2**20
