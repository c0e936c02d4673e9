"""The LightningModule: a model, its loss and its optimiser."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from bidnn.data.datamodule import Chunk, PairDataModule
from bidnn.errors import UserError
from bidnn.losses import LossConfig, Losses, pair_loss
from bidnn.model.model import Model
from bidnn.model.saved import Trained, describe_model
from bidnn.network import Outputs
from bidnn.training.compiled import CompiledStep
from bidnn.training.optimizers import OptimizerConfig, schedule_rate
from bidnn.training.speed import SpeedConfig


class DivergedError(UserError):
    """The loss or a weight is no longer finite."""


class TrainingModule(LightningModule):
    """Trains a model on chunks of many batches.

    One step of Lightning's loop takes one chunk and makes one optimiser step for each batch in it,
    so that Lightning's own cost is paid once a chunk; `trainer.global_step` counts optimiser steps.
    """

    def __init__(
        self,
        trained: Trained,
        loss: LossConfig,
        optimizer: OptimizerConfig,
        speed: SpeedConfig | None = None,
    ) -> None:
        """Takes the model as it is: fresh, or trained before.

        Args:
            trained: the model, its scaling already fitted, and its strategy for missing rows.
            loss: what is minimised.
            optimizer: by what.
            speed: how the arithmetic is done; None for plain fp32.
        """
        super().__init__()
        self.automatic_optimization = False
        self.model = trained.model
        self.strategy = trained.strategy
        self.loss = loss
        self.optimizer = optimizer
        self.speed = speed or SpeedConfig()
        self._bf16 = False
        self._compiled: CompiledStep | None = None
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

    def operations(self, batch_size: int) -> float:
        """Floating-point operations of an optimiser step, about."""
        return 6.0 * batch_size * sum(p.numel() for p in self.model.parameters())

    def on_train_start(self) -> None:
        """Decides on the precision, now that the device is known."""
        if self.speed.compile and self.trainer.world_size > 1:
            raise UserError(
                f"speed.compile=true is for one process, and there are {self.trainer.world_size}; "
                "set speed.compile=false"
            )
        self._bf16 = self.speed.takes_bf16(self.operations(self._data().batch_size), self.device)

    def training_step(self, chunk: Chunk, number: int) -> None:
        """One optimiser step per batch of the chunk.

        Raises:
            DivergedError: if a loss is not finite.
        """
        # What a chunk draws depends on its place alone, so that a training can begin at any.
        seeds = [self._data().seed, 0x64726F70, self.current_epoch, self.global_rank]
        seeds += [number] if number else []
        torch.manual_seed(int(np.random.SeedSequence(seeds).generate_state(1)[0]))
        schedule = self.lr_schedulers()
        assert schedule is None or isinstance(schedule, LambdaLR)
        step = self._compiled_step if self.speed.compile else self._step
        done = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        steps: list[Losses] = []
        first_rows, second_rows = self.model.scale(chunk.first, chunk.second)
        for start in range(0, len(first_rows), chunk.batch):
            batch = slice(start, start + chunk.batch)
            present = None if chunk.present is None else chunk.present[batch]
            done.increment_ready()
            steps.append(step(first_rows[batch], second_rows[batch], present))
            done.increment_completed()
            if schedule is not None:
                schedule.step()
            if 0 <= self.trainer.max_steps <= self.trainer.global_step:
                break
        totals = torch.stack([losses.total.detach() for losses in steps])
        if not bool(totals.isfinite().all()):
            first = int((~totals.isfinite()).int().argmax())
            raise self._diverged(
                f"the loss is {float(totals[first])} in epoch {self.current_epoch + 1}, batch "
                f"{number * self._data().batches_per_chunk + first + 1}"
            )
        self._sums["train"].add(steps, chunk.batch)

    def _losses(
        self,
        network: Callable[[Tensor, Tensor], Outputs],
        first: Tensor,
        second: Tensor,
        present: Tensor | None = None,
    ) -> Losses:
        if not self._bf16:
            return pair_loss(network(first, second), first, second, self.loss, present)
        # The weights change between two batches of a chunk, so that none may be kept as bf16.
        with torch.autocast(first.device.type, torch.bfloat16, cache_enabled=False):
            return pair_loss(network(first, second), first, second, self.loss, present)

    def _step(self, first: Tensor, second: Tensor, present: Tensor | None) -> Losses:
        optimizer = self._torch_optimizer()
        losses = self._losses(self.model.network, first, second, present)
        optimizer.zero_grad()
        if self.trainer.world_size > 1:
            self.manual_backward(losses.total)  # which adds up the gradients of all processes
        else:
            losses.total.backward()  # type: ignore[no-untyped-call]  # torch's own
        optimizer.step()
        return losses

    def _compiled_step(self, first: Tensor, second: Tensor, present: Tensor | None) -> Losses:
        if self._compiled is None:
            network, optimizer = self.model.network, self._torch_optimizer()
            self._compiled = CompiledStep(network, self._losses, optimizer, self.optimizer)
        return self._compiled(first, second, present)

    def _torch_optimizer(self) -> torch.optim.Optimizer:
        """Without Lightning's wrapper, which costs a tenth of a small step."""
        return self.trainer.optimizers[0]

    def validation_step(self, chunk: Chunk, _: int) -> None:
        """The loss of held-out complete rows, without dropout."""
        first, second = self.model.scale(chunk.first, chunk.second)
        losses = pair_loss(self.model.network(first, second), first, second, self.loss)
        self._sums["val"].add([losses], len(first))

    def on_validation_epoch_end(self) -> None:
        """Logs the epoch's validation losses."""
        self.log_figures(self._means("val"))

    def on_train_epoch_end(self) -> None:
        """Logs the epoch's training losses, and the learning rate.

        Raises:
            DivergedError: if a weight is not finite.
        """
        self._check_weights()
        rate = torch.tensor(self._torch_optimizer().param_groups[0]["lr"])
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
        """Puts those figures into the checkpoint, so that it embeds as the training would.

        Raises:
            DivergedError: if a weight is not finite; the last checkpoint stays then.
        """
        self._check_weights()
        self.ready_model()
        checkpoint["state_dict"] = self.state_dict()
        checkpoint["losses"] = self._sums["train"].state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes over the losses of the epoch that was begun."""
        self._sums["train"] = _Sums(checkpoint["losses"])

    def _check_weights(self) -> None:
        for name, values in self.model.network.named_parameters():
            if not bool(values.isfinite().all()):
                raise self._diverged(
                    f"{name} is not finite after {self.trainer.global_step} steps, in epoch "
                    f"{self.current_epoch + 1}"
                )

    def _diverged(self, what: str) -> "DivergedError":
        rate = self._torch_optimizer().param_groups[0]["lr"]
        scaling = self.model.first_scaler.kind.value
        return DivergedError(
            f"{what}; a lower optimizer.lr (now {rate:g}) or scaling=standard (now {scaling}) "
            "usually mends it; the last checkpoint, if there is one, is from before"
        )

    def _data(self) -> PairDataModule:
        return PairDataModule.of(self.trainer)

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

    def __init__(self, parts: Tensor | None = None) -> None:
        self._parts = [] if parts is None else list(parts)

    def state(self) -> Tensor | None:
        """The parts so far, one by one: their sum depends on the order of adding."""
        return torch.stack(self._parts) if self._parts else None

    def add(self, steps: list[Losses], rows: int) -> None:
        """Adds steps that had `rows` rows each."""
        losses = torch.stack([torch.stack(step) for step in steps]).detach().float().sum(dim=0)
        self._parts.append(torch.cat([losses, losses.new_tensor([len(steps)])]) * rows)

    def take(self, device: torch.device) -> Tensor:
        """The three sums and the rows since the last call."""
        parts, self._parts = self._parts, []
        return torch.stack(parts).sum(dim=0) if parts else torch.zeros(4, device=device)
