"""What starts without what it does not need: importing a framework takes seconds."""

import subprocess
import sys

import numpy as np
import pytest

from bidnn import BiDNN
from tests.programs.running import ROOT, succeed

FRAMEWORKS = {"lightning", "hydra", "omegaconf"}
HEAVY = {"sklearn", "matplotlib", "rich", "tensorboard", "pyarrow", "ir_measures"}
HEAVY |= {"pandas", "optuna", "safetensors", "huggingface_hub", "onnx", "onnxruntime"}


def imported(code, *arguments, cwd=None):
    """Top-level modules that a program has imported in the end."""
    code += "\nimport sys; print('|'.join({name.split('.')[0] for name in sys.modules}))"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    said = subprocess.check_output(command, cwd=cwd or ROOT, text=True, timeout=120)
    return set(said.splitlines()[-1].split("|"))


def test_the_package_imports_nothing_until_it_is_asked():
    found = imported(
        "import bidnn; assert {'BiDNN', 'load', 'Config', 'Embedder'} <= set(dir(bidnn))"
    )
    assert not found & (FRAMEWORKS | HEAVY | {"torch", "numpy", "scipy"})


@pytest.mark.parametrize("program", ["train", "tune", "export"])
def test_help_imports_no_lightning_and_nothing_heavy(program):
    assert not imported(PROGRAM, program, "--help") & (HEAVY | {"lightning"})


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    first, second = np.random.default_rng(0).normal(size=(2, 40, 5)).astype("f4")
    BiDNN(hdn=8, rep=4, epochs=1, verbosity=0).fit(first, second).save(folder / "model.pt")
    np.savez(folder / "rows.npz", first=first, second=second, label=np.arange(40) % 4)
    return folder


def test_a_loaded_model_embeds_without_a_framework(model):
    code = (
        "import sys, numpy, bidnn\n"
        "rows = numpy.load(sys.argv[2])\n"
        "z = bidnn.load(sys.argv[1]).transform(rows['first'], rows['second'])\n"
        "assert z.shape[0] == 40"
    )
    found = imported(code, model / "model.pt", model / "rows.npz")
    assert "torch" in found
    assert not found & (FRAMEWORKS | HEAVY)


PROGRAM = "import sys; sys.argv = ['bidnn', *sys.argv[1:]]\nimport bidnn.__main__ as m; m.main()"


def test_embed_never_imports_lightning_and_evaluate_no_framework(model):
    rows, out = f"data.path={model / 'rows.npz'}", model / "out.npz"
    settings = ("data=npz", rows, f"checkpoint={model / 'model.pt'}", f"output.path={out}")
    assert not imported(PROGRAM, "embed", *settings, cwd=model) & (HEAVY | {"lightning"})
    assert not imported(PROGRAM, "evaluate", out, cwd=model) & (FRAMEWORKS | HEAVY | {"torch"})


@pytest.mark.slow
def test_the_package_costs_nothing_and_help_at_most_two_and_a_half_times_torch():
    most = {"import bidnn": 1.3, "bidnn train --help": 2.5, "from bidnn import load": 1.6}
    lines = succeed("benchmarks/start.py", *most, "--times", "3", fresh=True).out.splitlines()
    ratios = {line[:32].strip(): float(line[32:].split()[1]) for line in lines[1:]}
    assert all(ratios[name] < limit for name, limit in most.items()), ratios
