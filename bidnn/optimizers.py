"""The optimisers, by configuration; defaults of SGD are the paper's."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(slots=True, kw_only=True)
class SgdConfig:
    """Stochastic gradient descent.

    Attributes:
        lr: learning rate, above 0.
        momentum: in [0, 1); 0 is plain descent.
        nesterov: look ahead along the momentum; has no part where the momentum is 0.
        weight_decay: L2 penalty, at least 0.
    """

    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Checks the ranges."""
        _check_rates(self.lr, self.weight_decay)
        if not 0.0 <= self.momentum < 1.0:
            raise ValueError(f"optimizer.momentum={self.momentum}: must be in [0, 1)")

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


@dataclass(slots=True, kw_only=True)
class AdamConfig:
    """Adam (Kingma and Ba, ICLR 2015), or AdamW (Loshchilov and Hutter, ICLR 2019).

    Attributes:
        lr: learning rate, above 0.
        beta1: decay of the mean, in [0, 1).
        beta2: decay of the squares, in [0, 1).
        weight_decay: at least 0.
        decoupled: the decay acts on the weights themselves (AdamW), not through the gradient.
    """

    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0
    decoupled: bool = False

    def __post_init__(self) -> None:
        """Checks the ranges."""
        _check_rates(self.lr, self.weight_decay)
        if not (0.0 <= self.beta1 < 1.0 and 0.0 <= self.beta2 < 1.0):
            raise ValueError(f"optimizer.beta1={self.beta1}, beta2={self.beta2}: must be in [0, 1)")

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser."""
        kind = torch.optim.AdamW if self.decoupled else torch.optim.Adam
        return kind(
            parameters,
            lr=self.lr,
            betas=(self.beta1, self.beta2),
            weight_decay=self.weight_decay,
            fused=True,
        )


OptimizerConfig = SgdConfig | AdamConfig


def _check_rates(lr: float, weight_decay: float) -> None:
    if not 0.0 < lr < float("inf"):
        raise ValueError(f"optimizer.lr={lr}: must be above 0")
    if not 0.0 <= weight_decay < float("inf"):
        raise ValueError(f"optimizer.weight_decay={weight_decay}: must be at least 0")
