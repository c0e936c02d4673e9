"""Replays real runs of the original, step by step."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bidnn.architecture import Activation, NetworkConfig
from bidnn.losses import LossConfig, pair_loss
from bidnn.model.finishing import MissingStrategy
from bidnn.model.model import Model
from bidnn.network import Network
from bidnn.original.model_file import parameter_order, read_model, write_model
from bidnn.training.compiled import CompiledSteps
from bidnn.training.optimizers import SgdConfig
from tests.needing import needs_compiler
from tests.reading import arrays
from tests.reference import Reference

GOLDEN = Path(__file__).parent / "golden"
RUNS = ("tied_tanh", "untied_relu")


class Run:
    def __init__(self, name):
        self.arrays = arrays(GOLDEN / f"{name}.npz")
        get = {k: v.item() for k, v in self.arrays.items() if v.ndim == 0}
        self.get = get
        self.sizes = (get["mod1size"], get["mod2size"])
        self.first, self.second = np.hsplit(self.arrays["X"], [get["mod1size"]])
        self.config = NetworkConfig(
            hdn=get["hdn"],
            rep=get["rep"],
            activation=Activation(get["activation"].decode()),
            dropout=get["dropout"],
            tied=not get["untied"],
        )

    def parameters(self, prefix):
        return [self.arrays[k] for k in sorted(self.arrays) if k.startswith(f"{prefix}_")]

    def network(self, prefix):
        network = Network(*self.sizes, self.config)
        with torch.no_grad():
            for own, values in zip(parameter_order(network), self.parameters(prefix), strict=True):
                own.copy_(torch.from_numpy(values.T.copy()))
        return network

    def present(self):
        present = np.ones((len(self.first), 2), dtype=bool)
        present[self.arrays["missing_first"], 0] = False
        present[self.arrays["missing_second"], 1] = False
        empty = ~self.arrays["X"].any(axis=1)
        present[empty] = False
        return present


@pytest.fixture(params=RUNS)
def run(request):
    return Run(request.param)


def test_replaying_the_batches_gives_the_losses_and_the_final_parameters(run):
    network = run.network("init")
    optimizer = SgdConfig(lr=run.get["learning_rate"], momentum=run.get["momentum"]).build(
        network.parameters()
    )
    losses = []
    for rows in run.arrays["batches"]:
        first, second = torch.from_numpy(run.first[rows]), torch.from_numpy(run.second[rows])
        loss = pair_loss(network(first, second), first, second, LossConfig())["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    np.testing.assert_allclose(losses, run.arrays["loss"], rtol=1e-4)
    for own, values in zip(parameter_order(network), run.parameters("final"), strict=True):
        scale = np.abs(values).max()
        np.testing.assert_allclose(own.detach().numpy().T, values, rtol=1e-4, atol=1e-4 * scale)


@needs_compiler
@pytest.mark.parametrize(("bf16", "tolerance"), [(False, 1e-4), (True, 1e-2)])
def test_compiled_steps_replay_the_losses_too_bf16_within_a_hundredth(run, bf16, tolerance):
    network = run.network("init")
    config = SgdConfig(lr=run.get["learning_rate"], momentum=run.get["momentum"])

    def objective(call, first, second, present):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16, cache_enabled=False):
            return pair_loss(call(first, second), first, second, LossConfig(), present)

    batches = run.arrays["batches"]
    steps = CompiledSteps(
        network, objective, config.build(network.parameters()), config, batches.shape[1]
    )
    rows = [torch.from_numpy(part[batches.ravel()]) for part in (run.first, run.second)]
    losses = steps([config.lr] * len(batches), [*rows, None], lambda _: None)
    losses = losses[:, steps.names.index("loss")].tolist()
    np.testing.assert_allclose(losses, run.arrays["loss"], rtol=tolerance)
    for own, values in zip(parameter_order(network), run.parameters("final"), strict=True):
        scale = np.abs(values).max()
        np.testing.assert_allclose(
            own.detach().numpy().T, values, rtol=0, atol=3 * tolerance * scale
        )


def test_embedding_by_duplication_and_translation_are_those_of_the_original(run):
    model = Model.of(run.network("final")).eval()
    present = run.present()
    some = present.any(axis=1)
    tensors = [torch.from_numpy(v) for v in (run.first, run.second, present)]
    with torch.no_grad():
        embedding = model.with_missing(MissingStrategy.duplicate).embed(*tensors).numpy()
        crossmodal = torch.cat(model.complete(*tensors), dim=1).numpy()
    for own, name in ((embedding, "embedding"), (crossmodal, "crossmodal")):
        expected = run.arrays[name]
        np.testing.assert_allclose(own[some], expected[some], rtol=1e-4, atol=1e-5)
        assert not own[~some].any()


def test_the_model_file_is_read_and_written_as_the_original_does(run, tmp_path, request):
    name = request.node.callspec.params["run"]
    network = read_model(GOLDEN / f"{name}_model.npz", run.config)
    write_model(tmp_path / "model.npz", network)
    again = arrays(tmp_path / "model.npz")
    for number, values in enumerate(run.parameters("final")):
        np.testing.assert_array_equal(again[f"arr_{number}"], values)
    assert len(again) == len(run.parameters("final"))


def test_the_reference_in_numpy_agrees_with_the_original_and_with_autograd(run):
    rows = run.arrays["batches"][0]
    first, second = run.first[rows], run.second[rows]
    reference = Reference(
        [p.astype(np.float64) for p in run.parameters("init")], run.config.activation.value
    )
    np.testing.assert_allclose(reference.loss(first, second), run.arrays["loss"][0], rtol=1e-5)
    network = run.network("init")
    tensors = torch.from_numpy(first), torch.from_numpy(second)
    pair_loss(network(*tensors), *tensors, LossConfig())["loss"].backward()
    for own, expected in zip(
        parameter_order(network), reference.gradients(first, second), strict=True
    ):
        np.testing.assert_allclose(own.grad.numpy().T, expected, rtol=1e-3, atol=1e-7)
