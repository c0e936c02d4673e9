"""A model as a class for batches: called by itself, by `datasets.map` and by Ray Data's actors."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from bidnn import BiDNN, Embedder
from tests.programs.running import ROOT

ROWS = 60


@pytest.fixture(scope="module")
def rows():
    """Vectors of 4 and 5; 6 rows miss the first modality, 5 the second, one both."""
    first, second = (
        np.random.default_rng(size).uniform(-0.9, 0.9, (ROWS, size)).astype("f4") for size in (4, 5)
    )
    first[[0, 10, 11, 12, 13, 14, 15]], second[[0, 20, 21, 22, 23, 24]] = np.nan, np.nan
    return first, second


@pytest.fixture(scope="module")
def net(rows):
    return BiDNN(recipe="paper", hdn=16, rep=8, epochs=2, verbosity=0).fit(*rows)


@pytest.fixture(scope="module")
def model(net, tmp_path_factory):
    path = tmp_path_factory.mktemp("embedder") / "model.pt"
    net.save(path)
    return path


def lists(values, none=None):
    return [none if np.isnan(row).all() else row.tolist() for row in values]


def objects(values):
    found = np.empty(len(values), object)
    found[:] = [None if np.isnan(row).all() else row for row in values]
    return found


FORMS = {
    "matrices": lambda values: values,
    "double": lambda values: values.astype("f8"),
    "objects": objects,
    "lists": lists,
    "lists with NaN": lambda values: lists(values, none=float("nan")),
    "lists of arrays": lambda values: list(objects(values)),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_comes_back_with_the_vectors_of_transform(rows, net, model, form):
    names = [f"v{n}" for n in range(ROWS)]
    first, second = (FORMS[form](values) for values in rows)
    batch = {"text": first, "id": names, "image": second}
    found = Embedder(model, first="text", second="image", device="cpu")(batch)
    assert list(found) == ["text", "id", "image", "embedding"]
    assert found["text"] is first
    assert found["id"] is names
    assert list(batch) == ["text", "id", "image"]
    assert found["embedding"].dtype == np.float32
    np.testing.assert_array_equal(found["embedding"], net.transform(*rows))
    assert not found["embedding"][0].any()
    assert found["embedding"][1:].any(axis=1).all()


def test_rows_of_a_batch_without_a_column_all_miss_it(rows, net, model):
    expected = net.transform(second=rows[1])
    for embedder, batch in (
        (Embedder(model), {"second": rows[1], "n": np.arange(ROWS)}),
        (Embedder(model, first=None), {"second": rows[1], "first": rows[0]}),
    ):
        np.testing.assert_array_equal(embedder(batch)["embedding"], expected)


def test_what_is_asked_for_is_done(rows, net, model):
    batch = {"first": rows[0], "second": rows[1]}
    plain = net.transform(*rows)
    found = Embedder(model, output="z", l2_norm=True)(batch)
    assert list(found) == ["first", "second", "z"]
    lengths = np.linalg.norm(found["z"], axis=1)
    np.testing.assert_allclose(lengths, plain.any(axis=1), rtol=1e-5)
    assert not plain[0].any()
    half = plain[1:, :4] / np.linalg.norm(plain[1:, :4], axis=1, keepdims=True) / np.sqrt(2)
    np.testing.assert_allclose(found["z"][1:, :4], half, rtol=1e-4, atol=1e-6)
    found = Embedder(model, missing="translate")(batch)["embedding"]
    np.testing.assert_array_equal(found, net.transform(*rows, missing="translate"))
    assert not np.array_equal(found, plain)


def test_a_model_saved_with_unit_rows_gives_such(rows, tmp_path):
    net = BiDNN(recipe="paper", hdn=16, rep=8, epochs=1, verbosity=0, l2_norm=True).fit(*rows)
    net.save(tmp_path / "m.pt")
    batch = {"first": rows[0], "second": rows[1]}
    found = Embedder(tmp_path / "m.pt")(batch)["embedding"]
    np.testing.assert_array_equal(found, net.transform(*rows))
    found = Embedder(tmp_path / "m.pt", l2_norm=False)(batch)["embedding"]
    assert np.abs(np.linalg.norm(found[1:], axis=1) - 1).min() > 1e-3


@pytest.mark.parametrize("kind", ["list", "fixed", "large", "chunks"])
def test_a_batch_that_is_a_pyarrow_table_stays_one(rows, net, model, kind):
    tables = {
        "list": lambda size: pa.list_(pa.float32()),
        "fixed": lambda size: pa.list_(pa.float32(), size),
        "large": lambda size: pa.large_list(pa.float64()),
        "chunks": lambda size: pa.list_(pa.float32()),
    }
    columns = [pa.array(lists(values), tables[kind](values.shape[1])) for values in rows]
    table = pa.table({"first": columns[0], "id": range(ROWS), "second": columns[1]})
    if kind == "chunks":
        table = pa.concat_tables([table.slice(0, 13), table.slice(13, 2), table.slice(15)])
    found = Embedder(model)(table)
    assert found.select(["first", "id", "second"]).equals(table)
    assert found.column_names[3] == "embedding"
    assert found["embedding"].type.list_size == 8
    vectors = np.array(found["embedding"].to_pylist(), "f4")
    np.testing.assert_array_equal(vectors, net.transform(*rows))
    again = Embedder(model, output="id")(found)
    assert again.column_names == found.column_names
    assert again["id"].equals(found["embedding"])
    for without in (table.drop_columns("first"), table.set_column(0, "first", pa.nulls(ROWS))):
        alone = Embedder(model)(without)["embedding"].to_pylist()
        np.testing.assert_array_equal(np.array(alone, "f4"), net.transform(second=rows[1]))


@pytest.mark.parametrize(
    ("column", "match"),
    [
        (
            [None, [1.0]],
            "column first, row 1 of a batch, .*: a vector of 1 values; .* vectors of 4",
        ),
        (["a", "b"], "column first: text, not vectors"),
        ([[1.0, None, 0.0, 0.0]], "column first, row 0 of a batch, .* a null inside of its vector"),
    ],
)
def test_a_table_of_other_vectors_is_refused(model, column, match):
    with pytest.raises(ValueError, match=match):
        Embedder(model)(pa.table({"first": column}))


def test_a_batch_of_another_kind_is_refused(model):
    with pytest.raises(ValueError, match=r"a batch of type DataFrame; .* batch_format='numpy'"):
        Embedder(model)(pd.DataFrame({"first": [1.0]}))


def test_a_batch_of_no_rows_has_no_vectors(model):
    for empty in (np.zeros((0, 4), "f4"), []):
        assert Embedder(model)({"first": empty})["embedding"].shape == (0, 8)


@pytest.mark.parametrize(
    ("batch", "match"),
    [
        (
            {"frist": [], "n": []},
            r"no column first or second in a batch of frist, n; did you mean",
        ),
        ({"x": []}, r"no column first or second in a batch of x; first= and second= name"),
        ({"first": np.zeros((2, 3))}, r"column first, row 0 .* a vector of 3 values; .* of 4"),
        ({"first": [[0.0] * 4, [0.0]]}, r"column first, row 1 of a batch, .* a vector of 1 values"),
        ({"first": ["abc"]}, r"column first, row 0 of a batch, counted from 0: no vector"),
        ({"first": np.arange(3.0)}, r"column first, row 0 of a batch, counted from 0: no vector"),
        ({"first": [[0.0, 1.0, None, 2.0]]}, r"row 0 counted from 0: infinite, or NaN in a part"),
        ({"first": np.full((1, 4), 1e300)}, r"row 0 counted from 0: infinite"),
    ],
)
def test_what_is_no_batch_of_the_model_is_refused_in_one_line(model, batch, match):
    with pytest.raises(ValueError, match=match) as caught:
        Embedder(model)(batch)
    assert "\n" not in str(caught.value)


def test_settings_that_cannot_be_are_refused_when_they_are_given(model):
    with pytest.raises(ValueError, match="first=None and second=None"):
        Embedder(model, first=None, second=None)
    with pytest.raises(ValueError, match="missing=guess: choose one of duplicate, translate"):
        Embedder(model, missing="guess")


def test_it_is_sent_without_the_model_and_reads_it_where_it_arrives(
    rows, net, model, tmp_path, monkeypatch
):
    monkeypatch.chdir(model.parent)
    embedder = Embedder(model.name)
    batch = {"first": rows[0], "second": rows[1]}
    embedder(batch)
    sent = pickle.dumps(embedder)
    assert len(sent) < 1000
    monkeypatch.chdir(tmp_path)
    found = pickle.loads(sent)(batch)["embedding"]
    np.testing.assert_array_equal(found, net.transform(*rows))
    with pytest.raises(FileNotFoundError, match=r"gone\.pt: no such model"):
        pickle.loads(pickle.dumps(Embedder("gone.pt")))(batch)


def test_what_is_sent_tells_a_model_that_was_trained_again(net, tmp_path):
    net.save(tmp_path / "m.pt")
    before = pickle.dumps(Embedder(tmp_path / "m.pt"))
    assert pickle.dumps(Embedder(tmp_path / "m.pt")) == before
    os.utime(tmp_path / "m.pt", (1, 1))
    assert pickle.dumps(Embedder(tmp_path / "m.pt")) != before


def test_importing_it_needs_no_framework():
    code = "import sys, bidnn; bidnn.Embedder; print(*sys.modules)"
    said = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)
    assert "torch" in said.split()
    assert not {"lightning", "hydra", "pyarrow"} & set(said.split())


@pytest.mark.parametrize(("processes", "form"), [(None, None), (2, None), (None, "arrow")])
def test_hugging_faces_map_adds_the_column(
    rows, net, model, tmp_path, monkeypatch, processes, form
):
    """In forked processes too, after torch was used in this one."""
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    given = {"id": list(range(ROWS)), "first": lists(rows[0]), "second": lists(rows[1])}
    data = datasets.Dataset.from_dict(given)
    embedder = Embedder(model, device="cpu")
    given_as = data.with_format(form)
    found = given_as.map(embedder, batched=True, batch_size=16, num_proc=processes)
    found = found.with_format(None)
    assert found["id"][:] == given["id"]
    np.testing.assert_array_equal(np.array(found["embedding"][:], "f4"), net.transform(*rows))
    assert found["first"][:] == given["first"]


def test_two_actors_of_ray_data_embed_a_table_in_its_order(rows, net, model, tmp_path):
    """`ray` is an extra of its own; a process of its own, since it starts and ends a cluster."""
    pytest.importorskip("ray")
    first, second = (pa.array(lists(values), pa.list_(pa.float32())) for values in rows)
    table = pa.table({"id": [f"v{n}" for n in range(ROWS)], "first": first, "second": second})
    (tmp_path / "rows").mkdir()
    for part in range(12):
        path = tmp_path / "rows" / f"part-{part:02d}.parquet"
        parquet.write_table(table.slice(part * 5, 5), path)
    said = subprocess.run(
        [sys.executable, "-c", RAY, str(tmp_path), str(model)],
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert said.returncode == 0, said.stderr
    found = np.load(tmp_path / "found.npz")
    assert found["id"].tolist() == [f"v{n}" for n in range(ROWS)]
    np.testing.assert_allclose(found["embedding"], net.transform(*rows), rtol=1e-5, atol=1e-6)
    assert len(set(found["process"].tolist())) == 2
    assert found["own"] not in found["process"]


RAY = """
import os, sys, time
import numpy as np
import ray
from bidnn import Embedder

class Telling(Embedder):
    def __call__(self, batch):
        time.sleep(0.3)  # so that one actor does not take all
        found = super().__call__(batch)
        return found.append_column("process", [[os.getpid()] * len(batch)])

folder, model = sys.argv[1:]
ray.init(num_cpus=3, include_dashboard=False)
context = ray.data.DataContext.get_current()
context.execution_options.preserve_order = True
context.wait_for_min_actors_s = 60
settings = {"checkpoint": model, "first": "first", "second": "second", "device": "cpu"}
rows = ray.data.read_parquet(f"{folder}/rows").repartition(12).map_batches(
    Telling,
    fn_constructor_kwargs=settings,
    batch_size=5,
    batch_format="pyarrow",
    concurrency=2,
)
found = rows.take_all()
np.savez(
    f"{folder}/found.npz",
    id=[row["id"] for row in found],
    embedding=np.stack([row["embedding"] for row in found]),
    process=[row["process"] for row in found],
    own=os.getpid(),
)
"""
