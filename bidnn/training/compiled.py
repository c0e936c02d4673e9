"""An optimiser step as one compiled function: forward, gradients and update in a single graph.

Run one operation after the other, a step of a small network is spent between the operations, and
one of a large network on reading and writing what the next operation reads again. In one graph
(`torch.compile`) neither is left. The optimiser object stays the owner of its state: the graph
changes the same tensors, so that checkpoints and schedules do not know the difference.
"""

import logging
import shutil
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad

from bidnn.data.transfers import moved
from bidnn.errors import UserError
from bidnn.training.captured import Captured
from bidnn.training.direct import Direct, Restless, noting
from bidnn.training.optimizers import OptimizerConfig, settings_of
from bidnn.training.sums import Terms

log = logging.getLogger(__name__)

Names = tuple[str, ...]
Objective = Callable[..., Terms]
# Random numbers as without compiling: a seed means the same masks.
OPTIONS: dict[str, str | int | bool | Callable[..., Any]] = {"fallback_random": True}


class CompiledSteps:
    """Does for the batches of a chunk what backward and `optimizer.step` do.

    On a GPU all steps of a chunk are one CUDA graph, if the objective is pure, which draws its
    random numbers by the seed of the chunk's first batch. With several processes a step is two
    functions, between which the gradients are averaged.
    """

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        config: OptimizerConfig,
        batch: int,
        average: Callable[[Tensor], None] | None = None,
        *,
        bf16: bool = False,
        pure: bool = False,
        settings: Callable[[], object] = tuple,
    ) -> None:
        """Compiles nothing yet; the first batch does.

        Args:
            network: whose parameters are trained, in place.
            objective: the losses of a batch, given the network as a function, then the batch.
            optimizer: built by `config` over the network's parameters, in their order.
            config: of the optimiser.
            batch: rows of a batch.
            average: makes of all gradients, one below the other, their mean over processes; None:
                there is one process.
            bf16: the objective takes products in bf16. The update then writes linear layers'
                weights as the next step's products read them, besides those in fp32.
            pure: the objective does nothing but compute losses. Another is called by way of torch
                in every step, which is slower.
            settings: all that the code of a step depends on, if the objective is pure. Each chunk
                asks, and lets torch look at everything if they have changed.

        Raises:
            ValueError: if there is no C++ compiler, which compiling for the CPU needs.
        """
        names = [name for name, _ in network.named_parameters()]
        parameters = list(network.parameters())
        device = parameters[0].device
        check_compiler(device)
        values = [parameter.detach() for parameter in parameters]
        states = [config.state(optimizer, parameter) for parameter in parameters]
        rounded = _linear(network) if bf16 else frozenset()
        self._rounded = [
            (value.bfloat16(), value) if name in rounded else None
            for name, value in zip(names, values, strict=True)
        ]
        read = [
            value if pair is None else pair[0]
            for value, pair in zip(values, self._rounded, strict=True)
        ]
        self._batch = batch
        self._rate = torch.zeros((), device=device)
        self._compiles, self._settings = True, settings
        self._seen: tuple[object, list[Any]] | None = None
        captures = device.type == "cuda" and average is None and pure
        self._captured = Captured(self._steps) if captures else None
        self.names: list[str] = []
        self._step: Callable[..., tuple[Any, ...]]

        def losses_of(
            read: list[Tensor],
            *batch: Any,  # noqa: ANN401 — two tensors, then tensors or None
        ) -> tuple[Tensor, Terms]:
            def call(*inputs: Tensor) -> Any:  # noqa: ANN401 — whatever it gives
                return functional_call(network, dict(zip(names, read, strict=True)), inputs)

            losses = objective(call, *batch)
            return losses["loss"], losses

        def change(
            values: list[Tensor],
            read: list[Tensor],
            gradients: Sequence[Tensor],
            states: list[list[Tensor]],
            rate: Tensor,
        ) -> None:
            for value, seen, gradient, state in zip(values, read, gradients, states, strict=True):
                config.update(value, gradient.to(value.dtype), state, rate)
                if seen is not value:
                    seen.copy_(value)

        def step(
            values: list[Tensor],
            read: list[Tensor],
            states: list[list[Tensor]],
            rate: Tensor,
            *batch: Tensor | None,
        ) -> tuple[Tensor, Names]:
            gradients, losses = grad(losses_of, has_aux=True)(read, *batch)
            change(values, read, gradients, states, rate)
            return torch.stack(list(losses.values())), tuple(losses)

        def gradients_of(read: list[Tensor], *batch: Tensor | None) -> tuple[Tensor, Tensor, Names]:
            gradients, losses = grad(losses_of, has_aux=True)(read, *batch)
            flat = torch.cat([gradient.reshape(-1).float() for gradient in gradients])
            return flat, torch.stack(list(losses.values())), tuple(losses)

        def update(
            values: list[Tensor],
            read: list[Tensor],
            states: list[list[Tensor]],
            rate: Tensor,
            flat: Tensor,
        ) -> tuple[()]:
            parts = torch.split(flat, [value.numel() for value in values])
            gradients = [part.view_as(value) for part, value in zip(parts, values, strict=True)]
            change(values, read, gradients, states, rate)
            return ()

        def step_together(*batch: Tensor | None) -> tuple[Tensor, Names]:
            flat, losses, names = first_half(*batch)
            assert average is not None
            average(flat)
            second_half(flat)
            return losses, names

        # A GPU takes products in bf16 slowly unless all sizes are multiples of 8: they are made so.
        options = {**OPTIONS, "force_shape_pad": bf16}

        def compiled(function: Callable[..., tuple[Any, ...]], *fixed: Any) -> Direct:  # noqa: ANN401 — lists of tensors, nested
            return Direct(_compiled(function, options), fixed, pure=pure)

        if average is None:
            self._step = whole = compiled(step, values, read, states, self._rate)
            self._direct = [whole]
        else:
            first_half = compiled(gradients_of, read)
            second_half = compiled(update, values, read, states, self._rate)
            self._step, self._direct = step_together, [first_half, second_half]

    def __call__(
        self, rates: Sequence[float], rows: Sequence[Tensor | None], seed: Callable[[int], None]
    ) -> Tensor:
        """One step a batch.

        Args:
            rates: the learning rate of each.
            rows: first and second modality of all batches, then what else the loss is told.
            seed: seeds the random numbers of a batch, by its number among these.

        Returns:
            (batches, terms) the losses, called `names`, before each update, as everywhere.
        """
        started = time.perf_counter()
        self._look(rows)
        inputs = [moved(torch.tensor(rates), self._rate.device), *rows]
        if self._captured is None:
            losses = self._steps(inputs, seed)
        else:
            seed(0)
            losses = self._captured(inputs)
        if self._compiles:
            self._compiles = False
            log.info("compiled the training step in %.1f s", time.perf_counter() - started)
        return losses

    def _look(self, rows: Sequence[Tensor | None]) -> None:
        """Makes the next step look at everything that its code depends on, if that has changed."""
        kinds = [None if part is None else (part.stride(), part.dtype) for part in rows]
        seen = self._settings(), kinds
        if seen == self._seen:
            return
        self._seen = seen
        for function in self._direct:
            function.look()
        if self._captured is not None:
            self._captured.forget()

    def _steps(
        self, inputs: Sequence[Tensor | None], seed: Callable[[int], None] | None = None
    ) -> Tensor:
        rates, *rows = inputs
        assert rates is not None
        batches = zip(rates, *(cut(kind, len(rates), self._batch) for kind in rows), strict=True)
        together = []
        for pair in self._rounded:  # others may have changed the weights since the last chunk
            if pair is not None:
                pair[0].copy_(pair[1])
        for number, (rate, *batch) in enumerate(batches):
            if seed is not None:
                seed(number)
            self._rate.copy_(rate)
            losses, names = self._step(*batch)
            together.append(losses)
        self.names = list(names)
        return torch.stack(together)


def _compiled(function: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
    """One graph, for the tensors of each call as they are.

    Trainings with the same sizes share what was compiled. torch keeps eight kinds and then fails,
    before any of the function was done: all are forgotten then.
    """
    compiled: Any = torch.compile(
        function, backend=noting, dynamic=False, fullgraph=True, options=options
    )

    def call(*inputs: Any) -> Any:  # noqa: ANN401 — what the function takes and gives
        try:
            return compiled(*inputs)
        except Exception as error:
            from torch._dynamo.exc import FailOnRecompileLimitHit  # a second, seldom needed

            if not isinstance(error, FailOnRecompileLimitHit):
                raise
            torch.compiler.reset()
            return compiled(*inputs)

    return call


def needs_plain(layers: Sequence[nn.Module]) -> str | None:
    """What somebody wants of a network's layers that compiled code would not do; None if nothing.

    torch does not look for hooks before it calls what it has compiled.
    """
    hooked = any(
        layer._forward_hooks
        or layer._forward_pre_hooks
        or layer._backward_hooks
        or layer._backward_pre_hooks
        for layer in layers
    )
    return "a layer has a hook" if hooked else None


def needs_plain_update(
    weights: Sequence[nn.Parameter],
    optimizer: torch.optim.Optimizer,
    settings: list[dict[str, Any]],
) -> str | None:
    """What somebody wants of weights or the optimiser that a compiled update would not do.

    Args:
        weights: all of a network's.
        optimizer: theirs.
        settings: what `settings_of` said of it when it was new, by which compiled steps update.

    Returns:
        None if it would do everything.
    """
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        return "the optimiser has a hook"
    if settings_of(optimizer) != settings:
        return "a setting of the optimiser that is not the rate is changed"
    if any(weight._backward_hooks or weight._post_accumulate_grad_hooks for weight in weights):
        return "a weight has a hook"
    return None if all(weight.requires_grad for weight in weights) else "a weight is frozen"


def _linear(network: nn.Module) -> frozenset[str]:
    """Names of the weights and biases of linear layers, which autocast would round in each use."""
    layers = [
        (room, layer) for room, layer in network.named_modules() if isinstance(layer, nn.Linear)
    ]
    return frozenset(
        f"{room}.{name}" for room, layer in layers for name, _ in layer.named_parameters()
    )


def cut(part: Tensor | None, count: int, batch: int) -> Sequence[Tensor | None]:
    """The first batches of a chunk; as many times nothing of nothing."""
    return [None] * count if part is None else torch.split(part[: count * batch], batch)


def compiled_loss(
    losses: Callable[..., Terms], device: torch.device, *, pure: bool
) -> Callable[..., Terms]:
    """The losses of a batch as one compiled function, whose gradients others take.

    Args:
        losses: of a batch.
        device: where it is.
        pure: they are ours, which are not compiled anew all the time.

    Raises:
        UserError: if there is no C++ compiler; of a call, see `Restless.count`.
    """
    check_compiler(device)
    # Otherwise the ninth kind of training in a process would not be compiled at all.
    compiles: Any = torch.compile  # its types do not know the limit
    compiled = compiles(losses, dynamic=False, options=OPTIONS, recompile_limit=256)
    if pure:
        return lambda *batch: dict(compiled(*batch))
    restless, counted = Restless(), torch._dynamo.utils.counters["stats"]

    def call(*batch: Any) -> Terms:  # noqa: ANN401 — tensors, or None
        before = counted["unique_graphs"]
        found = dict(compiled(*batch))
        restless.count(int(counted["unique_graphs"] > before))
        return found

    return call


def check_compiler(device: torch.device) -> None:
    """Compiling for the CPU needs a C++ compiler.

    Raises:
        UserError: if there is none.
    """
    if not has_compiler(device):
        raise UserError(
            "speed.compile=true needs a C++ compiler, and there is none; install g++, or set "
            "speed.compile=false"
        )


def try_compiler(device: torch.device) -> str | None:
    """Why nothing can be compiled for a device; None if it can.

    A compiler may be there without what it needs, such as Python's headers.
    """
    if not has_compiler(device):
        return "there is no C++ compiler"
    try:
        torch.compile(torch.sin, dynamic=False)(torch.zeros(8, device=device))
    except Exception as error:  # noqa: BLE001 — torch wraps what a compiler says in many kinds
        return (str(error).strip() or type(error).__name__).splitlines()[0]
    return None


def has_compiler(device: torch.device) -> bool:
    """Whether steps can be compiled for a device; torch brings what a GPU needs."""
    return device.type != "cpu" or any(map(shutil.which, ("g++", "clang++", "c++")))
