"""From rows and a configuration to a trained model, in one place for every way in."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning import Trainer, seed_everything

from bidnn.architecture import NetworkConfig
from bidnn.data.datamodule import PairDataModule
from bidnn.errors import UserError
from bidnn.losses import LossConfig
from bidnn.model.finishing import EmbeddingConfig
from bidnn.model.model import Model
from bidnn.model.saved import Trained
from bidnn.model.scaling import ScalingConfig, fit_scaling
from bidnn.training.module import TrainingModule
from bidnn.training.optimizers import OptimizerConfig
from bidnn.training.speed import SpeedConfig

log = logging.getLogger(__name__)


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
    speed: SpeedConfig | None = None,
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
        speed: how the arithmetic is done; None for plain fp32.

    Raises:
        ValueError: if the trainer has another precision than fp32.
        CommandFailedError: if a command failed that was to stop the training.
        OSError: if an output could not be written.
    """
    if trainer.precision != "32-true":
        raise UserError(
            f"trainer.precision={trainer.precision}: weights stay fp32; speed.bf16=always takes "
            "the matrix products in bf16"
        )
    seed_everything(seed, verbose=False)
    speed = speed or SpeedConfig()
    module = TrainingModule(trained, loss, optimizer, speed)
    with known_warnings_left_out(), speed.set_threads(module.operations(data.batch_size)):
        trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
    trained.model.eval()
    return module


@contextmanager
def known_warnings_left_out() -> Iterator[None]:
    """Leaves out what Lightning says of itself and of loaders that are not ours."""
    with warnings.catch_warnings():
        for message in (
            "Detected call of `lr_scheduler.step",  # a compiled step does the optimiser's work
            "You're resuming from a checkpoint that ended before",  # and the loader begins there
            "Total length of .* across ranks is zero",  # no validation rows were asked for
            ".*isinstance.treespec, LeafSpec.. is deprecated",  # Lightning's own use of torch
        ):
            warnings.filterwarnings("ignore", message)
        yield


def quiet_lightning() -> None:
    """Keeps Lightning's banners and tips out of the log; its warnings stay."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
