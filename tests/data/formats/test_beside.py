"""Columns of tables that go to an output as they are."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from bidnn.data.formats.tables import files
from bidnn.data.formats.tables.beside import as_array
from bidnn.data.sources import TableSource

ROWS = 300


@pytest.fixture
def table():
    generator = np.random.default_rng(0)
    number = np.arange(ROWS)
    return pa.table(
        {
            "id": [f"v{n}" for n in number],
            "first": list(generator.normal(size=(ROWS, 3)).astype("f4")),
            "second": list(generator.normal(size=(ROWS, 2)).astype("f4")),
            "title": [None if n % 7 == 0 else f"titre {n} é" for n in number],
            "views": pa.array(number * 10**10),
            "share": pa.array([None if n == 5 else n / 7 for n in number]),
            "seen": [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=int(n)) for n in number],
            "tags": [["a"] * int(n % 3) for n in number],
            "place": [{"x": int(n), "y": None} for n in number],
            "kind": pa.array([("one", "two")[n % 2] for n in number]).dictionary_encode(),
        }
    )


BESIDE = ["title", "views", "share", "seen", "tags", "place", "kind"]


def opened(path, **settings):
    return TableSource(path=str(path), **settings).open(None)


def taken(store, names, size, rows=None):
    """The columns as a table, read in parts of some rows."""
    reader = store.columns.read(names, store.ids, rows)
    count = len(store) if rows is None else len(rows)
    parts = [slice(start, min(start + size, count)) for start in range(0, count, size)]
    schema = pa.schema(reader.fields)
    return pa.concat_tables(pa.Table.from_arrays(reader.take(p), schema=schema) for p in parts)


@pytest.mark.parametrize("size", [1, 17, 64, 100, ROWS])
@pytest.mark.parametrize("several", [False, True])
def test_columns_are_those_of_the_table_in_whichever_parts(
    table, tmp_path, monkeypatch, size, several
):
    monkeypatch.setattr(files, "BATCH_BYTES", 1)  # 64 rows a batch
    path = tmp_path / "t.parquet"
    if several:
        path.mkdir()
        for number, start in enumerate((0, 40, 41)):
            part = table.slice(start, (40, 1, ROWS)[number])
            parquet.write_table(part, path / f"{number}.parquet", row_group_size=30)
    else:
        parquet.write_table(table, path)
    store = opened(path)
    assert taken(store, BESIDE, size).to_pylist() == table.select(BESIDE).to_pylist()
    rows = np.flatnonzero(np.random.default_rng(size).uniform(size=ROWS) < 0.3)
    expected = table.select(["kind", "title"]).take(pa.array(rows)).to_pylist()
    assert taken(store, ["kind", "title"], size, rows).to_pylist() == expected
    rows = np.arange(130, 140)
    assert taken(store, ["views"], 4, rows)["views"].to_pylist() == (rows * 10**10).tolist()


def test_of_two_tables_each_row_has_the_columns_of_its_id(table, tmp_path):
    order = np.random.default_rng(1).permutation(ROWS)[:200]
    other = table.select(["id", "second", "title", "views", "kind"]).take(pa.array(order))
    other = other.set_column(2, "title", pa.array([f"other {n}" for n in order]))
    parquet.write_table(
        table.select(["id", "first", "title", "tags"]).slice(0, 150), tmp_path / "1"
    )
    parquet.write_table(other, tmp_path / "2")
    store = opened(tmp_path / "1", second_path=str(tmp_path / "2"))
    found = taken(store, ["title", "views", "tags", "kind"], 23).to_pylist()
    numbers = [int(name[1:]) for name in store.ids.tolist()]
    assert len(numbers) == 150 + int((order >= 150).sum())
    there = set(order.tolist())
    for number, row in zip(numbers, found, strict=True):
        own = None if number >= 150 or number % 7 == 0 else f"titre {number} é"
        assert row["title"] == (own or (f"other {number}" if number in there else None))
        assert row["views"] == (number * 10**10 if number in there else None)
        assert row["tags"] == (["a"] * (number % 3) if number < 150 else None)
        assert row["kind"] == (("one", "two")[number % 2] if number in there else None)
    rows = np.arange(100, 160)
    assert taken(store, ["title"], 7, rows).to_pylist() == [
        {"title": row["title"]} for row in found[100:160]
    ]


def test_whole_columns_are_arrays_where_they_are_plain(table, tmp_path):
    parquet.write_table(table.slice(1), tmp_path / "t.parquet")
    store = opened(tmp_path / "t.parquet")
    reader = store.columns.read(["views", "share", "kind"], store.ids, None)
    arrays = [
        as_array(field, values)
        for field, values in zip(reader.fields, reader.take(slice(0, ROWS - 1)), strict=True)
    ]
    np.testing.assert_array_equal(arrays[0], np.arange(1, ROWS) * 10**10)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(arrays[1])), [4])
    assert arrays[2].tolist() == [("one", "two")[n % 2] for n in range(1, ROWS)]
    reader = store.columns.read(["title", "tags"], store.ids, None)
    (title, tags), values = reader.fields, reader.take(slice(0, ROWS - 1))
    with pytest.raises(ValueError, match=r"title of row 6, counted from 0, is null, .* \.parquet"):
        as_array(title, values[0])
    with pytest.raises(ValueError, match=r"tags is of type list<.*string>, for which an npz"):
        as_array(tags, values[1])


def test_a_column_that_is_not_there_names_the_nearest(table, tmp_path):
    parquet.write_table(table.select(["id", "first", "title"]), tmp_path / "1.parquet")
    parquet.write_table(table.select(["id", "second", "views"]), tmp_path / "2.parquet")
    store = opened(tmp_path / "1.parquet", second_path=str(tmp_path / "2.parquet"))
    with pytest.raises(ValueError, match=r"and .*2.parquet: no column titel; did you mean title"):
        store.columns.fields(["titel"])
    with pytest.raises(ValueError, match=r"no column veiws; did you mean views\?"):
        store.columns.fields(["title", "veiws"])
    with pytest.raises(ValueError, match=r"no column xyz; there are id, first, title, second, vie"):
        store.columns.fields(["xyz"])


def test_a_table_that_changed_since_its_vectors_were_read_is_refused(table, tmp_path):
    path = tmp_path / "t.parquet"
    parquet.write_table(table, path)
    store = opened(path)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(ValueError, match=r"t\.parquet: was changed after it was opened"):
        store.columns.read(["title"], store.ids, None)


def test_files_of_one_table_whose_columns_are_of_two_types(table, tmp_path):
    for name, column in (("a", "views"), ("b", "title")):
        part = table.select(["first", "second", column]).rename_columns(["first", "second", "x"])
        parquet.write_table(part, tmp_path / f"{name}.parquet")
    store = opened(tmp_path)
    with pytest.raises(ValueError, match="x is of type int64 in one file and string in another"):
        taken(store, ["x"], 100)
    wide = table.select(["first", "second", "views"]).rename_columns(["first", "second", "x"])
    wide = wide.set_column(2, "x", wide["x"].cast(pa.float64()))
    parquet.write_table(wide, tmp_path / "b.parquet")
    expected = [*np.arange(ROWS) * 10**10] * 2
    assert taken(opened(tmp_path), ["x"], 100)["x"].to_pylist() == expected
