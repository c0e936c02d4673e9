"""Columns of a table travel to the outputs of the programs."""

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from sklearn.datasets import dump_svmlight_file

from tests.programs.running import TINY, refused, succeed

ROWS = 60


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A table of videos, and a model that was trained on it, its outputs with their titles."""
    folder = tmp_path_factory.mktemp("columns")
    generator = np.random.default_rng(0)
    table = pa.table(
        {
            "id": [f"v{n}" for n in range(ROWS)],
            "first": list(generator.uniform(-0.9, 0.9, (ROWS, 4)).astype("f4")),
            "second": list(generator.uniform(-0.9, 0.9, (ROWS, 5)).astype("f4")),
            "title": [f"titre {n} é" for n in range(ROWS)],
            "views": pa.array(range(ROWS), pa.int32()),
            "tags": [None if n == 3 else ["a"] * (n % 3) for n in range(ROWS)],
            "label": [f"l{n % 2}" for n in range(ROWS)],
        }
    )
    parquet.write_table(table, folder / "rows.parquet")
    parquet.write_table(table.select(["id", "first", "title"]), folder / "one.parquet")
    image = table.select(["id", "second", "tags"]).slice(9)
    parquet.write_table(image, folder / "two.parquet")
    np.savez(folder / "rows.npz", first=np.ones((4, 4)), second=np.ones((4, 5)))
    out = ("output.path=${run_dir}/out.parquet", "output.columns=[title,tags,views]")
    succeed("scripts/train.py", *SOURCE, *TINY, *out, "hydra.run.dir=run", cwd=folder)
    return folder


SOURCE = ("data=table", "data.path=rows.parquet")


@pytest.mark.parametrize("program", ["train", "embed"])
def test_a_parquet_output_has_the_columns_of_the_table_beside_the_vectors(place, program):
    path = place / "run" / "out.parquet"
    if program == "embed":
        path = place / "embed.parquet"
        rest = ("output.path=embed.parquet", "output.columns=[title,tags,views]")
        rest = (*SOURCE, *rest, "output.kind=crossmodal", "hydra.run.dir=embed")
        succeed("scripts/embed.py", "checkpoint=run", *rest, cwd=place)
    rows, out = parquet.read_table(place / "rows.parquet"), parquet.read_table(path)
    vectors = ["embedding"] if program == "train" else ["first", "second"]
    marks = ["present_first", "present_second"]
    names = ["id", "label", *vectors, *marks, "title", "tags", "views"]
    assert out.column_names == names
    for name in ("id", "label", "title", "tags", "views"):
        assert out[name].to_pylist() == rows[name].to_pylist()
        assert out.schema.field(name).type == rows.schema.field(name).type


@pytest.mark.parametrize("data", ["npy", "libsvm"])
def test_a_table_of_ids_beside_the_rows_gives_its_columns_too(place, data, tmp_path):
    rows = parquet.read_table(place / "rows.parquet")
    beside = rows.select(["id", "title", "views"])
    for number in range(2):
        parquet.write_table(beside.slice(number * 45, 45), tmp_path / f"beside-{number}.parquet")
    one, two = (np.stack(rows[name].to_numpy()) for name in ("first", "second"))
    np.save(tmp_path / "one.npy", one)
    np.save(tmp_path / "two.npy", two)
    dump_svmlight_file(np.hstack([one, two]), np.zeros(ROWS), str(tmp_path / "rows.txt"))
    source = {
        "npy": ("data.first=one.npy", "data.second=two.npy"),
        "libsvm": ("data.path=rows.txt",),
    }[data]
    ids = (f"data={data}", *source, "data.ids='beside-*.parquet'", "data.id=id")
    rest = ("output.columns=[title,views]", "output.path=out.parquet")
    succeed("scripts/embed.py", f"checkpoint={place / 'run'}", *ids, *rest, cwd=tmp_path)
    out = parquet.read_table(tmp_path / "out.parquet")
    for name in ("id", "title", "views"):
        assert out[name].to_pylist() == rows[name].to_pylist()
    wrong = (*ids, "output.columns=[titel]", "output.path=no.parquet")
    said = refused("scripts/embed.py", f"checkpoint={place / 'run'}", *wrong, cwd=tmp_path)
    assert "beside-*.parquet: no column titel; did you mean title?" in said


def test_two_joined_tables_give_their_columns_to_the_rows_of_both(place):
    source = ("data=table", "data.path=one.parquet", "data.second_path=two.parquet")
    rest = ("output.path=joined.parquet", "output.columns=[title,tags]", "hydra.run.dir=joined")
    succeed("scripts/embed.py", "checkpoint=run", *source, *rest, cwd=place)
    rows, out = (parquet.read_table(place / f"{name}.parquet") for name in ("rows", "joined"))
    assert out["title"].to_pylist() == rows["title"].to_pylist()
    assert out["tags"].to_pylist() == [None] * 9 + rows["tags"].to_pylist()[9:]
    assert out["present_second"].to_pylist() == [False] * 9 + [True] * 51


def test_an_npz_output_has_texts_and_numbers(place):
    rest = ("output.path=out.npz", "output.columns=[title,views]", "hydra.run.dir=npz")
    succeed("scripts/embed.py", "checkpoint=run", *SOURCE, *rest, cwd=place)
    found = np.load(place / "out.npz")
    assert found["title"].tolist() == [f"titre {n} é" for n in range(ROWS)]
    assert found["views"].dtype == np.int32
    assert found["views"].tolist() == list(range(ROWS))


@pytest.mark.parametrize(
    ("path", "columns", "source", "match"),
    [
        ("o.parquet", "[titel]", SOURCE, "rows.parquet: no column titel; did you mean title?"),
        ("o.npz", "[tags]", SOURCE, "tags is of type list<"),
        ("o.npy", "[title]", SOURCE, "output.path=o.npy has no place for it; name it .parquet or"),
        ("o.txt", "[title]", SOURCE, "output.columns: output.path=o.txt has no place for it"),
        ("o.parquet", "[label]", SOURCE, "label is what outputs call a column of their own"),
        ("o.parquet", "[title,title]", SOURCE, "output.columns: title is named twice"),
        (
            "o.parquet",
            "[title]",
            ("data=npz", "data.path=rows.npz"),
            "output.columns: rows.npz has none besides; they are of a table, data=table",
        ),
    ],
)
def test_columns_that_cannot_travel_are_refused_before_the_work(
    place, path, columns, source, match
):
    out = (f"output.path={path}", f"output.columns={columns}", "hydra.run.dir=refused")
    assert match in refused("scripts/embed.py", "checkpoint=run", *source, *out, cwd=place)
    assert not (place / path).exists()
