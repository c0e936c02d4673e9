"""The graphs are the model: by onnxruntime, on rows with anything missing, in any number."""

import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from bidnn.data.formats.arrays import store_arrays
from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.estimator import BiDNN
from bidnn.model.about import about
from bidnn.model.inference import OutputKind
from bidnn.network import Network
from bidnn.publishing import onnx as graphs
from bidnn.publishing.onnx import GRAPHS, export_onnx, made_rows, write_graph
from tests.publishing.recipes import RECIPES, SIZES, model_of, rows

WHOLE = ["experiment=crossmodal", "experiment=incomplete", "model=multimodal_autoencoder"]
REST = [*(r for r in RECIPES if r not in WHOLE), "model=concat_autoencoder"]
COUNTS = (0, 1, 7, 100)


def session(path):
    found = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda **inputs: found.run(None, inputs)[0]


def as_estimator(model, tmp_path):
    return BiDNN._of(model, tmp_path)


def close(found, own):
    """Within 1e-5 of the largest value, however many rows there are."""
    assert found.shape == own.shape
    assert found.dtype == own.dtype == np.float32
    if len(own):
        assert np.abs(found - own).max() <= 1e-5 * np.abs(own).max()


def check_embedding(model, path, tmp_path):
    """Against `BiDNN.transform`; where nothing is present, NaN in place of the values."""
    embed, net, store = session(path), as_estimator(model, tmp_path), rows()
    first, second = store.first.copy(), store.second.copy()
    first[~store.present[:, 0]], second[~store.present[:, 1]] = np.nan, np.nan
    for count in COUNTS:
        one, other, present = first[:count], second[:count], store.present[:count]
        found = embed(first=one, second=other, present=present)
        close(found, net.transform(one, other))
    assert not found[10].any()
    for part in ([True, True], [True, False], [False, True], [False, False]):
        chosen = (store.present == part).all(axis=1)
        assert chosen.any()
        whole = embed(first=first[chosen], second=second[chosen], present=store.present[chosen])
        np.testing.assert_allclose(whole, found[chosen], atol=1e-5 * np.abs(found).max())
        assert whole.any() == any(part)


@pytest.mark.slow
@pytest.mark.parametrize("settings", WHOLE)
def test_every_graph_is_the_model(tmp_path, settings):
    model = model_of(settings)
    worst = export_onnx(model, tmp_path / "graphs", rows())
    assert set(worst) == set(GRAPHS)
    assert all(0 < value < 1e-5 for value in worst.values())
    files = {path.stem: path for path in (tmp_path / "graphs").iterdir()}
    assert set(files) == set(GRAPHS)
    check_embedding(model, files["embed"], tmp_path)

    net, store = as_estimator(model, tmp_path), rows()
    parts = {"first": store.first, "second": store.second}
    for name, other in (("first", "second"), ("second", "first")):
        translate = session(files[f"translate_{name}_to_{other}"])
        encode = session(files[f"encode_{name}"])
        for count in COUNTS:
            given = {name: parts[name][store.present[:, int(name == "second")]][:count]}
            close(translate(**given), net.translate(**given))
            values = torch.from_numpy(given[name])
            with torch.no_grad():
                if isinstance(model.network, Network):
                    scaled = getattr(model, f"{name}_scaler")(values)
                    own = model.network.encode(**{name: scaled}).numpy()
                else:
                    store_of_one = store_arrays(
                        *(given.get(each) for each in ("first", "second")), sizes=SIZES
                    )
                    own = centres(model, store_of_one)
            close(encode(**given), own)


def centres(model, store: PairStore):
    scaled = model.scale(*(torch.from_numpy(part) for part in store.take(slice(None))))
    return model.network.centres(*scaled, torch.from_numpy(store.present)).numpy()


@pytest.mark.slow
@pytest.mark.parametrize("settings", REST)
def test_the_embedding_of_every_other_recipe_is_the_models(tmp_path, settings):
    model = model_of(settings)
    write_graph(model, "embed", tmp_path / "embed.onnx")
    check_embedding(model, tmp_path / "embed.onnx", tmp_path)


def test_a_file_says_what_it_is_of_and_nothing_of_this_machine(tmp_path):
    model = model_of("experiment=paper", "missing=duplicate")
    path = tmp_path / "encode_first.onnx"
    write_graph(model, "encode_first", path)
    file = onnx.load(path)
    onnx.checker.check_model(file, full_check=True)
    assert [(used.domain, used.version) for used in file.opset_import] == [("", 18)]
    told = {entry.key: entry.value for entry in file.metadata_props}
    expected = about(model, OutputKind.embedding, l2_norm=False)
    assert told == expected | {"bidnn.graph": "encode_first"}
    assert file.doc_string == "encode_first: the centre of first"
    (given,), (made,) = file.graph.input, file.graph.output
    for value, name, size in ((given, "first", SIZES[0]), (made, "centre", 3)):
        rows_of, columns = value.type.tensor_type.shape.dim
        assert (value.name, rows_of.dim_param, columns.dim_value) == (name, "rows", size)
    assert b".py" not in path.read_bytes()
    weights = {value.name: list(value.dims) for value in file.graph.initializer}
    assert not any("decoder" in name or "second" in name.split(".")[2:] for name in weights)


def test_a_graph_that_is_not_the_model_is_an_error_and_nothing_is_written(tmp_path, monkeypatch):
    model, other = model_of("experiment=paper"), model_of("experiment=paper", "activation=relu")
    monkeypatch.setattr(graphs, "write_graph", lambda _, name, path: write_graph(other, name, path))
    with pytest.raises(UserError, match=r"encode_first\.onnx: differs from the model by .*nothing"):
        export_onnx(model, tmp_path / "graphs")
    assert not list(tmp_path.iterdir())


def turned(values):
    """Rows in their principal axes, for which ONNX has no operator."""
    return values @ torch.linalg.eigh(values.T @ values)[1]


def test_what_onnx_cannot_have_is_refused_in_a_line(tmp_path):
    model = model_of("experiment=paper")
    model.first_scaler.forward = turned
    with pytest.raises(UserError, match=r"encode_first\.onnx: .* part that ONNX has not") as said:
        export_onnx(model, tmp_path / "graphs")
    assert "\n" not in str(said.value)
    assert not list(tmp_path.iterdir())


def test_what_does_not_fit_into_a_file_or_is_there_is_refused_first(tmp_path, monkeypatch):
    model = model_of("experiment=paper")
    (tmp_path / "graphs").mkdir()
    (tmp_path / "graphs" / "mine.txt").touch()
    with pytest.raises(UserError, match="graphs: is there already"):
        export_onnx(model, tmp_path / "graphs")
    monkeypatch.setattr(graphs, "LARGEST", 100)
    with pytest.raises(UserError, match=r"a file of ONNX holds 2 GB; use pretrained=FOLDER"):
        export_onnx(model, tmp_path / "other")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"onnx, onnxscript, onnxruntime.*pip install 'bidnn\[onnx"):
        export_onnx(model, tmp_path / "other")


@pytest.mark.parametrize("settings", RECIPES)
def test_made_rows_are_like_those_of_the_training(settings):
    model, store = model_of(settings), rows()
    made = made_rows(model)
    shown, counts = np.unique(made["present"], axis=0, return_counts=True)
    assert shown.tolist() == [[False, False], [False, True], [True, False], [True, True]]
    assert len(set(counts)) == 1
    for name, scaler in (("first", model.first_scaler), ("second", model.second_scaler)):
        own = getattr(store, name)[store.present[:, int(name == "second")]]
        if scaler.kind.value != "none":
            assert 0.2 < np.abs(made[name]).mean() / np.abs(own).mean() < 5
