"""An optimiser step as one compiled function: forward, gradients and update in a single graph.

Run one operation after the other, a step of a small network is spent between the operations, and
one of a large network on reading and writing what the next operation reads again. In one graph
(`torch.compile`) neither is left. The optimiser object stays the owner of its state: the graph
changes the same tensors, so that checkpoints and schedules do not know the difference.
"""

import logging
import shutil
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad

from bidnn.errors import UserError
from bidnn.training.optimizers import OptimizerConfig

log = logging.getLogger(__name__)

Terms = dict[str, Tensor]
Objective = Callable[..., Terms]
# Random numbers as without compiling: a seed means the same masks.
OPTIONS: dict[str, str | int | bool | Callable[..., Any]] = {"fallback_random": True}


class CompiledStep:
    """Does for one batch what backward and `optimizer.step` do."""

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        config: OptimizerConfig,
    ) -> None:
        """Compiles nothing yet; the first batch does.

        Args:
            network: whose parameters are trained, in place.
            objective: the losses of a batch, given the network as a function, then the batch.
            optimizer: built by `config` over the network's parameters, in their order.
            config: of the optimiser.

        Raises:
            ValueError: if there is no C++ compiler, which compiling for the CPU needs.
        """
        names = [name for name, _ in network.named_parameters()]
        parameters = list(network.parameters())
        device = parameters[0].device
        check_compiler(device)
        self._optimizer = optimizer
        self._values = [parameter.detach() for parameter in parameters]
        self._states = [config.state(optimizer, parameter) for parameter in parameters]
        self._rate = torch.zeros((), device=device)
        self._compiles = True

        def losses_of(
            values: list[Tensor],
            *batch: Any,  # noqa: ANN401 — two tensors, then tensors or None
        ) -> tuple[Tensor, Terms]:
            def call(*inputs: Tensor) -> Any:  # noqa: ANN401 — whatever it gives
                return functional_call(network, dict(zip(names, values, strict=True)), inputs)

            losses = objective(call, *batch)
            return losses["loss"], losses

        def step(
            values: list[Tensor], states: list[list[Tensor]], rate: Tensor, *batch: Tensor | None
        ) -> Terms:
            gradients, losses = grad(losses_of, has_aux=True)(values, *batch)
            for value, gradient, state in zip(values, gradients, states, strict=True):
                config.update(value, gradient, state, rate)
            return dict(losses)

        self._step = torch.compile(step, dynamic=False, fullgraph=True, options=OPTIONS)

    def __call__(self, *batch: Tensor | None) -> Terms:
        """One step; the losses are those before the update, as everywhere."""
        started = time.perf_counter()
        self._rate.fill_(self._optimizer.param_groups[0]["lr"])
        losses: Terms = self._step(self._values, self._states, self._rate, *batch)
        if self._compiles:
            self._compiles = False
            log.info("compiled the training step in %.1f s", time.perf_counter() - started)
        return losses


def compiled_loss(losses: Callable[..., Terms], device: torch.device) -> Callable[..., Terms]:
    """The losses of a batch as one compiled function, whose gradients others take.

    Raises:
        UserError: if there is no C++ compiler.
    """
    check_compiler(device)
    compiled: Any = torch.compile(losses, dynamic=False, options=OPTIONS)
    return lambda *batch: dict(compiled(*batch))


def check_compiler(device: torch.device) -> None:
    """Compiling for the CPU needs a C++ compiler.

    Raises:
        UserError: if there is none.
    """
    if device.type == "cpu" and not any(map(shutil.which, ("g++", "clang++", "c++"))):
        raise UserError(
            "speed.compile=true needs a C++ compiler, and there is none; install g++, or set "
            "speed.compile=false"
        )
