"""The LightningModule: a model, its loss and its optimiser."""

import torch
from lightning import LightningModule
from torch import Tensor

from bidnn.bundle import Trained, describe_model
from bidnn.data.datamodule import Chunk
from bidnn.losses import LossConfig, Losses, pair_loss
from bidnn.optimizers import OptimizerConfig


class TrainingModule(LightningModule):
    """Trains a model on chunks of many batches.

    One step of Lightning's loop takes one chunk and makes one optimiser step for each batch in it,
    so that Lightning's own cost is paid once a chunk; `trainer.global_step` counts optimiser steps.
    """

    def __init__(self, trained: Trained, loss: LossConfig, optimizer: OptimizerConfig) -> None:
        """Takes the model as it is: fresh, or trained before.

        Args:
            trained: the model, its scaling already fitted, and its strategy for missing rows.
            loss: what is minimised.
            optimizer: by what.
        """
        super().__init__()
        self.automatic_optimization = False
        self.model = trained.model
        self.strategy = trained.strategy
        self.loss = loss
        self.optimizer = optimizer
        self.save_hyperparameters(describe_model(trained.model, trained.strategy), logger=False)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser of the configuration, over all parameters."""
        return self.optimizer.build(self.parameters())

    def training_step(self, chunk: Chunk, _: int) -> None:
        """One optimiser step per batch of the chunk."""
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        steps: list[Losses] = []
        first, second = self.model.scale(chunk.first, chunk.second)
        parts = (torch.split(values, chunk.batch) for values in (first, second))
        for first, second in zip(*parts, strict=True):
            losses = pair_loss(self.model.network(first, second), first, second, self.loss)
            optimizer.zero_grad()
            self.manual_backward(losses.total)
            optimizer.step()
            steps.append(losses)
        self._log_means("train", steps, len(chunk.first))

    def validation_step(self, chunk: Chunk, _: int) -> None:
        """The loss of held-out complete rows, without dropout."""
        first, second = self.model.scale(chunk.first, chunk.second)
        losses = pair_loss(self.model.network(first, second), first, second, self.loss)
        self._log_means("val", [losses], len(first))

    def _log_means(self, stage: str, steps: list[Losses], rows: int) -> None:
        """Means over an epoch, by name; steps of a chunk have equal rows."""
        means = torch.stack([torch.stack(losses).detach() for losses in steps]).mean(dim=0)
        names: dict[str, Tensor] = {
            f"{stage}/loss": means[0],
            f"{stage}/first_to_second": means[1],
            f"{stage}/second_to_first": means[2],
        }
        self.log_dict(names, on_step=False, on_epoch=True, batch_size=rows, sync_dist=True)

    def on_train_epoch_end(self) -> None:
        """The learning rate, beside the losses."""
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        self.log("learning_rate", optimizer.param_groups[0]["lr"])

    def trained(self) -> Trained:
        """What is left when training is over."""
        return Trained(self.model, self.strategy)
