"""Histograms of the weights and of the embedding, for TensorBoard, on request."""

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from bidnn.data.datamodule import PairDataModule
from bidnn.errors import UserError
from bidnn.training.callbacks.projector import embedded_sample
from bidnn.training.module import TrainingModule
from bidnn.training.tensorboard import TensorBoard


class Histograms(Callback):
    """Shows every so many epochs how weights, and the values of the embedding, are spread."""

    def __init__(self, every_n_epochs: int = 0, rows: int = 2000) -> None:
        """Draws nothing yet.

        Args:
            every_n_epochs: 0: never.
            rows: that are embedded for it, at most.

        Raises:
            UserError: if a number is negative.
        """
        for key, value in (("every_n_epochs", every_n_epochs), ("rows", rows)):
            if value < 0:
                raise UserError(f"callbacks.histograms.{key}={value}: must be at least 0")
        self.every_n_epochs, self.rows = every_n_epochs, rows

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """At the interval."""
        every, boards = self.every_n_epochs, TensorBoard.of(trainer)
        if not every or (trainer.current_epoch + 1) % every or not boards:
            return
        assert isinstance(pl_module, TrainingModule)
        model, data = pl_module.ready_model(), PairDataModule.of(trainer)
        weights = model.network.named_parameters()
        shown = {f"weights/{name}": part.detach() for name, part in weights}
        if self.rows:
            vectors = embedded_sample(model, data.store, self.rows, data.seed)[1]
            shown["embedding"] = torch.from_numpy(vectors)
        for board in boards:
            for name, values in shown.items():
                if torch.isfinite(values).all():  # what is not stops the training
                    board.histogram(name, values.cpu(), trainer.global_step)
