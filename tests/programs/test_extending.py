"""docs/extending.md as it stands: a folder of one's own adds settings, rows, a loss, a network."""

import importlib
import json
import re
import shlex
import sys

import numpy as np
import pytest
import torch

from bidnn import BiDNN
from bidnn.model.networks import PairNetwork
from bidnn.model.saved import load_bundle, save_bundle
from tests.programs.running import ROOT, TINY, refused, run, succeed
from tests.reading import arrays

pytestmark = pytest.mark.slow
PAGE = (ROOT / "docs" / "extending.md").read_text()
COMMANDS = [
    line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in block.splitlines()
]


def bidnn(line, cwd, *more):
    program, *arguments = shlex.split(line)
    assert program == "bidnn"
    return succeed("-m bidnn", *arguments, *more, cwd=cwd)


@pytest.fixture
def folder(tmp_path):
    files = re.findall(r"^`(mine/\S+)`\n\n```\w+\n(.*?)```", PAGE, re.S | re.M)
    assert len(files) == 6
    for name, text in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("line", [line for line in COMMANDS if " train " in line])
def test_the_pages_trainings_run(folder, line):
    bidnn(line, folder, "hydra.run.dir=run")
    settings = (folder / "run" / "config.yaml").read_text()
    assert "hdn: 16" in settings
    metrics = json.loads((folder / "run" / "metrics.json").read_text())
    assert 0 < metrics["train/loss"] < 2
    if "loss=huber" in line:
        assert "delta: 0.5" in settings
        halves = metrics["train/first_to_second"] + metrics["train/second_to_first"]
        assert metrics["train/loss"] == pytest.approx(halves / 2, rel=1e-5)
    if "data=waves" in line:
        present = arrays(folder / "run" / "embedding_final.npz")["present"]
        np.testing.assert_array_equal(present[:, 1], np.arange(200) % 5 != 0)


def test_own_rows_are_converted_embedded_and_explained(folder):
    (convert,) = (line for line in COMMANDS if " convert " in line)
    bidnn(convert, folder)
    assert arrays(folder / "waves.npz")["first"].shape == (200, 5)
    own = "bidnn train --config-dir mine"
    bidnn(f"{own} experiment=small data=waves hydra.run.dir=run", folder)
    embed = "bidnn embed --config-dir mine checkpoint=run data=waves output.path=z.npz"
    bidnn(embed, folder)
    vectors = arrays(folder / "z.npz")["embedding"]
    np.testing.assert_array_equal(vectors, arrays(folder / "run/embedding_final.npz")["embedding"])
    said = bidnn(f"{own} data=waves --help data.noise experiment", folder).out
    assert said.startswith("data.noise=0.1")
    assert "deviation of what is added." in said
    assert "  small               A small network for a short while.\n" in said


def test_own_recipes_and_losses_are_chosen_from_python(folder, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    own = folder / "it's, mine"
    (folder / "mine").rename(own)
    random = np.random.default_rng(0)
    first, second = random.normal(size=(40, 5)), random.normal(size=(40, 3))
    more = {"recipe": "small", "epochs": 1, "verbosity": 0, "config_dir": own}
    net = BiDNN(**more, run_dir=str(folder / "run")).fit(first, second)
    assert net.transform(first, second).shape == (40, 8)
    BiDNN(**more, loss="huber", loss__delta=0.5, run_dir=str(folder / "run")).fit(first, second)
    settings = (folder / "run" / "config.yaml").read_text()
    assert "_target_: robust.Huber\n  delta: 0.5" in settings
    with pytest.raises(ValueError, match=r"experiment=none: choose one of .*small"):
        BiDNN(**{**more, "recipe": "none"}).fit(first, second)
    with pytest.raises(ValueError, match="nowhere: no such folder of settings"):
        BiDNN(**{**more, "config_dir": "nowhere"}).fit(first, second)


def test_an_own_network_is_trained_from_python_and_learns(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder / "mine")
    monkeypatch.chdir(folder)
    hidden = np.random.default_rng(0).normal(size=(200, 3))
    first, second = (hidden @ np.random.default_rng(n).normal(size=(3, n)) for n in (6, 5))
    second[::5] = np.nan
    torch.manual_seed(0)
    linear = importlib.import_module("linear")
    fitted, vectors = linear.train(first, second)
    assert fitted.metrics["explained/first_to_second"] > 0.9
    assert [path.name for path in folder.iterdir()] == ["mine"]
    network = fitted.model.network
    assert isinstance(network, PairNetwork)
    with torch.no_grad():
        alone = network.first(torch.tensor(first[:1], dtype=torch.float32)).numpy()
    np.testing.assert_allclose(vectors[:1], alone, rtol=1e-4)  # its second modality is missing
    fitted.model.eval()
    save_bundle(folder / "model.pt", fitted.model)
    with pytest.raises(ValueError, match=r"should be .* by the model's own description"):
        load_bundle(folder / "model.pt")


def test_two_processes_and_a_sweep_find_the_own_folder(folder):
    own = ("train", "data=waves", "--config-dir", "mine", *TINY)
    more = ("trainer=ddp", "trainer.accelerator=cpu", "callbacks.report=null")
    succeed("-m bidnn", *own, *more, "hydra.run.dir=two", cwd=folder)
    assert (folder / "two" / "embedding_final.npz").exists()
    sweep = ("-m", "seed=1,2", "hydra/launcher=joblib", "hydra.sweep.dir=sweep")
    succeed("-m bidnn", *own, *sweep, cwd=folder, fresh=True)
    assert (folder / "sweep" / "1" / "embedding_final.npz").exists()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("class Waves:\n    def __init__(self, **settings): pass\n", "Waves has no batch_size, "),
        (
            "from bidnn.data.sources import Source\nfrom dataclasses import dataclass\n"
            "@dataclass(kw_only=True)\nclass Waves(Source):\n    rows: int\n    noise: float\n",
            "Waves has no open; derive it from bidnn.data.sources.Source",
        ),
        ("class Wave: pass\n", "Error locating target 'waves.Waves'"),
    ],
)
def test_what_is_no_source_is_refused_in_one_line(folder, source, said):
    (folder / "mine" / "waves.py").write_text(source)
    line = refused("-m bidnn", "train", "--config-dir", "mine", "data=waves", cwd=folder)
    assert said in line
    assert not (folder / "runs").exists()


def test_own_settings_out_of_range_are_refused_by_name(folder):
    own = ("train", "--config-dir", "mine", "data=waves")
    assert "data.batch_size=0: must" in refused("-m bidnn", *own, "data.batch_size=0", cwd=folder)
    line = refused("-m bidnn", *own, "+data.shuffle=wild", cwd=folder)
    assert "data.shuffle=wild: choose one of rows, blocks, auto" in line
    assert "not found" in refused("-m bidnn", "train", "--config-dir", "none", cwd=folder)


def test_a_fault_in_an_own_loss_keeps_its_traceback(folder):
    loss = folder / "mine" / "robust.py"
    loss.write_text(
        loss.read_text().replace("huber_loss(outputs.first", "huber_loss(outputs.nothing")
    )
    own = ("train", "--config-dir", "mine", "experiment=small", "loss=huber")
    ended = run("-m bidnn", *own, cwd=folder)
    assert ended.status == 70
    assert "robust.py" in ended.err
    report = ended.err.index("This is a fault of bidnn 0.")
    assert ended.err.index("AttributeError: 'Outputs' object has no") < report
