"""Every setting of Lightning's Trainer works as documented, or is refused."""

import inspect
import os
import random
from copy import deepcopy
from dataclasses import fields
from pathlib import Path

import lightning.pytorch.callbacks as stock
import numpy as np
import pytest
import torch
from lightning import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO

from bidnn.data.datamodule import PairDataModule
from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.losses import LossConfig
from bidnn.training.config import TrainerConfig
from bidnn.training.optimizers import AdamConfig, Schedule, SgdConfig
from tests.training.fitting import run, settings, trained

BATCHES = 6  # of 8 rows, of the 50


class Seen(Callback):
    """Counts the hooks that a chunk would not call."""

    def __init__(self):
        self.calls = dict.fromkeys(
            ("start", "end", "zero_grad", "before_backward", "after_backward", "step"), 0
        )
        self.losses = []

    def on_train_batch_start(self, *_):
        self.calls["start"] += 1

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, number):
        self.calls["end"] += 1
        self.losses.append(float(outputs["loss"]))

    def on_before_zero_grad(self, *_):
        self.calls["zero_grad"] += 1

    def on_before_backward(self, *_):
        self.calls["before_backward"] += 1

    def on_after_backward(self, *_):
        self.calls["after_backward"] += 1

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.calls["step"] += 1


def test_every_setting_of_lightnings_trainer_is_decided_on():
    names = set(inspect.signature(Trainer).parameters)
    assert {field.name for field in fields(TrainerConfig)} == names
    assert names == {
        *DOES, *REFUSED, *OF_NO_MEANING_IN_A_TRAINING, *TESTED_ELSEWHERE,
    }  # fmt: skip


REFUSED = {
    "logger": True,
    "callbacks": ["x"],
    "use_distributed_sampler": True,
    "barebones": True,
    "model_registry": "name",
}
OF_NO_MEANING_IN_A_TRAINING = {
    *("limit_test_batches", "limit_predict_batches", "sync_batchnorm"),
    "inference_mode",  # below
}
TESTED_ELSEWHERE = {
    *("accelerator", "devices", "num_nodes", "strategy"),  # test_processes
    *("enable_checkpointing", "default_root_dir"),  # below, with callbacks that keep files
    # below
    *("enable_autolog_hparams", "benchmark", "deterministic", "plugins"),
    *("gradient_clip_val", "gradient_clip_algorithm", "reload_dataloaders_every_n_epochs"),
}


@pytest.mark.parametrize(("key", "value"), REFUSED.items())
def test_what_would_not_do_what_it_says_is_refused_with_a_way_out(key, value):
    with pytest.raises(UserError, match=rf"^trainer\.{key}=.*: .{{20,}}"):
        TrainerConfig(**{key: value})


def check_steps(found, steps):
    assert found.trainer.global_step == steps


DOES = {
    "fast_dev_run": (2, lambda f: check_steps(f, 2)),
    "max_epochs": (3, lambda f: check_steps(f, 18)),
    "min_epochs": (2, lambda f: check_steps(f, 12)),  # below, of a training that would stop
    "max_steps": (5, lambda f: check_steps(f, 5)),
    "min_steps": (9, lambda f: check_steps(f, 12)),  # likewise
    "max_time": ("00:00:00:00", lambda f: check_steps(f, 0)),
    "limit_train_batches": (4, lambda f: check_steps(f, 8)),
    "limit_val_batches": (0, lambda f: not any("val/" in k for k in f.fitted.metrics)),
    "overfit_batches": (1, lambda f: check_steps(f, 2)),
    "val_check_interval": (1, lambda f: check_steps(f, 12)),
    "check_val_every_n_epoch": (2, lambda f: check_steps(f, 12)),
    "num_sanity_val_steps": (1, lambda f: check_steps(f, 12)),
    "log_every_n_steps": (1, lambda f: f.fitted.metrics["train/loss_step"] > 0),
    "enable_progress_bar": (True, lambda f: f.trainer.progress_bar_callback is not None),
    "enable_model_summary": (True, lambda f: any(map(is_summary, f.trainer.callbacks))),
    "accumulate_grad_batches": (3, lambda f: check_steps(f, 4)),
    "precision": ("64-true", lambda f: f.module.dtype == torch.float64),
    "profiler": ("simple", lambda f: "run_training_batch" in f.trainer.profiler.summary()),
    "detect_anomaly": (True, lambda f: f.trainer._detect_anomaly),
}


def is_summary(callback):
    return isinstance(callback, stock.ModelSummary)


@pytest.mark.parametrize(
    ("setting", "steps"), [({}, 6), ({"min_epochs": 3}, 18), ({"min_steps": 8}, 12)]
)
def test_a_training_does_not_stop_before_it_may(store, setting, steps):
    class Stop(Callback):
        by_chunks = True

        def on_train_epoch_end(self, trainer, pl_module):
            trainer.should_stop = True

    check_steps(trained(store, 4, callbacks=[Stop()], trainer=setting), steps)


@pytest.mark.parametrize("key", DOES)
def test_a_setting_counts_in_optimiser_steps_and_batches(store, key, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    value, check = DOES[key]
    found = trained(
        store, trainer={key: value}, val_fraction=0.0 if key != "limit_val_batches" else 0.1
    )
    assert check(found) in (None, True)


def test_validation_comes_when_it_is_told_to(store):
    class Validations(Callback):
        by_chunks = True

        def __init__(self):
            self.at = []

        def on_validation_end(self, trainer, pl_module):
            self.at.append(trainer.global_step)

    for more, at in (
        ({}, [5, 10]),
        ({"val_check_interval": 2}, [2, 4, 7, 9]),
        ({"val_check_interval": 1}, list(range(1, 11))),
        ({"check_val_every_n_epoch": 2}, [10]),
        ({"check_val_every_n_epoch": None, "val_check_interval": 3}, [3, 6, 9]),
        ({"num_sanity_val_steps": 1}, [0, 5, 10]),
    ):
        watch = Validations()
        trained(store, callbacks=[watch], val_fraction=0.1, trainer=more)
        assert watch.at == at, more


def test_the_same_few_batches_are_overfitted_in_every_epoch(store):
    seen = Seen()
    kept = []

    class Rows(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, number):
            kept.append(batch.first.clone())

    trained(store, callbacks=[seen, Rows()], trainer={"overfit_batches": 1}, epochs=3)
    assert torch.equal(kept[0], kept[1])
    assert torch.equal(kept[0], kept[2])


@pytest.mark.parametrize(
    ("optimizer", "loss", "network"),
    [
        (SgdConfig(), LossConfig(), {"tied": False}),
        (
            AdamConfig(decoupled=True, weight_decay=0.01, schedule=Schedule.cosine),
            LossConfig(
                self_weight=0.5,
                incomplete_rows=True,
                alignment=0.1,
                neighbourhood=0.1,
                diffusion=1.0,
            ),
            {"self_paths": True, "input_dropout": 0.2, "diffusion": True},
        ),
    ],
)
def test_chunks_and_single_steps_give_the_same_bytes(store, optimizer, loss, network):
    present = store.present.copy()
    present[::5, 0], present[1::7, 1] = False, False
    store = PairStore(store.first, store.second, present)
    more = {"optimizer": optimizer, "loss": loss, "network": network, "val_fraction": 0.1}
    chunks = trained(store, epochs=3, **more)
    seen = Seen()
    single = trained(store, epochs=3, callbacks=[seen], **more)
    assert not chunks.module.automatic_optimization
    assert single.module.automatic_optimization
    for own, other in zip(chunks.weights, single.weights, strict=True):
        assert torch.equal(own, other)
    assert chunks.trainer.global_step == single.trainer.global_step
    logged = {k: v for k, v in single.fitted.metrics.items() if k != "train/loss_step"}
    assert logged == chunks.fitted.metrics
    assert set(seen.calls.values()) == {single.trainer.global_step}


def test_a_number_of_batches_ends_a_cosine_at_nothing(store):
    optimizer = AdamConfig(schedule=Schedule.cosine)
    found = trained(store, 5, optimizer=optimizer, trainer={"limit_train_batches": 1})
    assert found.trainer.global_step == 5
    assert found.fitted.metrics["learning_rate"] == pytest.approx(0, abs=1e-9)


class Gradients(Callback):
    """Keeps the weights before the first step, and the gradients of each before any clipping."""

    def __init__(self):
        self.of_steps = []

    def on_train_start(self, trainer, pl_module):
        self.before = deepcopy(list(pl_module.model.network.parameters()))

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        parameters = pl_module.model.network.parameters()
        self.of_steps.append([parameter.grad.clone() for parameter in parameters])


@pytest.mark.parametrize(
    ("more", "clip"),
    [
        ({}, lambda weights: torch.nn.utils.clip_grad_norm_(weights, 0.01)),
        (
            {"gradient_clip_algorithm": "norm"},
            lambda weights: torch.nn.utils.clip_grad_norm_(weights, 0.01),
        ),
        (
            {"gradient_clip_algorithm": "value"},
            lambda weights: torch.nn.utils.clip_grad_value_(weights, 0.01),
        ),
    ],
)
def test_the_weights_are_those_of_gradients_clipped_by_hand(store, more, clip):
    gradients = Gradients()
    found = trained(store, callbacks=[gradients], trainer={"gradient_clip_val": 0.01, **more})
    by_hand = gradients.before
    optimizer = SgdConfig().build(by_hand)
    for step in gradients.of_steps:
        assert max(float(gradient.abs().max()) for gradient in step) > 0.01  # something to clip
        for weight, gradient in zip(by_hand, step, strict=True):
            weight.grad = gradient
        clip(by_hand)
        optimizer.step()
    assert len(gradients.of_steps) == 12
    for own, expected in zip(found.weights, by_hand, strict=True):
        assert torch.equal(own, expected)


def test_gradients_are_gathered_as_lightning_documents(store):
    gathered = Seen()
    found = trained(store, callbacks=[gathered], trainer={"accumulate_grad_batches": 2})
    assert gathered.calls["end"] == 12
    assert gathered.calls["step"] == found.trainer.global_step == 6


class WhileTraining(Callback):
    """Keeps what a function says in each validation."""

    by_chunks = True

    def __init__(self, ask):
        self.ask, self.found = ask, []

    def on_validation_batch_start(self, *_):
        self.found.append(self.ask())


@pytest.fixture
def global_switches():
    """Lightning leaves torch's switches as a Trainer set them."""
    yield
    torch.use_deterministic_algorithms(mode=False)
    torch.backends.cudnn.benchmark = False


@pytest.mark.usefixtures("global_switches")
@pytest.mark.parametrize(
    ("key", "ask"),
    [
        ("deterministic", torch.are_deterministic_algorithms_enabled),
        ("benchmark", lambda: torch.backends.cudnn.benchmark),
    ],
)
@pytest.mark.parametrize("value", [True, False])
def test_a_switch_of_torchs_is_set_while_a_network_trains(store, monkeypatch, key, ask, value):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # which Lightning sets as well
    watch = WhileTraining(ask)
    trained(store, callbacks=[watch], val_fraction=0.1, trainer={key: value})
    assert watch.found == [value, value]


@pytest.mark.parametrize("value", [True, False])
def test_lightning_validates_without_inference_mode_in_a_training_whatever_is_set(store, value):
    """It is for `validate`, `test` and `predict`, says Lightning, and none of them is called."""
    watch = WhileTraining(lambda: (torch.is_inference_mode_enabled(), torch.is_grad_enabled()))
    trained(store, callbacks=[watch], val_fraction=0.1, trainer={"inference_mode": value})
    assert watch.found == [(False, False), (False, False)]


def test_only_warnings_of_what_is_not_deterministic_can_be_asked_for(
    store, monkeypatch, global_switches
):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    watch = WhileTraining(torch.is_deterministic_algorithms_warn_only_enabled)
    trained(store, callbacks=[watch], val_fraction=0.1, trainer={"deterministic": "warn"})
    assert watch.found == [True, True]


class KeptFiles(TorchCheckpointIO):
    """Lightning's own way of writing checkpoints, which is not ours, and what it wrote."""

    written: list[str] = []  # noqa: RUF012 — of all that a test makes

    def save_checkpoint(self, checkpoint, path, storage_options=None):
        self.written.append(Path(path).name)
        super().save_checkpoint(checkpoint, path, storage_options)


@pytest.mark.parametrize("several", [True, False])
def test_a_plugin_takes_the_place_of_ours(store, tmp_path, monkeypatch, several):
    monkeypatch.setattr(KeptFiles, "written", [])
    plugin = {"_target_": f"{__name__}.KeptFiles"}
    keep = stock.ModelCheckpoint(dirpath=tmp_path, filename="x")
    plugins = [plugin] if several else plugin
    found = trained(store, callbacks=[keep], trainer={"plugins": plugins})
    assert isinstance(found.trainer.strategy.checkpoint_io, KeptFiles)
    assert KeptFiles.written == ["x.ckpt", "x.ckpt"]
    content = torch.load(tmp_path / "x.ckpt", weights_only=True)
    assert content["global_step"] == 12


@pytest.mark.parametrize(("every", "epochs"), [(0, [0]), (1, [0, 1, 2, 3]), (2, [0, 2])])
def test_loaders_are_made_anew_and_draw_the_same_batches(store, monkeypatch, every, epochs):
    made = []
    own = PairDataModule.train_dataloader

    def counted(self):
        made.append(self.trainer.current_epoch)
        return own(self)

    expected = trained(store, epochs=4).weights
    monkeypatch.setattr(PairDataModule, "train_dataloader", counted)
    found = trained(store, epochs=4, trainer={"reload_dataloaders_every_n_epochs": every})
    assert made == epochs
    for weights, others in zip(found.weights, expected, strict=True):
        assert torch.equal(weights, others)


@pytest.mark.parametrize("value", [True, False])
def test_settings_are_logged_as_hyper_parameters_unless_that_is_switched_off(
    store, tmp_path, monkeypatch, value
):
    logged = []
    monkeypatch.setattr(TensorBoardLogger, "log_hyperparams", lambda *given: logged.append(given))
    config = settings(1, trainer={"enable_autolog_hparams": value})
    config.run_dir = str(tmp_path)
    config.logger = {
        "tensorboard": {
            "_target_": "lightning.pytorch.loggers.TensorBoardLogger",
            "save_dir": str(tmp_path),
        }
    }
    metrics = run(store, config).fitted.metrics
    if value:
        ((_, kept, figures),) = logged
        assert kept["optimizer.lr"] == 0.1
        assert figures == metrics
    else:
        assert logged == []


def test_what_is_logged_is_there_for_lightnings_users(store, tmp_path):
    found = trained(store, callbacks=[], val_fraction=0.1)
    assert {"train/loss", "val/loss"} <= set(found.trainer.logged_metrics)
    rate = stock.LearningRateMonitor(logging_interval="step")
    config = settings(2, trainer={"log_every_n_steps": 1})
    config.logger = {
        "csv": {"_target_": f"{CSVLogger.__module__}.CSVLogger", "save_dir": str(tmp_path)}
    }
    run(store, config, callbacks=[rate])
    (path,) = tmp_path.glob("**/metrics.csv")
    lines = path.read_text().splitlines()
    column = lines[0].split(",").index("lr-SGD")
    assert sum(line.split(",")[column] != "" for line in lines[1:]) == 12


def test_a_training_leaves_the_callers_random_numbers_alone(store, monkeypatch):
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002 — the caller's
    random.seed(5)
    expected = torch.rand(3), np.random.rand(3), random.random()  # noqa: NPY002 — the global state is what is looked at
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002 — the global state is what is looked at
    random.seed(5)
    trained(store)
    assert random.random() == expected[2]
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.rand(3), expected[1])  # noqa: NPY002 — the global state is what is looked at
    assert "PL_GLOBAL_SEED" not in os.environ
