"""An index and the model of its rows: another one is refused, and its settings are followed."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from bidnn.architecture import NetworkConfig
from bidnn.errors import UserError
from bidnn.estimator import BiDNN
from bidnn.model.about import about
from bidnn.model.finishing import MissingStrategy
from bidnn.model.inference import OutputKind
from bidnn.model.model import Model
from bidnn.programs.config import HitsConfig, SearchConfig
from bidnn.programs.search import run
from bidnn.search import Index

GENERATOR = np.random.default_rng(0)
FIRST = GENERATOR.normal(size=(20, 6)).astype(np.float32)
SECOND = GENERATOR.normal(size=(20, 5)).astype(np.float32)
OTHER = r"{} is of another model .*\(it differs in {}\)"


def made(seed):
    torch.manual_seed(seed)
    return Model(6, 5, NetworkConfig(hdn=8, rep=4))


def net_of(model):
    return BiDNN._of(model, Path("model"))


def embedded(path, seed=0, l2_norm=False, missing=None, rows=slice(None), says=True):
    """A file as `bidnn embed` writes it."""
    model = made(seed) if missing is None else made(seed).with_missing(missing)
    net = net_of(model)
    net.config.l2_norm = l2_norm
    ids = [f"r{row}" for row in range(20)[rows]]
    table = pa.table({"id": ids, "embedding": list(net.transform(FIRST[rows], SECOND[rows]))})
    told = about(model, OutputKind.embedding, l2_norm=l2_norm) if says else {}
    parquet.write_table(table.replace_schema_metadata(told), path)
    return str(path)


def test_another_model_of_the_same_shape_is_refused_and_the_own_one_is_not(tmp_path):
    file, folder = embedded(tmp_path / "e.parquet"), tmp_path / "index"
    own, other = net_of(made(0)), net_of(made(1))
    assert Index.build(file, folder=folder, model=own).model is own
    assert Index.open(folder, model=own).search(first=FIRST[:2], second=SECOND[:2], k=1).ids == [
        ["r0"],
        ["r1"],
    ]
    with pytest.raises(UserError, match=OTHER.format("e.parquet", "weights")):
        Index.build(file, folder=tmp_path / "none", model=other)
    assert not (tmp_path / "none").exists()
    with pytest.raises(UserError, match=OTHER.format("index", "weights")):
        Index.open(folder, model=other)
    silent = embedded(tmp_path / "old.parquet", says=False)
    assert len(Index.build(silent, model=other)) == 20
    assert len(Index.build(np.ones((3, 4), np.float32), model=other)) == 3


@pytest.mark.parametrize(
    ("settings", "differs"),
    [
        ({"seed": 1}, "weights"),
        ({"l2_norm": True}, "l2_norm"),
        ({"missing": MissingStrategy.duplicate}, "missing, weights"),
    ],
)
def test_rows_of_another_model_or_made_otherwise_are_not_added(tmp_path, settings, differs):
    older = embedded(tmp_path / "old.parquet", rows=slice(15))
    newer = embedded(tmp_path / "new.parquet", rows=slice(15, 20), **settings)
    with pytest.raises(UserError, match=OTHER.format("new.parquet", differs)):
        Index.build(older).add(newer)
    silent = embedded(tmp_path / "none.parquet", rows=slice(15), says=False)
    assert len(Index.build(silent).add(newer)) == 20
    with pytest.raises(UserError, match=OTHER.format("old.parquet", differs)):
        Index.build(tmp_path)  # a folder of outputs, by their names new, none, old


def test_new_rows_are_embedded_as_those_of_the_index_were(tmp_path):
    settings = {"l2_norm": True, "missing": MissingStrategy.duplicate}
    net = net_of(made(0))
    index = Index.build(embedded(tmp_path / "e.parquet", **settings), model=net)
    assert (net.config.l2_norm, net._trained().missing) == (False, MissingStrategy.translate)
    found = index.model.transform(FIRST)
    net.config.l2_norm = True
    np.testing.assert_array_equal(found, net.transform(FIRST, missing="duplicate"))
    np.testing.assert_array_equal(
        index.search(first=FIRST, k=20).similarities, index.search(found, 20).similarities
    )


def search_for(folder, number):
    output = HitsConfig(path=str(folder / "hits.jsonl"))
    file, saved = folder / "e.parquet", str(folder / f"{number}.pt")
    query = str(folder / "query.npy")
    run(
        SearchConfig(
            file=str(file), folder=f"{file}.index", checkpoint=saved, first=query, output=output
        )
    )


def test_the_program_refuses_another_model_too(tmp_path):
    embedded(tmp_path / "e.parquet")
    np.save(tmp_path / "query.npy", FIRST[:1])
    for seed in (0, 1):
        net_of(made(seed)).save(tmp_path / f"{seed}.pt")
    search_for(tmp_path, 0)
    assert len((tmp_path / "hits.jsonl").read_text().splitlines()) == 10
    with pytest.raises(UserError, match=OTHER.format("e.parquet", "weights")):
        search_for(tmp_path, 1)
