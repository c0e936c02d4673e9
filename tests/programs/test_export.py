"""bidnn export: from a run's folder to what others load."""

import json
import re

import numpy as np
import onnxruntime
import pytest

from bidnn import load
from tests.programs.running import TINY, refused, succeed


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    generator = np.random.default_rng(0)
    first = generator.normal(size=(60, 5)).astype("f4")
    second = (first @ generator.normal(size=(5, 7))).astype("f4")
    first[::4] = np.nan
    np.savez(folder / "rows.npz", first=first, second=second)
    data = ("data=npz", f"data.path={folder}/rows.npz", "output.l2_norm=true")
    succeed("scripts/train.py", *TINY, *data, "scaling=standard", f"hydra.run.dir={folder}/run")
    return folder


@pytest.mark.slow
def test_a_run_becomes_a_folder_and_graphs_that_embed_as_it_does(run, tmp_path):
    rows = ("data=npz", f"data.path={run}/rows.npz")
    card = ("card.license=mit", "card.tags=[video]", "card.limits='Short ones only.'")
    both = (f"pretrained={tmp_path}/shared", "--onnx", tmp_path / "graphs")
    said = succeed("scripts/export.py", run / "run", *both, *rows, *card)
    differ = re.findall(r"/(\w+)\.onnx: differs from the model by (\S+)", said.err)
    names = {f"{name}.onnx" for name, _ in differ}
    assert names == {path.name for path in (tmp_path / "graphs").iterdir()}
    assert len(names) == 5
    assert all(float(value) < 1e-5 for _, value in differ)
    assert "opset 18" in said.err
    assert "rows.npz" in said.err

    text = (tmp_path / "shared" / "README.md").read_text()
    record = json.loads((run / "run" / "run.json").read_text())
    metrics = json.loads((run / "run" / "metrics.json").read_text())
    assert f"`{record['data']['fingerprint']}`" in text
    assert f"| `trained with torch` | `{record['versions']['torch']}` |" in text
    for name in metrics.keys() - {"learning_rate"}:
        assert f"| `{name}` | `{metrics[name]:.6g}` |" in text
    assert "\nShort ones only.\n" in text
    everything = text + (tmp_path / "shared" / "config.json").read_text()
    assert str(run) not in everything  # of this machine
    assert record["machine"]["platform"] not in everything

    shared = f"checkpoint={tmp_path}/shared"
    for name, checkpoint in (("own", f"checkpoint={run}/run"), ("again", shared)):
        out = ("output.l2_norm=true", f"output.path={tmp_path}/{name}.npz")
        succeed("scripts/embed.py", checkpoint, *rows, *out, f"hydra.run.dir={tmp_path}/{name}")
    own = np.load(tmp_path / "own.npz")["embedding"]
    assert own.tobytes() == np.load(tmp_path / "again.npz")["embedding"].tobytes()
    given = np.load(run / "rows.npz")
    first, second = given["first"], given["second"]
    present = np.stack([~np.isnan(first[:, 0]), np.ones(60, bool)], axis=1)
    session = onnxruntime.InferenceSession(tmp_path / "graphs" / "embed.onnx")
    (found,) = session.run(None, {"first": first, "second": second, "present": present})
    np.testing.assert_allclose(found, own, atol=1e-5 * np.abs(own).max())
    assert own.tobytes() == load(tmp_path / "shared").transform(first, second).tobytes()

    more = (*TINY, *rows, "scaling=standard", shared, f"hydra.run.dir={tmp_path}/more")
    succeed("scripts/train.py", *more)  # training goes on from it


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ([], "nothing to write; name new folders: pretrained=FOLDER, onnx=FOLDER"),
        (["--onnx"], "--onnx: name a new folder for the graphs, onnx=FOLDER"),
        (["--onnx", "pretrained=x"], "--onnx: name a new folder"),
        (["pretrained=x", "onnx=x"], "pretrained=x, and onnx, too"),
        (["onnx=x", "card.title=T"], r"card\.title: for the README of pretrained=FOLDER"),
        (["pretrained=x", "data=digits"], "data: rows that graphs are checked on, for onnx=FOLDER"),
        (["pretrained=x", "card.licence=mit"], "licence"),
        (["pretrained=.."], r"pretrained=\.\.: is there already"),
        (["onnx=x", "data=digits"], r"features of 32 \+ 32 columns, but the model .* 5 \+ 7"),
        (["checkpoint=nothing", "onnx=x"], "nothing: no such model"),
    ],
)
def test_what_cannot_be_exported_is_said_in_one_line(run, tmp_path, arguments, match):
    named = () if "checkpoint=nothing" in arguments else (run / "run",)
    line = refused("scripts/export.py", *named, *arguments, cwd=tmp_path)
    assert re.search(match, line)
    assert not list(tmp_path.iterdir())
