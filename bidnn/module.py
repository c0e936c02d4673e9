"""The LightningModule: a model, its loss and its optimiser."""

from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from bidnn.bundle import Trained, describe_model
from bidnn.data.datamodule import Chunk, PairDataModule
from bidnn.inference import Model
from bidnn.losses import LossConfig, Losses, pair_loss
from bidnn.optimizers import OptimizerConfig, schedule_rate


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
        self._fitted_at = 0  # a model that is only used keeps the figures it came with
        self._sums = {"train": _Sums(), "val": _Sums()}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser of the configuration, over all parameters, and its schedule."""
        optimizer = self.optimizer.build(self.parameters())
        steps = max(self.trainer.max_steps, 0)
        if self.trainer.max_epochs is not None and self.trainer.max_epochs > 0:
            by_epochs = self.trainer.max_epochs * self._data().batches
            steps = min(steps, by_epochs) if steps else by_epochs
        schedule = schedule_rate(optimizer, self.optimizer.schedule, steps)
        return ([optimizer], [schedule]) if schedule is not None else optimizer

    def on_train_epoch_start(self) -> None:
        """Makes what an epoch draws depend on seed and epoch alone, so that it can be resumed."""
        seeds = [self._data().seed, 0x64726F70, self.current_epoch, self.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(seeds).generate_state(1)[0]))

    def training_step(self, chunk: Chunk, _: int) -> None:
        """One optimiser step per batch of the chunk."""
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        schedule = self.lr_schedulers()
        assert schedule is None or isinstance(schedule, LambdaLR)
        steps: list[Losses] = []
        network, size = self.model.network, chunk.batch
        first_rows, second_rows = self.model.scale(chunk.first, chunk.second)
        for start in range(0, len(first_rows), size):
            batch = slice(start, start + size)
            first, second = first_rows[batch], second_rows[batch]
            present = None if chunk.present is None else chunk.present[batch]
            losses = pair_loss(network(first, second), first, second, self.loss, present)
            optimizer.zero_grad()
            self.manual_backward(losses.total)
            optimizer.step()
            if schedule is not None:
                schedule.step()
            steps.append(losses)
            if 0 <= self.trainer.max_steps <= self.trainer.global_step:
                break
        self._sums["train"].add(steps, size)

    def validation_step(self, chunk: Chunk, _: int) -> None:
        """The loss of held-out complete rows, without dropout."""
        first, second = self.model.scale(chunk.first, chunk.second)
        losses = pair_loss(self.model.network(first, second), first, second, self.loss)
        self._sums["val"].add([losses], len(first))

    def on_validation_epoch_end(self) -> None:
        """Logs the epoch's validation losses."""
        self.log_figures(self._means("val"))

    def on_train_epoch_end(self) -> None:
        """Logs the epoch's training losses, and the learning rate."""
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        rate = torch.tensor(optimizer.param_groups[0]["lr"])
        self.log_figures({**self._means("train"), "learning_rate": rate})

    def log_figures(self, figures: dict[str, Tensor]) -> None:
        """Sends figures to the loggers, and to the callbacks that watch one of them.

        What `self.log` would do, without its millisecond a call, which is a whole step of a tiny
        network.

        Args:
            figures: scalars by name.
        """
        self.trainer.callback_metrics.update(figures)
        numbers = {name: float(value) for name, value in figures.items()}
        for logger in self.loggers:
            epoch = {"epoch": float(self.current_epoch)}
            logger.log_metrics({**numbers, **epoch}, step=self.trainer.global_step)

    def ready_model(self) -> Model:
        """The model with the figures of its embedding fitted to the weights of this moment."""
        if self._fitted_at != self.trainer.global_step:
            data = self._data()
            if len(data.complete_rows):
                self.model.fit_embedding(data.store, data.complete_rows, self.strategy)
            self._fitted_at = self.trainer.global_step
        return self.model

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Puts those figures into the checkpoint, so that it embeds as the training would."""
        self.ready_model()
        checkpoint["state_dict"] = self.state_dict()

    def _data(self) -> PairDataModule:
        data = self.trainer.datamodule  # type: ignore[attr-defined]  # set by Trainer.fit
        assert isinstance(data, PairDataModule)
        return data

    def _means(self, stage: str) -> dict[str, Tensor]:
        """Means over all rows of an epoch, and over all processes."""
        sums = self._sums[stage].take(self.device)
        reduced = self.trainer.strategy.reduce(sums, reduce_op="sum")
        assert isinstance(reduced, Tensor)
        total, to_second, to_first = (reduced[:-1] / reduced[-1]).cpu()
        return {
            f"{stage}/loss": total,
            f"{stage}/first_to_second": to_second,
            f"{stage}/second_to_first": to_first,
        }


class _Sums:
    """Sums of losses, weighted by rows, and the rows; on the device until they are taken."""

    def __init__(self) -> None:
        self._parts: list[Tensor] = []

    def add(self, steps: list[Losses], rows: int) -> None:
        """Adds steps that had `rows` rows each."""
        losses = torch.stack([torch.stack(step) for step in steps]).detach().float().sum(dim=0)
        self._parts.append(torch.cat([losses, losses.new_tensor([len(steps)])]) * rows)

    def take(self, device: torch.device) -> Tensor:
        """The three sums and the rows since the last call."""
        parts, self._parts = self._parts, []
        return torch.stack(parts).sum(dim=0) if parts else torch.zeros(4, device=device)
