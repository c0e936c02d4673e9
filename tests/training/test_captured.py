"""What is recorded once gives what the function gives; here by a stand-in for CUDA graphs."""

import numpy as np
import pytest
import torch

from bidnn.architecture import NetworkConfig
from bidnn.losses import LossConfig, pair_loss
from bidnn.network import Network
from bidnn.training.captured import Captured
from bidnn.training.compiled import CompiledSteps
from bidnn.training.optimizers import AdamConfig, SgdConfig


class Recorder:
    """Runs a function anew at each replay, from where the first run took and left its tensors."""

    def __init__(self, *changed):
        self.changed, self.recorded = changed, 0

    def __call__(self, function):
        self.recorded += 1
        before = [values.clone() for values in self.changed]
        result = function()
        for values, old in zip(self.changed, before, strict=True):
            values.copy_(old)
        return lambda: result.copy_(function()), result


def test_a_replay_sees_the_inputs_of_its_call_and_leaves_earlier_results_alone():
    recorder = Recorder()
    captured = Captured(lambda parts: parts[0].sum(dim=1) + len(parts[0]), recorder)
    calls = [torch.full((rows, 2), float(rows)) for rows in (3, 3, 3, 1, 3, 1)]
    calls[2] += 1
    found = [captured([values, None]) for values in calls]
    for own, values in zip(found, calls, strict=True):
        assert torch.equal(own, values.sum(dim=1) + len(values))
    assert recorder.recorded == 2  # for three rows and for one; the first call is not recorded
    calls[4].zero_()
    assert found[4].tolist() == [9.0] * 3


def test_what_is_forgotten_is_recorded_anew():
    factor, recorded = [1.0], []

    def record(function):
        fixed = factor[0]
        recorded.append(fixed)
        result = function()
        return lambda: result.fill_(fixed), result

    captured = Captured(lambda parts: parts[0] * factor[0], record)
    for now in (1.0, 1.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0):
        if factor[0] != now:
            factor[0] = now
            captured.forget()
        assert captured([torch.ones(2)]).tolist() == [now, now]
    assert recorded == [1.0, 2.0, 1.0]  # at the second call of each


@pytest.mark.parametrize("config", [SgdConfig(), AdamConfig(weight_decay=0.1, decoupled=True)])
def test_recorded_steps_are_the_steps(monkeypatch, config):
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    generator = np.random.default_rng(0)
    rows = [torch.from_numpy(generator.normal(size=(64, n)).astype("f4")) for n in (5, 3)]
    rates = torch.linspace(0.01, 0.1, 8).tolist()

    def objective(call, first, second, present):
        return pair_loss(call(first, second), first, second, LossConfig(), present)

    def train(captured):
        torch.manual_seed(0)
        network = Network(5, 3, NetworkConfig(hdn=6, rep=4, dropout=0.0))
        optimizer = config.build(network.parameters())
        steps = CompiledSteps(network, objective, optimizer, config, 8)
        seeded = []
        if captured:
            states = [config.state(optimizer, p) for p in network.parameters()]
            parameters = [p.detach() for p in network.parameters()]
            changed = [*parameters, *(values for state in states for values in state)]
            steps._captured = Captured(steps._steps, Recorder(*changed))
        losses = [steps(rates, [*rows, None], seeded.append) for _ in range(3)]
        losses.append(steps(rates[:3], [*(part[:24] for part in rows), None], seeded.append))
        return torch.cat(losses), list(network.parameters()), seeded

    own, other = train(captured=True), train(captured=False)
    assert torch.equal(own[0], other[0])
    assert own[0].shape == (3 * 8 + 3, 3)
    for one, two in zip(own[1], other[1], strict=True):
        assert torch.equal(one, two)
    assert own[2] == [0] * 4  # the random numbers of a chunk come from one seed
    assert other[2] == [*range(8)] * 3 + [*range(3)]


@pytest.mark.parametrize(
    ("tied", "most"),
    # Of a weight that is used twice the two gradients are summed in bf16, whose digits end at 2⁻⁸.
    [(False, 0.0), (True, 2.0**-8)],
)
def test_weights_kept_rounded_give_the_steps_of_rounding_in_each_use(monkeypatch, tied, most):
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    generator = np.random.default_rng(0)
    rows = [torch.from_numpy(generator.normal(size=(64, n)).astype("f4")) for n in (5, 3)]

    def objective(call, first, second, present):
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            return pair_loss(call(first, second), first, second, LossConfig(), present)

    def train(*, kept):
        torch.manual_seed(0)
        network = Network(5, 3, NetworkConfig(hdn=6, rep=4, dropout=0.0, tied=tied))
        config = SgdConfig()
        optimizer = config.build(network.parameters())
        steps = CompiledSteps(network, objective, optimizer, config, 8, bf16=kept)
        losses = [steps([0.1] * 8, [*rows, None], lambda _: None)]
        with torch.no_grad():  # as a callback that averages weights would
            for values in network.parameters():
                values.mul_(0.5)
        losses.append(steps([0.1] * 8, [*rows, None], lambda _: None))
        return torch.cat(losses), torch.cat([p.detach().ravel() for p in network.parameters()])

    for own, other in zip(train(kept=True), train(kept=False), strict=True):
        assert own.dtype == torch.float32
        torch.testing.assert_close(own, other, rtol=0.0, atol=most * float(other.abs().max()))
