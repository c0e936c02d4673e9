"""Compiled steps give what plain ones give, and leave to those what they would not do."""

import shutil
import signal

import numpy as np
import pytest
import torch
from lightning import Callback

from bidnn.data import datamodule, loaders
from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.losses import LossConfig, Weighting
from bidnn.training import direct
from bidnn.training import steps as taken
from bidnn.training.compiled import CompiledSteps, compiled_loss, needs_plain, needs_plain_update
from bidnn.training.optimizers import AdamConfig, Schedule, SgdConfig, settings_of
from bidnn.training.speed import Bf16, SpeedConfig
from tests.needing import needs_compiler
from tests.training.fitting import run, settings


def fit(speed, optimizer, loss=None, epochs=3, callbacks=(), trainer=None, **network):
    generator = np.random.default_rng(0)
    hidden = generator.normal(size=(80, 3))
    parts = [np.tanh(hidden @ generator.normal(size=(3, n))).astype("f4") / 2 for n in (4, 7)]
    present = generator.uniform(size=(80, 2)) > 0.2
    present[:40] = True
    config = settings(
        epochs,
        batch_size=16,
        network={"hdn": 8, "rep": 6, **network},
        loss=loss or LossConfig(),
        optimizer=optimizer,
        speed=speed or SpeedConfig(),
        trainer=trainer,
    )
    found = run(PairStore(*parts, present), config, callbacks=callbacks)
    return found.module, found.fitted.metrics["train/loss"]


EVERYTHING = LossConfig(
    self_weight=0.5,
    incomplete_rows=True,
    alignment=0.1,
    neighbourhood=0.1,
    temperature=0.2,
    diffusion=0.5,
)


@needs_compiler
@pytest.mark.parametrize(
    ("on_device", "optimizer", "loss", "network"),
    [
        (False, SgdConfig(), LossConfig(), {"tied": False}),
        (
            True,
            AdamConfig(decoupled=True, weight_decay=0.01, schedule=Schedule.cosine),
            EVERYTHING,
            {
                "self_paths": True,
                "input_dropout": 0.2,
                "diffusion": True,
            },
        ),
    ],
)
def test_compiled_steps_are_the_plain_ones_dropout_included(
    monkeypatch, looks, on_device, optimizer, loss, network
):
    plain, plain_loss = fit(None, optimizer, loss, **network)
    monkeypatch.setattr(datamodule, "fits", lambda *_: on_device)
    fast, fast_loss = fit(SpeedConfig(compile=True), optimizer, loss, **network)
    assert fast.trainer.global_step == plain.trainer.global_step
    assert len(looks) == 1
    assert fast_loss == pytest.approx(plain_loss, rel=1e-5)
    for own, other in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)
    states = (part.trainer.optimizers[0].state_dict()["state"] for part in (fast, plain))
    for own, other in zip(*(state.values() for state in states), strict=True):
        assert own.keys() == other.keys()
        for key, value in own.items():
            torch.testing.assert_close(value, other[key], rtol=1e-4, atol=1e-6)


def linear_steps(size, losses, **how):
    torch.manual_seed(0)
    network, config = torch.nn.Linear(size, size), SgdConfig()
    optimizer = config.build(network.parameters())
    return network, CompiledSteps(network, losses, optimizer, config, 4, **how)


def squares(call, x):
    return {"loss": (call(x) - x).square().mean()}


@pytest.fixture
def untranslated(monkeypatch):
    """Code as torch traces it, without its compiler, which takes seconds."""
    monkeypatch.setattr(torch._inductor, "compile", lambda graph, *_: graph.forward)


def test_any_number_of_trainings_of_different_sizes_are_compiled(monkeypatch, untranslated):
    def train(size):
        rows = torch.linspace(-1, 1, 8 * size).view(8, size)
        return linear_steps(size, squares)[1]([0.1, 0.1], [rows], lambda _: None).ravel()

    sizes = range(2, 13)
    with monkeypatch.context() as patched:
        patched.setattr(torch, "compile", lambda function, **_: function)
        plain = [train(size) for size in sizes]
    for size, expected in zip(sizes, plain, strict=True):
        torch.testing.assert_close(train(size), expected)


def test_signals_are_dealt_with_in_the_midst_of_compiled_steps(untranslated):
    network, steps = linear_steps(8, squares, pure=True)
    rows = torch.linspace(-1, 1, 64 * 8).view(64, 8)
    steps([0.01], [rows], lambda _: None)
    came = []
    before = signal.signal(signal.SIGPROF, lambda number, _: came.append(number))
    try:
        signal.setitimer(signal.ITIMER_PROF, 0.0002, 0.0002)
        while len(came) < 200:
            steps([0.01] * 16, [rows], lambda _: None)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    assert network.weight.isfinite().all()


@pytest.fixture
def looks(monkeypatch):
    """One for each call that torch looks at."""
    calls, noted = [], direct.noted
    monkeypatch.setattr(direct, "noted", lambda: calls.append(None) or noted())
    return calls


def test_steps_after_the_first_of_a_chunk_call_the_same_code_directly(untranslated, looks):
    rows = torch.rand(16, 8)
    found = {}
    for pure in (True, False):
        network, steps = linear_steps(8, squares, pure=pure)
        losses = [steps([0.1, 0.2, 0.3, 0.4], [rows], lambda _: None) for _ in range(2)]
        found[pure] = (*losses, network.weight.detach())
        assert len(looks) == (1 if pure else 8)
        looks.clear()
    for ours, other in zip(*found.values(), strict=True):
        assert torch.equal(ours, other)


def test_a_change_between_two_chunks_is_seen(untranslated):
    class Scaled(torch.nn.Linear):
        factor = 1.0

        def forward(self, x):
            return self.factor * super().forward(x)

    config, network = SgdConfig(), Scaled(3, 3)
    optimizer = config.build(network.parameters())

    def objective(call, x, more):
        return squares(call, x if more is None else x + more.float())

    steps = CompiledSteps(
        network, objective, optimizer, config, 4, pure=True, settings=lambda: network.factor
    )
    rows, more = torch.rand(8, 3), torch.rand(8, 3)
    chunks = [(1.0, rows, None), (2.0, rows, None), (2.0, rows, more)]
    chunks += [(2.0, rows, more.T.contiguous().T), (2.0, rows, more.double()), (1.0, rows, None)]
    for factor, first, second in chunks:
        network.factor = factor
        losses = steps([0.0, 0.0], [first, second], lambda _: None).ravel()
        batches = [None, None] if second is None else second.split(4)
        pairs = zip(first.split(4), batches, strict=True)
        expected = [objective(network, *pair)["loss"] for pair in pairs]
        torch.testing.assert_close(losses, torch.stack(expected).detach())


def test_what_a_loss_counts_is_counted_in_each_step(untranslated):
    class Counting:
        count = 0

        def __call__(self, call, x):
            self.count += 1
            return squares(call, x)

    loss = Counting()
    steps = linear_steps(3, loss)[1]
    steps([0.1] * 4, [torch.rand(16, 3)], lambda _: None)
    assert loss.count == 4
    message = r"speed\.compile=true: in 9 steps they were compiled 9 times.*speed\.compile=false"
    with pytest.raises(UserError, match=message):
        steps([0.1] * 64, [torch.rand(256, 3)], lambda _: None)


def test_a_loss_that_cannot_be_compiled_is_refused_with_the_reason(untranslated):
    count = torch.zeros(())

    def counting(call, x):
        count.add_(1)
        return squares(call, x)

    with pytest.raises(UserError, match=r"speed\.compile=false \(.*in-place operation"):
        linear_steps(3, counting)[1]([0.1], [torch.rand(4, 3)], lambda _: None)


class Wants(Callback):
    """What somebody may want of a layer or a weight for one epoch, the second of three."""

    def __init__(self, what):
        self.what, self.seen, self.undo = what, [], lambda: None

    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch == 1:
            self.undo = self.what(module.model.network.first_to_second.encoder, self.seen.append)

    def on_train_epoch_end(self, trainer, module):
        if trainer.current_epoch == 1:
            self.undo()


def test_compiled_steps_leave_hooks_and_frozen_weights_to_plain_ones():
    for want in (
        lambda layer, _: layer.register_forward_pre_hook(print),
        lambda layer, _: layer.register_full_backward_hook(print),
        lambda layer, _: layer.register_full_backward_pre_hook(print),
        lambda layer, _: layer.weight.register_post_accumulate_grad_hook(print),
        frozen,
        lambda _, optimizer: optimizer.register_step_pre_hook(print),
        lambda _, optimizer: optimizer.register_step_post_hook(print),
        lambda _, optimizer: optimizer.param_groups[0].update(weight_decay=0.1),
    ):
        network = torch.nn.Sequential(torch.nn.Linear(3, 2))
        optimizer = SgdConfig().build(network.parameters())
        layers, parts = [*network.modules()], [[*network.parameters()], optimizer]
        parts.append(settings_of(optimizer))
        optimizer.param_groups[0]["lr"] = 0.01
        assert (needs_plain(layers), needs_plain_update(*parts)) == (None, None)
        want(network[0], optimizer)
        assert needs_plain(layers) or needs_plain_update(*parts)


def frozen(layer, _):
    layer.requires_grad_(requires_grad=False)
    return lambda: layer.requires_grad_(requires_grad=True)


class Changes(Callback):
    """What somebody may change of the network and the loss before the second epoch."""

    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch == 1:
            module.model.network.config.dropout = 0.7
            module.loss.weighting = Weighting.modalities


@needs_compiler
def test_settings_that_a_callback_changes_are_looked_at(untranslated, looks):
    plain, plain_loss = fit(None, SgdConfig(), callbacks=[Changes()])
    fast, fast_loss = fit(SpeedConfig(compile=True), SgdConfig(), callbacks=[Changes()])
    assert len(looks) == 2
    assert fast_loss == pytest.approx(plain_loss, rel=1e-5)
    for own, other in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)
    assert fit(None, SgdConfig())[1] != pytest.approx(plain_loss, rel=1e-2)


@needs_compiler
@pytest.mark.parametrize(
    ("what", "calls"),
    [
        (lambda layer, see: layer.register_forward_hook(lambda *_: see(None)).remove, 1),
        (lambda layer, see: layer.bias.register_hook(lambda g: see(None) or 0 * g).remove, 1),
        (frozen, 0),
    ],
)
def test_what_somebody_wants_of_single_layers_is_done_by_plain_steps(
    monkeypatch, caplog, untranslated, what, calls
):
    caplog.set_level("INFO")
    chunks, take = [], CompiledSteps.__call__
    monkeypatch.setattr(CompiledSteps, "__call__", lambda *a: chunks.append(None) or take(*a))
    wanted = [Wants(what), Wants(what)]
    plain, _ = fit(None, SgdConfig(), callbacks=wanted[:1])
    fast, _ = fit(SpeedConfig(compile=True), SgdConfig(), callbacks=wanted[1:])
    assert [len(callback.seen) for callback in wanted] == 2 * [
        calls * plain.trainer.global_step / 3
    ]
    assert caplog.text.count("steps are not compiled as long as a ") == 1
    assert len(chunks) == 2  # before and after
    for own, other in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)


def test_hooks_of_layers_are_called_by_single_steps_too(monkeypatch, caplog):
    caplog.set_level("INFO")
    compiled = []
    monkeypatch.setattr(
        taken, "compiled_loss", lambda losses, *_, **__: lambda *b: compiled.append(0) or losses(*b)
    )
    wanted = Wants(lambda layer, see: layer.register_forward_hook(lambda *_: see(None)).remove)
    module, _ = fit(
        SpeedConfig(compile=True),
        SgdConfig(),
        callbacks=[wanted],
        trainer={"gradient_clip_val": 1.0},
    )
    assert module.automatic_optimization
    assert 3 * len(wanted.seen) == module.trainer.global_step
    assert len(compiled) == 2 * len(wanted.seen)  # in the epochs before and after
    assert caplog.text.count("steps are not compiled as long as a layer has a hook") == 1


def test_a_loss_that_is_compiled_in_every_single_step_is_refused(monkeypatch):
    made = torch._dynamo.utils.counters["stats"]

    def compiles(losses, **_):
        return lambda *batch: made.update(unique_graphs=1) or losses(*batch)

    monkeypatch.setattr(torch, "compile", compiles)
    loss = compiled_loss(lambda x: {"loss": x}, torch.device("cpu"), pure=False)
    for _ in range(8):
        loss(torch.zeros(()))
    with pytest.raises(UserError, match=r"in 9 steps they were compiled 9 times"):
        loss(torch.zeros(()))


@needs_compiler
def test_compiled_steps_repeat_themselves_to_the_byte():
    runs = [fit(SpeedConfig(compile=True, bf16=Bf16.always), SgdConfig())[0] for _ in range(2)]
    for own, other in zip(*(module.parameters() for module in runs), strict=True):
        assert torch.equal(own, other)


@pytest.mark.parametrize("batches", [64, 1])
def test_bf16_leaves_the_loss_within_a_hundredth_however_a_chunk_is_cut(monkeypatch, batches):
    fp32 = fit(None, SgdConfig(), epochs=20)[1]
    speed = SpeedConfig(bf16=Bf16.always)
    whole = fit(speed, SgdConfig(), epochs=20)[1]
    monkeypatch.setattr(loaders, "CHUNK_BATCHES", batches)
    bf16 = fit(speed, SgdConfig(), epochs=20)[1]
    assert bf16 == whole
    assert bf16 != fp32
    assert bf16 == pytest.approx(fp32, rel=0.01)


@pytest.mark.parametrize(
    "config",
    [
        SgdConfig(lr=0.1),
        SgdConfig(lr=0.1, nesterov=False, weight_decay=0.1),
        SgdConfig(lr=0.1, momentum=0.0),
        AdamConfig(lr=0.1, weight_decay=0.1),
        AdamConfig(lr=0.1, weight_decay=0.1, decoupled=True, beta1=0.5, beta2=0.9),
    ],
)
def test_the_formulas_of_the_updates_are_torchs_optimisers(config):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(5, generator=generator)
    theirs, ours = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    optimizer, owner = config.build([theirs]), config.build([ours])
    for _ in range(5):
        theirs.grad = torch.randn(5, generator=generator)
        optimizer.step()
        with torch.no_grad():
            config.update(ours, theirs.grad, config.state(owner, ours), torch.tensor(config.lr))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_without_a_compiler_it_is_refused_to_compile(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ValueError, match=r"speed\.compile=true needs a C\+\+ compiler"):
        fit(SpeedConfig(compile=True), SgdConfig())
