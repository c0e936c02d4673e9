"""Every stock callback of Lightning's works in optimiser steps, or is refused."""

import warnings
from pathlib import Path

import lightning.pytorch.callbacks as stock
import pytest
import torch
from lightning import Callback

from bidnn.errors import UserError
from bidnn.training.trainer import REFUSED_CALLBACKS
from tests.training.fitting import run, settings, trained


def callbacks_that_work(folder):
    return {
        "Callback": (stock.Callback, {}),
        "DeviceStatsMonitor": (stock.DeviceStatsMonitor, {"cpu_stats": False}),
        "EarlyStopping": (stock.EarlyStopping, {"monitor": "val/loss", "patience": 100}),
        "GradientAccumulationScheduler": (
            stock.GradientAccumulationScheduler,
            {"scheduling": {0: 2}},
        ),
        "LambdaCallback": (stock.LambdaCallback, {"on_train_batch_end": lambda *_: None}),
        "LearningRateMonitor": (stock.LearningRateMonitor, {"logging_interval": "step"}),
        "ModelCheckpoint": (
            stock.ModelCheckpoint,
            {"dirpath": folder / "kept", "every_n_train_steps": 2, "save_top_k": -1},
        ),
        "ModelSummary": (stock.ModelSummary, {}),
        "OnExceptionCheckpoint": (stock.OnExceptionCheckpoint, {"dirpath": folder}),
        "RichModelSummary": (stock.RichModelSummary, {}),
        "RichProgressBar": (stock.RichProgressBar, {}),
        "TQDMProgressBar": (stock.TQDMProgressBar, {}),
        "SpikeDetection": (stock.SpikeDetection, {}),
        "StochasticWeightAveraging": (
            stock.StochasticWeightAveraging,
            {"swa_lrs": 0.01, "swa_epoch_start": 1},
        ),
        "ThroughputMonitor": (stock.ThroughputMonitor, {"batch_size_fn": lambda b: len(b.first)}),
        "Timer": (stock.Timer, {"duration": "00:01:00:00"}),
        "EMAWeightAveraging": (stock.EMAWeightAveraging, {"decay": 0.5}),
        "WeightAveraging": (stock.WeightAveraging, {}),
    }


ABSTRACT = {"BaseFinetuning", "BasePredictionWriter", "Checkpoint", "ProgressBar"}


def test_every_stock_callback_is_decided_on(tmp_path):
    refused = {"BatchSizeFinder", "LearningRateFinder", "ModelPruning", "BackboneFinetuning"}
    assert {*callbacks_that_work(tmp_path), *refused, *ABSTRACT} == set(stock.__all__)
    for name in refused:
        assert issubclass(getattr(stock, name), tuple(REFUSED_CALLBACKS))


@pytest.mark.parametrize("name", callbacks_that_work(Path()))
def test_a_stock_callback_works(store, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kind, arguments = callbacks_that_work(tmp_path)[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = settings(
            4,
            val_fraction=0.1,
            trainer={"default_root_dir": str(tmp_path), "log_every_n_steps": 1},
        )
        config.logger = {
            "csv": {"_target_": "lightning.pytorch.loggers.CSVLogger", "save_dir": str(tmp_path)}
        }
        found = run(store, config, callbacks=[kind(**arguments)])
    steps = 10 if name == "GradientAccumulationScheduler" else 20
    if name == "GradientAccumulationScheduler":
        steps = 4 * 3  # 5 batches: two pairs, and the last one alone
    assert found.trainer.global_step == steps


@pytest.mark.parametrize("name", ["BatchSizeFinder", "LearningRateFinder", "BackboneFinetuning"])
def test_a_stock_callback_that_cannot_work_is_refused_with_a_way_out(store, name):
    with pytest.raises(UserError, match=rf"callback {name}: .{{10,}}"):
        trained(store, callbacks=[getattr(stock, name)()])
    with pytest.raises(UserError, match="callback ModelPruning: it renames the weights"):
        trained(store, callbacks=[stock.ModelPruning("l1_unstructured")])


def test_a_checkpoint_every_ten_steps_is_one_every_ten_steps(store, tmp_path):
    keep = stock.ModelCheckpoint(
        dirpath=tmp_path, every_n_train_steps=10, save_top_k=-1, filename="{step}"
    )
    trained(store, epochs=10, callbacks=[keep])
    kept = sorted(int(path.stem.split("=")[1]) for path in tmp_path.glob("*.ckpt"))
    assert kept == [10, 20, 30, 40, 50, 60]


def test_an_average_of_weights_is_what_is_kept_and_what_embeds(store, tmp_path):
    average = stock.EMAWeightAveraging(decay=0.5, update_every_n_steps=1)
    keep = stock.ModelCheckpoint(dirpath=tmp_path, filename="x", save_on_train_epoch_end=True)
    weights = []

    class Follow(Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            weights.append(pl_module.model.network.first_to_second.encoder.bias.detach().clone())

    found = trained(store, epochs=3, callbacks=[average, Follow(), keep])
    expected = weights[0]
    for values in weights[1:]:
        expected = 0.5 * expected + 0.5 * values
    own = found.module.model.network.first_to_second.encoder.bias.detach()
    torch.testing.assert_close(own, expected)
    content = torch.load(tmp_path / "x.ckpt", weights_only=True)["state_dict"]
    torch.testing.assert_close(content["model.network.first_to_second.encoder.bias"], expected)
