"""Tables as rows, whoever wrote them, and what is answered to bad ones."""

import base64
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import feather, parquet
from pyarrow.parquet import encryption

from bidnn.data.formats.arrays import read_npz, store_arrays
from bidnn.data.formats.matlab import read_mat
from bidnn.data.formats.npy import read_npy
from bidnn.data.formats.tables.files import open_table
from bidnn.data.mapping import is_mapped
from bidnn.data.sources import LibsvmSource, TableSource
from tests.programs.disks import small_disk

ROWS = 40


@pytest.fixture
def rows():
    """Rows as a store: 7 miss the first modality, 5 the second, one both."""
    generator = np.random.default_rng(0)
    first, second = (generator.normal(size=(ROWS, size)).astype("f4") for size in (3, 5))
    first[[1, *range(10, 16)]], second[[1, *range(20, 24)]] = np.nan, np.nan
    ids = [f"vidéo {number * 7 % ROWS}" for number in range(ROWS)]
    return store_arrays(first, second, ids=ids, labels=np.arange(ROWS) % 3)


def vectors(values, kind):
    lists = [None if np.isnan(row).any() else row.tolist() for row in values]
    return pa.array(lists, kind)


def table_of(store, **more):
    first, second = (
        vectors(values, pa.list_(pa.float32(), size))
        for values, size in ((store.first, 3), (store.second, 5))
    )
    given = {"id": pa.array(store.ids), "label": pa.array(store.labels.astype(int))}
    return pa.table({**given, "first": first, "second": second, **more})


def opened(path, sizes=None, **settings):
    return TableSource(path=str(path), **settings).open(sizes)


def assert_same(found, store):
    for own, theirs in zip(found.take(slice(None)), store.take(slice(None)), strict=True):
        np.testing.assert_array_equal(own, theirs)
    np.testing.assert_array_equal(found.present, store.present)
    assert found.ids.tolist() == store.ids.tolist()
    assert found.ids.dtype.kind == store.ids.dtype.kind
    assert found.labels.tolist() == store.labels.tolist()


def hugging_face(table, folder):
    """As `datasets.Dataset.save_to_disk` lays it out: Arrow streams, and a list of them."""
    folder.mkdir()
    names = [f"data-{number:05d}-of-00002.arrow" for number in (0, 1)]
    for name, part in zip(names, (table.slice(0, 15), table.slice(15)), strict=True):
        with (
            pa.OSFile(str(folder / name), "wb") as file,
            pa.ipc.new_stream(file, part.schema) as to,
        ):
            to.write_table(part, max_chunksize=6)
    state = {"_data_files": [{"filename": name} for name in names]}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text("{}")


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


def bad(name, tmp_path, rows):
    """A table that cannot be read; what is set of the source."""
    table, path, settings = table_of(rows), tmp_path / "bad.parquet", {}
    lists = table["first"].to_pylist()
    if name == "misspelt":
        settings["first"] = "frist"
    elif name == "misspelt id":
        settings["id"] = "idd"
    elif name == "misspelt label":
        settings["label"] = "labl"
    elif name == "no such columns":
        table = table.rename_columns(["id", "label", "text_emb", "img_emb"])
    elif name == "text":
        settings["first"] = "id"
    elif name == "numbers":
        settings["first"] = "label"
    elif name == "lists of text":
        table = table.append_column("words", pa.array([["a"]] * ROWS))
        settings["first"] = "words"
    elif name == "two lengths":
        lists[7] = [1.0, 2.0]
        table = table.set_column(2, "first", pa.array(lists))
    elif name == "null inside":
        lists[7] = [1.0, None, 2.0]
        table = table.set_column(2, "first", pa.array(lists))
    elif name in ("nan inside", "nan inside without ids"):
        lists[7] = [1.0, np.nan, 2.0]
        table = table.set_column(2, "first", pa.array(lists))
        settings["id"] = None if name.endswith("ids") else "id"
    elif name == "too large":
        lists[7] = [1.0, 1e300, 2.0]
        table = table.set_column(2, "first", pa.array(lists, pa.list_(pa.float64())))
    elif name == "same ids":
        table = table.set_column(0, "id", pa.array([*range(39), 5]))
    elif name == "null id":
        table = table.set_column(0, "id", pa.array([*range(39), None]))
    elif name == "float ids":
        table = table.set_column(0, "id", pa.array(np.arange(40.0)))
    elif name == "nothing there":
        table = table.set_column(2, "first", pa.nulls(ROWS, pa.list_(pa.float32())))
        settings |= {"first": "first"}
    parquet.write_table(table, path)
    if name == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif name == "cut short":
        path.write_bytes(path.read_bytes()[:300])
    elif name == "empty":
        path.write_bytes(b"")
    elif name == "words":
        path.write_text("id,first\n1,2\n")
    elif name == "npz":
        with path.open("wb") as file:
            np.savez(file, first=rows.first)
    elif name == "two names":
        pair = pa.table([table["id"], table["id"]], names=["id", "id"])
        parquet.write_table(pair, path)
        settings["first"] = "id"
    return {"path": str(path), **settings}


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("misspelt", r"data.first=frist: .*bad.parquet has no column frist; did you mean first\?"),
        ("misspelt id", r"data.id=idd: .* did you mean id\?"),
        ("misspelt label", r"data.label=labl: .* did you mean label\?"),
        ("no such columns", r"no column first or second; .* such as text_emb, img_emb"),
        ("text", r"bad.parquet, column id: text, not vectors"),
        ("numbers", r"bad.parquet, column label: of type int64, not vectors"),
        ("lists of text", r"column words: of type list<.*string>, not vectors"),
        ("two lengths", r"column first, id 'vidéo 9': a vector of 2 values, and others have 3"),
        ("null inside", r"column first, id 'vidéo 9': a null inside of its vector"),
        ("nan inside", r"column first, id 'vidéo 9': infinite as float32, or NaN in a part"),
        ("nan inside without ids", r"column first, row 7 counted from 0: infinite as float32, or"),
        ("too large", r"column first, id 'vidéo 9': infinite as float32"),
        ("same ids", r"bad.parquet: rows 5 and 39, counted from 0, have the same id 5"),
        ("null id", r"bad.parquet, column id: the id of row 39, counted from 0, is null"),
        ("float ids", r"bad.parquet, column id: of type double; ids must be texts or whole numb"),
        ("nothing there", r"bad.parquet: not one vector in it"),
        ("cut", r"bad.parquet: no readable parquet file"),
        ("cut short", r"bad.parquet: no readable parquet file"),
        ("empty", r"bad.parquet: the file is empty"),
        ("words", r"bad.parquet: neither a parquet file nor an Arrow one"),
        ("npz", r"bad.parquet: an npz archive, which data=table does not read; use data=npz"),
        ("two names", r"bad.parquet: 2 columns named id"),
    ],
)
def test_a_bad_table_is_one_line_with_its_place(rows, tmp_path, name, match):
    settings = bad(name, tmp_path, rows)
    with pytest.raises(ValueError, match=match) as caught:
        TableSource(**settings).open(None)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("meta.json"))
    assert not list(tmp_path.rglob("*.part"))


class Keys(encryption.KmsClient):
    """Keys that are not hidden at all."""

    def wrap_key(self, key_bytes, _):
        return base64.b64encode(key_bytes)


@pytest.mark.parametrize("whole", [True, False])
def test_an_encrypted_table_is_one_line_and_so_is_one_of_which_a_column_is(rows, tmp_path, whole):
    factory = encryption.CryptoFactory(lambda _: Keys())
    settings = {"footer_key": "f", "column_keys": {"c": ["first.list.element"]}}
    keys = factory.file_encryption_properties(
        encryption.KmsConnectionConfig(),
        encryption.EncryptionConfiguration(**settings, plaintext_footer=not whole),
    )
    table, path = table_of(rows), tmp_path / "t.parquet"
    with parquet.ParquetWriter(path, table.schema, encryption_properties=keys) as file:
        file.write_table(table)
    words = r"t.parquet: no readable parquet file \(.*crypt.*\); write it anew, whole and unencry"
    with pytest.raises(ValueError, match=words):
        opened(path, first="first", second=None)
    if not whole:  # columns that are not encrypted are read
        found = opened(path, (3, 5), second="second").take(slice(None))
        np.testing.assert_array_equal(found[1], rows.take(slice(None))[1])


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("two lengths", r"column first, id 'vidéo 9': a vector of 2 values, and others have 3"),
        ("null inside", r"column first, id 'vidéo 9': a null inside of its vector"),
        ("nan inside", r"bad.arrow, .*row 7 counted from 0, id 'vidéo 9': infinite, or NaN in a"),
        ("too large", r"bad.arrow, .*row 7 counted from 0, id 'vidéo 9': infinite, or NaN in a"),
    ],
)
def test_a_bad_vector_that_is_mapped_is_named_too(rows, tmp_path, name, match):
    complete = np.where(np.isnan(rows.first), 1, rows.first).astype("f4")
    rows = replace(rows, first=complete, present=np.ones_like(rows.present))
    settings = bad(name, tmp_path, rows)
    table, path = parquet.read_table(settings["path"]), tmp_path / "bad.arrow"
    feather.write_feather(table, str(path), compression="uncompressed")
    with pytest.raises(ValueError, match=match):
        TableSource(**settings | {"path": str(path)}).open(None)
    assert not list(tmp_path.rglob("*.part"))


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


def test_tables_that_cannot_be_joined_are_refused(rows, tmp_path):
    one, other = tmp_path / "one.parquet", tmp_path / "other.parquet"
    parquet.write_table(table_of(rows), one)
    parquet.write_table(table_of(rows).set_column(0, "id", pa.array(range(ROWS))), other)
    with pytest.raises(ValueError, match=r"ids are texts in .*one.parquet and whole numbers in"):
        opened(one, second_path=str(other))
    with pytest.raises(ValueError, match=r"two tables are joined by id, and data.id names none"):
        opened(one, second_path=str(other), id=None)
    parquet.write_table(table_of(rows).drop_columns("id"), other)
    with pytest.raises(ValueError, match=r"data.id=id: .*other.parquet has no column id"):
        opened(one, second_path=str(other))


def test_paths_that_name_no_table_are_refused(rows, tmp_path):
    with pytest.raises(ValueError, match=r"data.path=.*none-\*: no file is named so"):
        opened(tmp_path / "none-*")
    with pytest.raises(FileNotFoundError, match="no such file"):
        opened(tmp_path / "none.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: no file in it that ends in .parquet"):
        opened(tmp_path / "empty")
    hugging_face(table_of(rows), tmp_path / "hf")
    (tmp_path / "hf" / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(FileNotFoundError, match=r"data-00001-of-00002.arrow: no such file"):
        opened(tmp_path / "hf")
    (tmp_path / "both" / "train").mkdir(parents=True)
    (tmp_path / "both" / "dataset_dict.json").write_text("{}")
    with pytest.raises(ValueError, match=r"several tables, train; name one, such as .*both/train"):
        opened(tmp_path / "both")


def test_a_table_given_to_another_source_is_named_with_the_right_one(rows, tmp_path):
    path = tmp_path / "t.parquet"
    parquet.write_table(table_of(rows), path)
    readers = {
        "npz": lambda: read_npz(path, ignore_zeroes=True),
        "npy": lambda: read_npy(path, path, ignore_zeroes=True),
        "mat": lambda: read_mat(path, ignore_zeroes=True),
        "libsvm": lambda: LibsvmSource(path=str(path), mod1size=3, mod2size=5).open(None),
    }
    for name, read in readers.items():
        words = f"t.parquet: a parquet file, which data={name} does not read; use data=table"
        with pytest.raises(ValueError, match=words):
            read()


def test_where_no_cache_can_be_written_the_table_is_read_all_the_same(rows, tmp_path, caplog):
    caplog.set_level("INFO")
    path = tmp_path / "t.parquet"
    parquet.write_table(table_of(rows), path)
    Path(f"{path}.cache").write_text("a file in its way")
    assert_same(opened(path), rows)
    assert "t.parquet: no cache can be made beside it" in caplog.text


@pytest.mark.parametrize("memory", [1, 10**12])
def test_where_there_is_no_room_for_its_arrays_the_folder_is_named(tmp_path, monkeypatch, memory):
    monkeypatch.setattr("bidnn.data.formats.matrix_file.available_memory", lambda: memory)
    (tmp_path / "disk").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "disk"))
    path = tmp_path / "t.parquet"
    parquet.write_table(pa.table({"first": list(np.ones((2**14, 64), "f4"))}), path)
    try:
        with small_disk(tmp_path / "disk"):
            words = r"t.parquet: no room in .*/disk for its arrays.* let TMPDIR name another folder"
            with pytest.raises(OSError, match=words):
                opened(path, cache=False)
            assert not list((tmp_path / "disk").iterdir())
    except PermissionError as error:
        pytest.skip(str(error))


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
