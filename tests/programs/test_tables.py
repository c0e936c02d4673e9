"""A person's own tables, trained on, embedded, and joined back with the libraries at hand."""

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet

from bidnn.data.vectors import read_vectors
from tests.programs.running import TINY, refused, succeed


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The same rows as npz, as a table and as two; and models trained on each."""
    folder = tmp_path_factory.mktemp("tables")
    generator = np.random.default_rng(0)
    first, second = (generator.uniform(-0.9, 0.9, (60, size)).astype("f4") for size in (4, 5))
    first[:9], second[9:20] = np.nan, np.nan
    ids, label = np.array([f"v{number:03d}" for number in range(60)]), np.arange(60) % 2
    np.savez(folder / "rows.npz", first=first, second=second, id=ids, label=label)
    lists = [
        pa.array([None if np.isnan(row).any() else row for row in part], pa.list_(pa.float32()))
        for part in (first, second)
    ]
    table = pa.table({"key": ids, "class": label, "text": lists[0], "image": lists[1]})
    parquet.write_table(table, folder / "rows.parquet")
    parquet.write_table(table.slice(9).drop_columns("image"), folder / "text.parquet")
    image = table.drop_columns(["text", "class"])
    parquet.write_table(image.filter(image["image"].is_valid()), folder / "image.parquet")
    for name, source in SOURCES.items():
        rest = (*source, *TINY, f"hydra.run.dir={name}", "output.path=${run_dir}/out.parquet")
        succeed("scripts/train.py", *rest, cwd=folder)
    return folder


COLUMNS = ("data.first=text", "data.second=image", "data.id=key", "data.label=class")
SOURCES = {
    "npz": ("data=npz", "data.path=rows.npz"),
    "table": ("data=table", "data.path=rows.parquet", *COLUMNS),
    "joined": ("data=table", "data.path=text.parquet", "data.second_path=image.parquet", *COLUMNS),
}


def test_a_table_trains_as_the_npz_of_the_same_rows_to_the_byte(place):
    one, other, joined = ((place / name / "out.parquet") for name in SOURCES)
    assert one.read_bytes() == other.read_bytes()
    columns = ["id", "embedding", "present_first", "present_second"]
    found = parquet.read_table(joined).select(columns)
    assert found["id"].to_pylist() == [f"v{n:03d}" for n in (*range(9, 60), *range(9))]
    assert found.num_rows == 60
    assert found.schema.metadata[b"bidnn.rep"] == b"8"


def test_an_output_says_of_which_model_it_is(place):
    schema = parquet.read_schema(place / "table" / "out.parquet")
    assert schema.field("embedding").type.list_size == 8
    assert schema.field("embedding").type.value_type == pa.float32()
    told = {key.decode(): value.decode() for key, value in schema.metadata.items()}
    expected = {"kind": "embedding", "model": "bidnn", "mod1size": "4", "mod2size": "5"}
    expected |= {"hdn": "16", "rep": "8", "missing": "translate", "l2_norm": "false"}
    assert {f"bidnn.{key}": value for key, value in expected.items()}.items() <= told.items()
    assert told["bidnn.version"]


def test_an_output_is_joined_back_by_pandas_polars_and_duckdb(place, monkeypatch):
    monkeypatch.chdir(place)
    out, rows = "table/out.parquet", "rows.parquet"
    expected = np.stack(parquet.read_table(out)["embedding"].to_pylist()).astype("f4")
    there = ~np.isnan(np.load("rows.npz")["first"]).any(axis=1)
    frame = pd.read_parquet(rows).merge(pd.read_parquet(out), left_on="key", right_on="id")
    np.testing.assert_array_equal(np.stack(frame["embedding"].to_list()), expected)
    np.testing.assert_array_equal(frame["present_first"], there)
    joined = pl.read_parquet(rows).join(pl.read_parquet(out), left_on="key", right_on="id")
    joined = joined.sort("key")
    assert joined.schema["embedding"] == pl.Array(pl.Float32, 8)
    np.testing.assert_array_equal(joined["embedding"].to_numpy(), expected)
    asked = f"select b.embedding from '{rows}' a join '{out}' b on a.key = b.id order by a.key"
    found = duckdb.sql(asked).fetchall()
    np.testing.assert_array_equal(np.array([row[0] for row in found], "f4"), expected)


@pytest.mark.parametrize("kind", ["embedding", "crossmodal"])
def test_parquet_holds_what_npz_holds(place, kind):
    for form in ("npz", "parquet"):
        out = (f"output.path={kind}.{form}", f"output.kind={kind}", f"hydra.run.dir={kind}_{form}")
        succeed("scripts/embed.py", "checkpoint=npz", *SOURCES["table"], *out, cwd=place)
    expected, found = np.load(place / f"{kind}.npz"), parquet.read_table(place / f"{kind}.parquet")
    names = ("embedding",) if kind == "embedding" else ("first", "second")
    assert found.column_names == ["id", "label", *names, "present_first", "present_second"]
    for name in names:
        np.testing.assert_array_equal(np.array(found[name].to_pylist(), "f4"), expected[name])
    for column, name in enumerate(("present_first", "present_second")):
        np.testing.assert_array_equal(found[name].to_numpy(), expected["present"][:, column])
    for name in ("id", "label"):
        assert found[name].to_pylist() == expected[name].tolist()
    vectors = read_vectors(place / f"{kind}.parquet", names[0])
    npz = read_vectors(place / f"{kind}.npz", names[0])
    for name in ("values", "labels", "present", "ids"):
        np.testing.assert_array_equal(getattr(vectors, name), getattr(npz, name))


def test_one_column_of_a_table_alone_is_embedded(place):
    gone = pa.table({"key": ["a", "b"], "text": [[0.1, 0.2, 0.3, 0.4], None]})
    parquet.write_table(gone, place / "new.parquet")
    source = ("data=table", "data.path=new.parquet", "data.first=text", "data.id=key")
    out = ("output.path=new_out.parquet", "hydra.run.dir=new")
    succeed("scripts/embed.py", "checkpoint=table", *source, *out, cwd=place)
    found = parquet.read_table(place / "new_out.parquet")
    assert found["present_first"].to_pylist() == [True, False]
    assert found["present_second"].to_pylist() == [False, False]
    assert any(found["embedding"][0].as_py())
    assert not any(found["embedding"][1].as_py())
    found = refused("scripts/train.py", *source, *TINY, cwd=place)
    assert "new.parquet: has no second, and to learn from" in found


def test_a_table_is_converted_and_back(place):
    for path, source in (
        ("back.parquet", SOURCES["table"]),
        ("again.npz", ("data=table", "data.path=back.parquet")),
    ):
        succeed("scripts/convert.py", *source, f"output.path={path}", cwd=place)
    one, other = np.load(place / "rows.npz"), np.load(place / "again.npz")
    for name in ("first", "second"):
        np.testing.assert_array_equal(other[name], np.nan_to_num(one[name]))
        there = ~np.isnan(one[name]).any(axis=1)
        np.testing.assert_array_equal(other[f"present_{name}"], there)
    assert other["id"].tolist() == one["id"].tolist()
    assert parquet.read_table(place / "back.parquet")["first"].null_count == 9


def test_an_output_does_not_replace_a_file_of_a_folder_that_is_read(place):
    (place / "parts").mkdir()
    (place / "parts" / "p-1.parquet").write_bytes((place / "rows.parquet").read_bytes())
    for path in ("parts", "'parts/p-*.parquet'"):
        source = ("data=table", f"data.path={path}", *COLUMNS)
        out = "output.path=parts/p-1.parquet"
        found = refused("scripts/embed.py", "checkpoint=npz", *source, out, cwd=place)
        assert "output.path=parts/p-1.parquet: is what is read" in found
