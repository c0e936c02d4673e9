"""Optimiser steps: the loss of one for Lightning's loop, or all of a chunk, plain or compiled."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from bidnn.data.datamodule import PairDataModule
from bidnn.data.device import DeviceRows
from bidnn.data.loaders import Chunk, Numbered
from bidnn.losses import Loss, LossConfig
from bidnn.model.model import Model
from bidnn.network import Outputs
from bidnn.training.advice import Words
from bidnn.training.compiled import (
    CompiledSteps,
    compiled_loss,
    cut,
    needs_plain,
    needs_plain_update,
    try_compiler,
)
from bidnn.training.optimizers import OptimizerConfig, settings_of
from bidnn.training.speed import WORTH_S, SpeedConfig
from bidnn.training.stepping import count_step
from bidnn.training.sums import Terms

log = logging.getLogger(__name__)


class Stepper:
    """Takes the steps of a training; all ways draw the same random numbers on a processor.

    A chunk that a GPU takes as one graph draws its own, by the seed of its first batch.
    """

    def __init__(
        self,
        module: LightningModule,
        model: Model,
        loss: Loss,
        config: OptimizerConfig,
        speed: SpeedConfig,
        words: Words,
    ) -> None:
        """Decides nothing yet.

        Args:
            module: that is trained; it knows the trainer, the device and the epoch.
            model: its model.
            loss: what is minimised.
            config: of the optimiser.
            speed: how the arithmetic is done.
            words: how the caller writes a setting, for advice.
        """
        self._module, self._model, self._loss = module, model, loss
        self._config, self._speed, self._words = config, speed, words
        self.compiles = speed.compile
        self._bf16 = False
        self._compiled: CompiledSteps | None = None
        self._objective: Callable[..., Terms] = self._losses
        self._seed_of = (-1, 0)
        self._network = model.get_submodule("network")
        self._layers, self.weights = [*self._network.modules()], [*self._network.parameters()]
        self._known = settings_of(config.build([nn.Parameter(torch.zeros(1))]))
        self._told = False

    def begin(self, steps: int) -> None:
        """Decides on the arithmetic, now that the device is known.

        Args:
            steps: of the whole training; 0 if it has no end.
        """
        self._compiled = None
        one_by_one, device = self._module.automatic_optimization, self._module.device
        operations = self.operations(self._data.batch_size)
        self._bf16 = self._speed.takes_bf16(operations, device)
        if self.compiles is None:
            self.compiles = not one_by_one and self._worth_compiling(steps, operations)
        if one_by_one and self.compiles:
            self._objective = compiled_loss(
                self._losses, device, pure=type(self._loss) is LossConfig
            )

    def operations(self, batch_size: int) -> float:
        """Floating-point operations of a step, about."""
        return 6.0 * batch_size * sum(p.numel() for p in self._model.parameters())

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Without Lightning's wrapper, which costs a tenth of a small step."""
        return self._module.trainer.optimizers[0]

    def one(self, batch: Chunk, number: int) -> Terms:
        """The losses of a batch, whose gradients Lightning takes.

        Args:
            batch: some rows.
            number: of the batch in its epoch, from 0.
        """
        self._seed(number)
        objective = self._objective
        if self.compiles and (lacking := needs_plain(self._layers)):
            self._tell(lacking)
            objective = self._losses
        return objective(*self._prepared(batch))

    def many(self, chunk: Chunk | Numbered, before: int) -> tuple[list[str], Tensor]:
        """A step for each batch of a chunk.

        Args:
            chunk: several batches.
            before: how many batches there were before in the epoch.

        Returns:
            The names of the losses, and (batches, losses).
        """
        trainer = self._module.trainer
        count = len(chunk) // chunk.batch
        if trainer.max_steps >= 0:
            count = min(count, max(1, trainer.max_steps - trainer.global_step))
        take = self._compiled_steps if self._can_compile() else self._plain_steps
        return take(chunk, before, count)

    def _can_compile(self) -> bool:
        """Whether the steps of a chunk are compiled, if they should be; all processes agree."""
        if not self.compiles:
            return False
        lacking = needs_plain(self._layers) or needs_plain_update(
            self.weights, self.optimizer, self._known
        )
        trainer = self._module.trainer
        if not trainer.strategy.reduce_boolean_decision(lacking is None):
            self._tell(lacking or "another process cannot")
            return False
        return True

    def _tell(self, lacking: str) -> None:
        if not self._told:
            self._told = True
            log.info("steps are not compiled as long as %s", lacking)

    def _worth_compiling(self, steps: int, operations: float) -> bool:
        """Whether steps that nobody asked to be compiled are: ours, with an end that is known."""
        trainer = self._module.trainer
        # Under `trainer.max_time` Lightning looks at the clock at each step, one by one.
        ends = not any(isinstance(c, EarlyStopping) for c in trainer.callbacks)  # type: ignore[attr-defined]  # set by Trainer
        known = type(self._loss) is LossConfig and ends
        saved = self._speed.saves(steps, operations, self._module.device) if known else 0.0
        if saved < WORTH_S:
            return False
        lacking = try_compiler(self._module.device)
        if not trainer.strategy.reduce_boolean_decision(lacking is None):
            log.info("steps are not compiled: %s", lacking or "another process cannot")
            return False
        log.info(
            "steps are compiled, which saves %.0f s or more of the training; %s leaves them as "
            "they are",
            saved,
            self._words("speed", "plain"),
        )
        return True

    def _plain_steps(
        self, chunk: Chunk | Numbered, before: int, count: int
    ) -> tuple[list[str], Tensor]:
        steps: list[Terms] = []
        schedule = self._schedule()
        rows = self._prepared(chunk.gathered())
        batches = (cut(part, count, chunk.batch) for part in rows)
        for number, batch in enumerate(zip(*batches, strict=True)):
            self._seed(before + number)
            steps.append(self._step(*batch))
            self._count_step(schedule)
        return list(steps[0]), torch.stack([together(terms) for terms in steps])

    def _compiled_steps(
        self, chunk: Chunk | Numbered, before: int, count: int
    ) -> tuple[list[str], Tensor]:
        optimizer = self.optimizer
        parts: tuple[Tensor | None, ...]
        objective: Callable[..., Terms]
        if isinstance(chunk, Numbered):
            parts = chunk.numbers, chunk.coordinates
            objective = partial(self._losses_of_numbered, chunk.rows, chunk.masked)
        else:
            parts, objective = self._prepared(chunk), self._losses_of
        if self._compiled is None:
            self._compiled = CompiledSteps(
                self._network,
                objective,
                optimizer,
                self._config,
                chunk.batch,
                self._average if self._module.trainer.world_size > 1 else None,
                bf16=self._bf16,
                pure=type(self._loss) is LossConfig,
                settings=self._settings,
            )
        rates, schedule = [], self._schedule()
        for _ in range(count):
            rates.append(optimizer.param_groups[0]["lr"])
            self._count_step(schedule)
        rows = _first(parts, count * chunk.batch)
        terms = self._compiled(rates, rows, lambda number: self._seed(before + number))
        return self._compiled.names, terms

    def _step(self, first: Tensor, second: Tensor, *known: Tensor | None) -> Terms:
        optimizer = self.optimizer
        terms = self._losses(first, second, *known)
        optimizer.zero_grad()
        if self._module.trainer.world_size > 1:
            self._module.manual_backward(terms["loss"])  # which adds up gradients of all processes
        else:
            terms["loss"].backward()  # type: ignore[no-untyped-call]  # torch's own
        optimizer.step()
        return terms

    def _losses(self, first: Tensor, second: Tensor, *known: Tensor | None) -> Terms:
        return self._losses_of(self._model.network, first, second, *known)

    def _losses_of(
        self,
        network: Callable[[Tensor, Tensor], Outputs],
        first: Tensor,
        second: Tensor,
        *known: Tensor | None,
    ) -> Terms:
        if not self._bf16:
            return self._loss(network(first, second), first, second, *known)
        # The weights change between two batches of a chunk, so that none may be kept as bf16.
        with torch.autocast(first.device.type, torch.bfloat16, cache_enabled=False):
            return self._loss(network(first, second), first, second, *known)

    def _losses_of_numbered(
        self,
        there: DeviceRows,
        masked: bool,
        network: Callable[[Tensor, Tensor], Outputs],
        numbers: Tensor,
        coordinates: Tensor | None,
    ) -> Terms:
        """The losses of rows that are on the device, which are read and scaled as they are used."""
        first, second, present = there.at(numbers, masked=masked)
        chunk = Chunk(first, second, len(numbers), present, coordinates)
        return self._losses_of(network, *self._prepared(chunk))

    def _prepared(self, chunk: Chunk) -> tuple[Any, ...]:
        """What the loss is told of rows: scaled features, what is present, and where they lie.

        An own loss takes no more than the first three.
        """
        first, second = self._model.scale(chunk.first, chunk.second)
        if chunk.coordinates is None:
            return first, second, chunk.present
        present = self._model.telling(chunk.first, chunk.second, chunk.present)
        return first, second, present, chunk.coordinates

    def _settings(self) -> tuple[object, ...]:
        """All that the code of a step depends on: of the network, of our loss, and of torch."""
        network, kind = self._network, self._module.device.type
        configs = (network.config, self._config)
        return (
            network.training,
            *(value for config in configs for value in values_of(config)),
            *(values_of(self._loss) if isinstance(self._loss, LossConfig) else ()),
            torch.get_num_threads(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.is_autocast_enabled(kind),
            torch.are_deterministic_algorithms_enabled(),
        )

    def _average(self, gradients: Tensor) -> None:
        """In place, over all processes, each of which counts as much, as with Lightning's DDP."""
        torch.distributed.all_reduce(gradients)
        gradients /= self._module.trainer.world_size

    def _schedule(self) -> LambdaLR | None:
        schedule = self._module.lr_schedulers()
        assert schedule is None or isinstance(schedule, LambdaLR)
        return schedule

    def _count_step(self, schedule: LambdaLR | None) -> None:
        count_step(self._module.trainer)
        if schedule is not None:
            schedule.step()

    def _seed(self, batch: int) -> None:
        """What a batch draws depends on its place alone, so that a training can begin at any."""
        epoch, device = self._module.current_epoch, self._module.device
        if self._seed_of[0] != epoch:
            seeds = [self._data.seed, 0x64726F70, epoch, self._module.global_rank]
            drawn = np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0]
            self._seed_of = (epoch, int(drawn) >> 1)
        # As torch.manual_seed, which in every step would note a traceback for each kind of device
        # that there could be, at the cost of a whole step of a tiny network.
        seed = self._seed_of[1] + batch
        torch.default_generator.manual_seed(seed)
        if device.type != "cpu":
            torch.get_device_module(device).manual_seed(seed)

    @property
    def _data(self) -> PairDataModule:
        return PairDataModule.of(self._module.trainer)


def together(terms: Terms) -> Tensor:
    """(terms,) without gradients."""
    return torch.stack(list(terms.values())).detach()


def values_of(config: Any) -> list[object]:  # noqa: ANN401 — any dataclass
    """Of all its fields, in their order."""
    return [getattr(config, field.name) for field in fields(config)]


def _first(parts: Sequence[Tensor | None], count: int) -> list[Tensor | None]:
    """So many rows of each."""
    return [None if part is None else part[:count] for part in parts]
