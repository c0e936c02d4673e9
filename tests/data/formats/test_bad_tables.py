"""What is answered to bad tables."""

import base64
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import feather, parquet
from pyarrow.parquet import encryption

from bidnn.data.formats.arrays import read_npz
from bidnn.data.formats.matlab import read_mat
from bidnn.data.formats.npy import read_npy
from bidnn.data.formats.tables.files import open_table
from bidnn.data.formats.tables.rows import joined_files
from bidnn.data.sources import LibsvmSource, TableSource
from bidnn.programs.only_new import Earlier
from tests.data.formats.tables import ROWS, hugging_face, opened, table_of
from tests.programs.disks import small_disk


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
        table = table.append_column("words", pa.array([["a"]] * ROWS))
        table = table.append_column("path", pa.array(["a"] * ROWS, pa.large_string()))
    elif name == "no vectors":
        table = table.select(["id", "label"])
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
        ("no such columns", r"no column first or second; .* such as text_emb, img_emb$"),
        ("no vectors", r"no column first or second; .* those of vectors, of which it has none$"),
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
    assert [path.name for path in tmp_path.iterdir()] == ["bad.parquet"]


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
    parquet.write_table(table_of(rows).select(["id", "second"]).rename_columns(["vid", "v"]), other)
    words = (
        r"data.id=id: .*other.parquet has no .* one name: rename one of its columns vid, v to id"
    )
    with pytest.raises(ValueError, match=words):
        opened(one, second_path=str(other), second="v")
    with pytest.raises(ValueError, match=words):
        joined_files(open_table(str(one)), open_table(str(other)), "id")
    words = r"data.id=vid: .*one.parquet has no .* rename one of its columns id, label, .* to vid"
    with pytest.raises(ValueError, match=words):
        opened(one, second_path=str(other), second="v", id="vid")
    with pytest.raises(ValueError, match=r"data.id=idd: .*one.parquet .* did you mean id\?"):
        opened(one, second_path=str(other), second="v", id="idd")


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_ids_of_a_folder_that_are_texts_and_numbers_are_refused(rows, tmp_path, form):
    tables = [
        table_of(rows).slice(0, 9),
        table_of(rows).slice(9, 9).set_column(0, "id", [range(9)]),
    ]
    kinds = ["texts", "whole numbers"]
    for order in ([0, 1], [1, 0]):
        folder = tmp_path / f"{order[0]}"
        folder.mkdir()
        for number, place in enumerate(order):
            path = folder / f"part-{number}.{form}"
            if form == "parquet":
                parquet.write_table(tables[place], path)
            else:
                feather.write_feather(tables[place], str(path), compression="uncompressed")
        told = [rf"{kinds[place]} in .*part-{number}.{form}" for number, place in enumerate(order)]
        words = rf"ids are {told[0]} and {told[1]}; make them alike"
        with pytest.raises(ValueError, match=words):
            opened(folder)
        with pytest.raises(ValueError, match=words):
            joined_files(open_table(str(folder)), open_table(str(folder)), "id")
        with pytest.raises(ValueError, match=words):
            Earlier.read(str(folder), {}, changed=False)


def test_a_part_without_rows_may_have_ids_of_type_null(rows, tmp_path):
    empty = table_of(rows).slice(0, 0).set_column(0, "id", pa.nulls(0))
    for number, part in enumerate((empty, table_of(rows), empty)):
        parquet.write_table(part, tmp_path / f"part-{number}.parquet")
    assert opened(tmp_path / "part-*.parquet").ids.tolist() == rows.ids.tolist()
    assert Earlier.read(str(tmp_path / "part-*.parquet"), {}, changed=False).ids.tolist() == (
        rows.ids.tolist()
    )


def test_a_csv_file_is_refused_with_what_makes_a_table_of_it(tmp_path):
    path = tmp_path / "t.csv"
    frame = pd.DataFrame({"id": ["a", "b"], "x": [0.5, 1.5], "y": [2.5, 3.5]})
    frame.to_csv(path, index=False)
    with pytest.raises(ValueError, match="nor an Arrow one; in Python, ") as caught:
        opened(path)
    assert "\n" not in str(caught.value)
    said = str(caught.value).split("in Python, ")[1].split(" makes one")[0]
    said = said.replace(", where NAMES are the columns of one vector's numbers", "")
    exec(said, {"pandas": pd, "NAMES": ["x", "y"]})
    found = opened(tmp_path / "t.parquet", (2, 1), first="vector")
    assert found.ids.tolist() == ["a", "b"]
    assert found.first.tolist() == [[0.5, 2.5], [1.5, 3.5]]


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
