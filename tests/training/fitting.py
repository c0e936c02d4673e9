"""Trainings of a few steps, by `fit`, whose trainer and module can be looked at afterwards."""

import warnings
from dataclasses import dataclass

from lightning import Callback, LightningModule, Trainer

from bidnn.architecture import NetworkConfig
from bidnn.data.datamodule import PairDataModule
from bidnn.data.sources import ArraySource
from bidnn.losses import LossConfig
from bidnn.model.outputs import OutputConfig
from bidnn.training.config import TrainConfig, TrainerConfig
from bidnn.training.fit import Fitted, fit, quiet_lightning
from bidnn.training.optimizers import SgdConfig


class Caught(Callback):
    """Keeps what a training is made of."""

    by_chunks = True

    def on_fit_start(self, trainer, pl_module):
        self.trainer, self.module = trainer, pl_module
        self.start = [p.detach().clone() for p in pl_module.model.network.parameters()]


@dataclass
class Run:
    trainer: Trainer
    module: LightningModule
    start: list
    fitted: Fitted

    @property
    def data(self):
        return PairDataModule.of(self.trainer)

    @property
    def weights(self):
        return [p.detach().clone() for p in self.module.model.network.parameters()]


def settings(epochs=3, *, batch_size=8, val_fraction=0.0, network=None, trainer=None, **more):
    """A small configuration; `trainer` and `network` are settings of these."""
    return TrainConfig(
        data=ArraySource(batch_size=batch_size, val_fraction=val_fraction),
        model=NetworkConfig(**{"hdn": 4, "rep": 4, **(network or {})}),
        trainer=TrainerConfig(**{"max_epochs": epochs, "accelerator": "cpu", **(trainer or {})}),
        **{
            "loss": LossConfig(),
            "optimizer": SgdConfig(),
            "output": OutputConfig(path=None),
            **more,
        },
    )


def run(store, config=None, callbacks=(), start=None, chosen=None, **more):
    quiet_lightning()
    caught, config = Caught(), config or settings(**more)
    fitted = fit(config, store, callbacks=[*callbacks, caught], start=start, chosen=chosen)
    return Run(caught.trainer, caught.module, caught.start, fitted)


def trained(store, epochs=2, callbacks=(), **more):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on settings that are meant here
        return run(store, settings(epochs, **more), callbacks=callbacks)
