"""From rows and a configuration to a trained model, in one place for every way in."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from lightning import Trainer, seed_everything

from bidnn.architecture import NetworkConfig
from bidnn.bundle import Trained
from bidnn.data.datamodule import PairDataModule
from bidnn.data.scaling import ScalingConfig, fit_scaling
from bidnn.embedding import EmbeddingConfig
from bidnn.inference import Model
from bidnn.losses import LossConfig
from bidnn.module import TrainingModule
from bidnn.optimizers import OptimizerConfig

log = logging.getLogger(__name__)

SMALL_STEP = 2e8
"""Floating-point operations of an optimiser step below which one thread is fastest."""


def fresh_model(
    data: PairDataModule,
    network: NetworkConfig,
    scaling: ScalingConfig,
    embedding: EmbeddingConfig,
    seed: int,
) -> Model:
    """A model with seeded weights, its scaling fitted on the rows that are not held out.

    Raises:
        ValueError: if a modality has no row to be scaled by.
    """
    seed_everything(seed, verbose=False)
    model = Model(data.store.mod1size, data.store.mod2size, network, scaling, embedding)
    fit_scaling((model.first_scaler, model.second_scaler), data.store, data.scaling_rows)
    return model


def train(
    trained: Trained,
    data: PairDataModule,
    loss: LossConfig,
    optimizer: OptimizerConfig,
    trainer: Trainer,
    *,
    seed: int,
    resume: Path | None = None,
    threads: int | None = None,
) -> TrainingModule:
    """Trains a model where it stands.

    Args:
        trained: the model; its weights change.
        data: the rows.
        loss: what is minimised.
        optimizer: by what.
        trainer: how long, on what, with which callbacks.
        seed: of shuffling and dropout.
        resume: a checkpoint of this training to go on from.
        threads: of the CPU; None for one on small networks, where waiting for each other costs
            threads more than they gain, and for torch's own choice on others.

    Raises:
        CommandFailedError: if a command failed that was to stop the training.
        OSError: if an output could not be written.
    """
    seed_everything(seed, verbose=False)
    module = TrainingModule(trained, loss, optimizer)
    step = 6 * data.batch_size * sum(p.numel() for p in module.parameters())
    with known_warnings_left_out(), _threads(threads or (1 if step < SMALL_STEP else None)):
        trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
    return module


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Sets torch's number of threads for a while; None leaves it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def known_warnings_left_out() -> Iterator[None]:
    """Leaves out what Lightning says of itself and of loaders that are not ours."""
    with warnings.catch_warnings():
        for message in (
            "Total length of .* across ranks is zero",  # no validation rows were asked for
            ".*isinstance.treespec, LeafSpec.. is deprecated",  # Lightning's own use of torch
        ):
            warnings.filterwarnings("ignore", message)
        yield


def quiet_lightning() -> None:
    """Keeps Lightning's banners and tips out of the log; its warnings stay."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
