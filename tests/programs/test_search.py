"""bidnn index and bidnn search: from a trained model's embedding to the rows that are found."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from bidnn import load
from tests.programs.running import ROOT, refused, succeed


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run's folder, its rows, and the embedding of two thirds of them, with ids."""
    folder = tmp_path_factory.mktemp("search")
    generator = np.random.default_rng(0)
    hidden = generator.normal(size=(120, 4))
    first = np.tanh(hidden @ generator.normal(size=(4, 6))).astype("f4")
    second = np.tanh(hidden @ generator.normal(size=(4, 8))).astype("f4")
    names = np.array([f"v{n}" for n in range(120)])
    gap = first.copy()
    gap[::3] = np.nan
    for name, rows in {"old": slice(0, 80), "new": slice(80, 120)}.items():
        np.savez(folder / f"{name}.npz", first=gap[rows], second=second[rows], id=names[rows])
    np.savez(folder / "asked.npz", first=first[:3], id=["q0", "q1", "q2"])
    succeed(
        "scripts/train.py",
        *("data=npz", f"data.path={folder}/old.npz", "trainer.max_epochs=20", "model.rep=8"),
        *("experiment=incomplete", f"hydra.run.dir={folder}/run", "data.batch_size=16"),
        f"output.path={folder}/old.parquet",
    )
    succeed(
        "scripts/embed.py",
        *(f"checkpoint={folder}/run", "data=npz", f"data.path={folder}/new.npz"),
        *(f"output.path={folder}/new.parquet", f"hydra.run.dir={folder}/embed"),
    )
    return folder, first, second, names


def nearest(vectors, query, k):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.argsort(-(unit @ (query / np.linalg.norm(query))), kind="stable")[:k]


def test_rows_are_found_by_id_and_through_the_model_with_and_without_an_index(trained, tmp_path):
    folder, first, _, names = trained
    file, index = folder / "old.parquet", f"folder={tmp_path}/index"
    old = np.stack(parquet.read_table(file)["embedding"].to_pylist())
    new = np.stack(parquet.read_table(folder / "new.parquet")["embedding"].to_pylist())
    said = succeed("scripts/index.py", file, index)
    assert "80 rows of 8; all are compared with a query" in said.err
    assert "rows with second only find among their ten nearest: " in said.err
    net = load(folder / "run")
    asked = net.transform(first=first[:3])
    for more, vectors in ((), old), ((index,), old), ((index,), np.concatenate([old, new])):
        if len(vectors) > len(old):
            succeed("scripts/index.py", file, index, f"add={folder}/new.parquet")
        written = f"output.path={tmp_path}/like.jsonl"
        succeed("scripts/search.py", file, *more, "id=v5", "k=4", written)
        lines = (tmp_path / "like.jsonl").read_text().splitlines()
        expected = names[nearest(vectors, vectors[5], 5)[1:]].tolist()
        assert [json.loads(line)["id"] for line in lines] == expected
        through = [f"checkpoint={folder}/run", "data=npz", f"data.path={folder}/asked.npz", "k=3"]
        succeed("scripts/search.py", file, *more, *through, f"output.path={tmp_path}/h.parquet")
        hits = parquet.read_table(tmp_path / "h.parquet")
        assert hits["query"].to_pylist() == ["q0"] * 3 + ["q1"] * 3 + ["q2"] * 3
        found = np.reshape(hits["id"].to_pylist(), (3, 3))
        for row, query in zip(found, asked, strict=True):
            assert row.tolist() == names[nearest(vectors, query, 3)].tolist()


def test_a_vector_may_come_from_a_file_or_from_standard_input(trained, tmp_path):
    folder, _, second, names = trained
    old = np.stack(parquet.read_table(folder / "old.parquet")["embedding"].to_pylist())
    net = load(folder / "run")
    expected = names[nearest(old, net.transform(second=second[:1])[0], 10)].tolist()
    np.save(tmp_path / "one.npy", second[0])
    text = json.dumps(second[0].tolist())
    (tmp_path / "one.json").write_text(text + "\n")
    for given in (f"second={tmp_path}/one.npy", f"second={tmp_path}/one.json", "second=-"):
        program = [sys.executable, ROOT / "scripts/search.py", folder / "old.parquet", given]
        program += [f"checkpoint={folder}/run", f"output.path={tmp_path}/h.run"]
        subprocess.run(program, check=True, input=text, text=True)
        lines = [line.split() for line in (tmp_path / "h.run").read_text().splitlines()]
        assert [document for _, _, document, _, _, _ in lines] == expected
    shown = succeed("scripts/search.py", folder / "old.parquet", "id=[v1,v2]", "k=2").out
    assert [line.split()[1] for line in shown.splitlines() if "│" in line] == ["v1"] * 2 + [
        "v2"
    ] * 2
    assert " both " in shown or " second " in shown
    arguments = [folder / "old.parquet", "id=v1", f"output.path={tmp_path}/one.jsonl"]
    assert succeed("scripts/search.py", *arguments).err.rstrip().endswith("one.jsonl: 1 query")


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ([], "search for a row of the embedding with id=ID, .* nothing is given"),
        (["id=v1", "first=-"], "id and first is given"),
        (["first=-"], r"add checkpoint=RUN"),
        (["id=v99"], "id=v99: no row of the index is called so"),
        (["id=v1", "output.path=h.csv"], r"h.csv: hits are written as .parquet"),
        (["id=v1", "k=0"], "k=0: must be at least 1"),
    ],
)
def test_what_cannot_be_searched_is_said_in_one_line(trained, arguments, match):
    line = refused("scripts/search.py", trained[0] / "old.parquet", *arguments, cwd=trained[0])
    assert re.search(match, line)


def test_an_index_older_than_its_embedding_is_not_searched(trained, tmp_path):
    file = tmp_path / "e.parquet"
    parquet.write_table(pa.table({"id": ["a", "b"], "embedding": [[1.0, 0.0], [0.0, 1.0]]}), file)
    succeed("scripts/index.py", file)
    succeed("scripts/search.py", file, "id=a")
    earlier = file.stat().st_mtime - 1
    os.utime(tmp_path / "e.parquet.index" / "index.json", (earlier, earlier))
    assert "was written after its index" in refused("scripts/search.py", file, "id=a")
    assert "was written after its index" in refused("scripts/index.py", file, f"add={file}")
    assert "which is made anew" in succeed("scripts/index.py", file).err
    assert "an index is there already" in refused("scripts/index.py", file)
    succeed("scripts/search.py", f"{file}.index", "id=a")
