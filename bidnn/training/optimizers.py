"""The optimisers, by configuration; defaults of SGD are the paper's."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from bidnn.errors import UserError

ADAM_EPSILON = 1e-8


class Schedule(Enum):
    """How the learning rate goes on."""

    constant = "constant"
    cosine = "cosine"


@dataclass(slots=True, kw_only=True)
class SgdConfig:
    """Stochastic gradient descent.

    Attributes:
        lr: learning rate, above 0.
        momentum: in [0, 1); 0 is plain descent.
        nesterov: look ahead along the momentum; has no part where the momentum is 0.
        weight_decay: L2 penalty, at least 0.
        schedule: see `schedule_rate`.
    """

    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 0.0
    schedule: Schedule = Schedule.constant

    def __post_init__(self) -> None:
        """Checks the ranges."""
        _check_rates(self.lr, self.weight_decay)
        if not 0.0 <= self.momentum < 1.0:
            raise UserError(f"optimizer.momentum={self.momentum}: must be in [0, 1)")

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser; `nesterov` without dampening is the original's update, exactly."""
        return torch.optim.SGD(
            parameters,
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov and self.momentum > 0,
            weight_decay=self.weight_decay,
            fused=True,
        )

    def state(self, optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> list[Tensor]:
        """What the optimiser keeps for a parameter, for `update`; made if it is not there."""
        if not self.momentum:
            return []
        state = optimizer.state[parameter]
        if state.get("momentum_buffer") is None:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        return [state["momentum_buffer"]]

    def update(self, value: Tensor, gradient: Tensor, state: list[Tensor], rate: Tensor) -> None:
        """The optimiser's step for one parameter, in place, as a formula that can be compiled."""
        if self.weight_decay:
            gradient = gradient + self.weight_decay * value
        if self.momentum:
            (velocity,) = state
            velocity.mul_(self.momentum).add_(gradient)
            gradient = gradient + self.momentum * velocity if self.nesterov else velocity
        value.sub_(rate * gradient)


@dataclass(slots=True, kw_only=True)
class AdamConfig:
    """Adam (Kingma and Ba, ICLR 2015), or AdamW (Loshchilov and Hutter, ICLR 2019).

    Attributes:
        lr: learning rate, above 0.
        beta1: decay of the mean, in [0, 1).
        beta2: decay of the squares, in [0, 1).
        weight_decay: at least 0.
        decoupled: the decay acts on the weights themselves (AdamW), not through the gradient.
        schedule: see `schedule_rate`.
    """

    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0
    decoupled: bool = False
    schedule: Schedule = Schedule.constant

    def __post_init__(self) -> None:
        """Checks the ranges."""
        _check_rates(self.lr, self.weight_decay)
        if not (0.0 <= self.beta1 < 1.0 and 0.0 <= self.beta2 < 1.0):
            raise UserError(f"optimizer.beta1={self.beta1}, beta2={self.beta2}: must be in [0, 1)")

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser."""
        kind = torch.optim.AdamW if self.decoupled else torch.optim.Adam
        return kind(
            parameters,
            lr=self.lr,
            betas=(self.beta1, self.beta2),
            weight_decay=self.weight_decay,
            eps=ADAM_EPSILON,
            fused=True,
        )

    def state(self, optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> list[Tensor]:
        """What the optimiser keeps for a parameter, for `update`; made if it is not there."""
        state = optimizer.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        return [state["step"], state["exp_avg"], state["exp_avg_sq"]]

    def update(self, value: Tensor, gradient: Tensor, state: list[Tensor], rate: Tensor) -> None:
        """The optimiser's step for one parameter, in place, as a formula that can be compiled."""
        step, mean, squares = state
        if self.weight_decay and self.decoupled:
            value.mul_(1 - rate * self.weight_decay)
        elif self.weight_decay:
            gradient = gradient + self.weight_decay * value
        step.add_(1)
        mean.lerp_(gradient, 1 - self.beta1)
        squares.mul_(self.beta2).add_((1 - self.beta2) * gradient.square())
        deviation = (squares / (1 - self.beta2**step)).sqrt() + ADAM_EPSILON
        value.sub_(rate / (1 - self.beta1**step) * mean / deviation)


OptimizerConfig = SgdConfig | AdamConfig


def schedule_rate(
    optimizer: torch.optim.Optimizer, schedule: Schedule, steps: int
) -> LambdaLR | None:
    """The learning rate's course over a training; None if it stays as it is.

    Args:
        optimizer: whose rate it is.
        schedule: `cosine` rises linearly over the first twentieth of the steps, then falls along
            half a cosine to 0 (Loshchilov and Hutter, ICLR 2017).
        steps: optimiser steps of the whole training, at least 1 for `cosine`.

    Raises:
        ValueError: if the training has no end.
    """
    if schedule is Schedule.constant:
        return None
    if steps < 1:
        raise UserError(
            "optimizer.schedule=cosine needs an end, and a step before it; set trainer.max_epochs, "
            "or where nothing is to be trained optimizer.schedule=constant"
        )
    warm = max(1, round(steps / 20))

    def factor(step: int) -> float:
        fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))
        return min(1.0, (step + 1) / warm) * fall

    return LambdaLR(optimizer, factor)


def settings_of(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """What an optimiser does with each of its groups of weights, but for the rate."""
    own = ("params", "lr", "initial_lr")
    groups = optimizer.param_groups
    return [{name: value for name, value in group.items() if name not in own} for group in groups]


def _check_rates(lr: float, weight_decay: float) -> None:
    if not 0.0 < lr < float("inf"):
        raise UserError(f"optimizer.lr={lr}: must be above 0")
    if not 0.0 <= weight_decay < float("inf"):
        raise UserError(f"optimizer.weight_decay={weight_decay}: must be at least 0")
