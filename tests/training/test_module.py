"""Optimisers, schedules, and how a training counts its steps."""

import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from lightning import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from bidnn.architecture import Activation
from bidnn.data import datamodule, loaders
from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.losses import LossConfig
from bidnn.model.finishing import Centring, EmbeddingConfig, Space
from bidnn.model.saved import load_bundle
from bidnn.model.scaling import ScalingConfig, ScalingKind
from bidnn.training import module as rooms
from bidnn.training.callbacks import checkpoints
from bidnn.training.diverging import DivergedError, LossWatch
from bidnn.training.optimizers import AdamConfig, Schedule, SgdConfig, schedule_rate
from tests.places import place
from tests.training.fitting import run, settings


def fit(epochs, optimizer, max_steps=-1, callbacks=(), trainer=None, **more):
    values = np.random.default_rng(0).uniform(-0.5, 0.5, (50, 6)).astype(np.float32)
    store = PairStore(values[:, :2], values[:, 2:], np.ones((50, 2), dtype=bool))
    limits = {"max_steps": max_steps, **(trainer or {})}
    config = settings(epochs, optimizer=optimizer, trainer=limits, **more)
    return run(store, config, callbacks=callbacks)


def test_a_training_is_the_plain_loop_over_the_same_batches():
    found = fit(3, SgdConfig(), network={"dropout": 0.0})
    start, module, data = found.start, found.module, found.data
    assert module.trainer.global_step == 3 * 6
    network = module.model.network
    trained = found.weights
    with torch.no_grad():
        for parameter, values in zip(network.parameters(), start, strict=True):
            parameter.copy_(values)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    for epoch in range(3):
        data.trainer = place(epoch)
        for chunk in data.train_dataloader():
            for first, second in zip(chunk.first.split(8), chunk.second.split(8), strict=True):
                outputs = network(first, second)
                errors = [(outputs.first - first) ** 2, (outputs.second - second) ** 2]
                optimizer.zero_grad()
                torch.cat(errors, dim=1).mean().backward()
                optimizer.step()
    for own, values in zip(network.parameters(), trained, strict=True):
        torch.testing.assert_close(own.detach(), values, rtol=1e-5, atol=1e-6)


def test_a_number_of_steps_ends_a_training_in_the_middle_of_an_epoch():
    module = fit(-1, AdamConfig(schedule=Schedule.cosine), max_steps=15).module
    assert module.trainer.global_step == 15
    assert module.trainer.callback_metrics["learning_rate"].item() == pytest.approx(0, abs=1e-9)


def test_the_cosine_rises_over_a_twentieth_and_falls_to_nothing():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=2.0)
    schedule = schedule_rate(optimizer, Schedule.cosine, 100)
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    falls = [1 + math.cos(math.pi * step / 100) for step in range(100)]
    rises = [min(1, (step + 1) / 5) for step in range(100)]
    np.testing.assert_allclose(rates, np.array(falls) * rises)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)
    assert schedule_rate(optimizer, Schedule.constant, 0) is None
    with pytest.raises(ValueError, match=r"trainer\.max_epochs"):
        schedule_rate(optimizer, Schedule.cosine, 0)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (SgdConfig(lr=0.2, momentum=0.5), torch.optim.SGD),
        (AdamConfig(weight_decay=0.1), torch.optim.Adam),
        (AdamConfig(weight_decay=0.1, decoupled=True), torch.optim.AdamW),
    ],
)
def test_configurations_are_torchs_optimisers(config, kind):
    optimizer = config.build([torch.nn.Parameter(torch.zeros(1))])
    assert type(optimizer) is kind
    assert optimizer.defaults["lr"] == config.lr
    assert optimizer.defaults["weight_decay"] == config.weight_decay
    if kind is torch.optim.SGD:
        assert optimizer.defaults["nesterov"]
        assert optimizer.defaults["dampening"] == 0
        plain = SgdConfig(momentum=0.0).build([torch.nn.Parameter(torch.zeros(1))])
        assert not plain.defaults["nesterov"]


def test_rates_out_of_range_are_refused():
    for config, key in (
        (lambda: SgdConfig(lr=0), "lr"),
        (lambda: SgdConfig(momentum=1.0), "momentum"),
        (lambda: AdamConfig(weight_decay=-1), "weight_decay"),
        (lambda: AdamConfig(beta1=1.0), "beta1"),
    ):
        with pytest.raises(ValueError, match=rf"optimizer\.{key}"):
            config()


def test_the_figures_of_the_embedding_are_those_of_the_last_weights():
    embedding = EmbeddingConfig(centring=Centring.complete)
    found = fit(2, SgdConfig(), embedding=embedding)
    model, data = found.module.ready_model(), found.data
    first, second = (torch.from_numpy(part) for part in data.store.take(slice(None)))
    model.eval()
    with torch.no_grad():
        vectors = model.embed(first, second, torch.ones(50, 2, dtype=torch.bool))
    np.testing.assert_allclose(vectors.mean(dim=0), 0, atol=1e-5)
    assert model.finish.means[0].abs().max() > 0


def test_self_paths_are_trained_with_everything_else():
    loss = LossConfig(self_weight=0.5)
    found = fit(1, SgdConfig(), loss=loss, network={"self_paths": True})
    changed = [
        not torch.equal(own, before)
        for own, before in zip(found.module.model.parameters(), found.start, strict=True)
    ]
    assert all(changed)


def test_weights_that_are_not_finite_are_not_saved_and_stop_the_training(monkeypatch, tmp_path):
    module = fit(1, SgdConfig()).module
    path = tmp_path / "last.ckpt"
    module.trainer.save_checkpoint(path, weights_only=False)
    good = path.read_bytes()
    with torch.no_grad():
        module.model.network.second_to_first.output.bias[1] = float("inf")
    with pytest.raises(DivergedError, match=r"second_to_first\.output\.bias is not finite after 6"):
        module.trainer.save_checkpoint(path, weights_only=False)
    assert path.read_bytes() == good
    with pytest.raises(DivergedError, match=r"optimizer\.lr \(now 0\.1\)"):
        module.on_train_end()
    for looked, looks in ((1, False), (0, True)):  # six steps were taken
        monkeypatch.setattr(rooms, "LOOK_STEPS", 6)
        module._looked = looked
        with pytest.raises(DivergedError) if looks else nullcontext():
            module.on_train_epoch_end()


def test_a_loss_that_is_on_its_way_from_a_gpu_is_looked_at_before_anything_is_validated():
    watch = LossWatch()
    assert watch.add(torch.tensor([1.0, 2.0]), 0, at_once=False) is None
    assert watch.add(torch.tensor([1.0, float("nan")]), 2, at_once=False) is None
    assert watch.look() == "the loss is nan in epoch {epoch}, batch 4"
    assert watch.look() is None
    module = fit(1, SgdConfig()).module
    module._watch.add(torch.tensor([float("inf")]), 5, at_once=False)
    with pytest.raises(DivergedError, match=r"the loss is inf in epoch 2, batch 6; "):
        module.on_validation_start()
    module.on_validation_start()


def test_a_loss_that_is_not_finite_names_epoch_and_batch():
    with pytest.raises(DivergedError, match=r"the loss is (inf|nan) in epoch \d+, batch [1-6]; "):
        fit(20, SgdConfig(lr=1e20), network={"activation": Activation.linear})


def test_the_final_model_is_the_best_one_where_a_checkpoint_of_it_is_kept(tmp_path, caplog):
    best = ModelCheckpoint(
        dirpath=tmp_path / "checkpoints",
        filename="best",
        monitor="val/loss",
        enable_version_counter=False,
        save_on_train_epoch_end=True,
    )
    losses, weights = [], []

    class Watch(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            losses.append(float(trainer.callback_metrics["val/loss"]))
            weights.append(
                [p.detach().clone() for p in pl_module.model.network.parameters()],
            )

    with caplog.at_level("INFO"):
        found = fit(30, SgdConfig(lr=0.5), callbacks=[Watch(), best], val_fraction=0.2)
    at = int(np.argmin(losses))
    assert at < 29
    assert f"the best weights are used, of epoch {at + 1}, by val/loss" in caplog.text
    for own, expected in zip(found.weights, weights[at], strict=True):
        assert torch.equal(own, expected)
    assert not found.module.automatic_optimization
    with caplog.at_level("INFO"):
        again = load_bundle(tmp_path)
    assert "best.ckpt: the best checkpoint is taken" in caplog.text
    for own, expected in zip(again.network.parameters(), weights[at], strict=True):
        assert torch.equal(own, expected)


def test_a_best_checkpoint_that_cannot_be_written_is_an_error_at_the_end(tmp_path, monkeypatch):
    best = ModelCheckpoint(dirpath=tmp_path / "best", filename="best", monitor="train/loss")
    own = checkpoints.whole_file

    def full(path):
        if path.name.startswith("best"):
            raise OSError(28, "No space left on device")
        return own(path)

    monkeypatch.setattr(checkpoints, "whole_file", full)
    config = settings(2)
    config.run_dir = str(tmp_path / "run")
    values = np.random.default_rng(0).uniform(-0.5, 0.5, (50, 6)).astype(np.float32)
    store = PairStore(values[:, :2], values[:, 2:], np.ones((50, 2), dtype=bool))
    with pytest.raises(OSError, match=r"best\.ckpt: the checkpoint could not be written .No space"):
        run(store, config, callbacks=[best])
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()


def test_a_run_that_took_its_steps_otherwise_is_not_gone_on_with(tmp_path):
    values = np.random.default_rng(0).uniform(-0.5, 0.5, (50, 6)).astype(np.float32)
    store = PairStore(values[:, :2], values[:, 2:], np.ones((50, 2), dtype=bool))
    config = settings(2)
    config.run_dir = str(tmp_path)
    run(store, config)
    config = settings(4, trainer={"log_every_n_steps": 1})
    config.run_dir, config.resume = str(tmp_path), True
    with pytest.raises(
        UserError, match="took its steps in chunks, and this one would take them one"
    ):
        run(store, config)


@pytest.mark.parametrize("precision", ["bf16-true", "16-true"])
def test_rows_are_scaled_before_they_are_rounded_to_half_precision(precision):
    hidden = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    store = PairStore(hidden + 1000, hidden * 1e6, np.ones((200, 2), dtype=bool))
    network = {"dropout": 0.0, "output_activation": Activation.linear}
    metrics = [
        run(
            store,
            settings(
                network=network, scaling=ScalingConfig(kind=ScalingKind.standard), trainer=more
            ),
        ).fitted.metrics
        for more in ({}, {"precision": precision})
    ]
    assert metrics[0]["explained/first_to_second"] > 0.5
    for name in ("train/loss", "explained/first_to_second", "explained/second_to_first"):
        assert metrics[1][name] == pytest.approx(metrics[0][name], rel=0.05), name


def test_processes_send_each_other_what_is_trained_and_not_what_each_fits():
    space = EmbeddingConfig(space=Space.diffusion, solved=True, landmarks=5, stacked=True)
    more = {"loss": LossConfig(diffusion=1.0), "embedding": space, "val_fraction": 0.2}
    module = fit(1, SgdConfig(), network={"diffusion": True}, **more).module
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        together = DistributedDataParallel(module)
        sent = {id(values) for values in together.modules_buffers}
        trained = {id(values) for values in together._module_parameters}
    finally:
        distributed.destroy_process_group()
    buffers = dict(module.named_buffers())
    assert {name.split(".")[1] for name, values in buffers.items() if id(values) not in sent} == {
        "finish",
        "stacked",
    }
    assert {name.split(".")[1] for name, values in buffers.items() if id(values) in sent} == {
        "first_scaler",
        "second_scaler",
    }
    assert trained == {id(values) for values in module.parameters()}


def test_the_next_order_is_begun_while_a_device_takes_the_last_steps_of_an_epoch(
    store, monkeypatch
):
    class Begun(Callback):
        by_chunks = True

        def __init__(self):
            self.at = []

        def on_train_epoch_end(self, trainer, pl_module):
            self.at.append(trainer.train_dataloader._begun[0])

    alone = run(store, settings(3))
    monkeypatch.setattr(datamodule, "fits", lambda *_: True)
    monkeypatch.setattr(loaders, "CHUNK_BATCHES", 2)
    sees = Begun()
    found = run(store, settings(3), callbacks=[sees])
    assert sees.at == [(1, 0), (2, 0), (3, 0)]
    assert all(map(torch.equal, found.weights, alone.weights))
