"""Compiled functions, called again without a look at everything that their code depends on.

Before each call torch looks at some six hundred things, any of which may have changed what the code
ought to be; that and what goes with it takes a tenth of a small step. Within a chunk nothing
changes but the batch: its first step is called by way of torch, and those after it call the code
that this one came to.

torch has a way of its own to leave the look out, `set_stance(skip_guard_eval_unsafe=True)`. It
holds for the whole process, and any Python function that a signal or the garbage collector calls
in the midst of a step then ends the training, since there is no compiled code for it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Call:
    """Of compiled code: what it took, and what it gave."""

    code: Callable[..., Sequence[Any]]
    inputs: tuple[Any, ...]
    outputs: Sequence[Any]


Arguments = Sequence[Tensor | None]
_calls: ContextVar[list[Call] | None] = ContextVar("calls", default=None)


def noting(
    graph: torch.fx.GraphModule, inputs: list[Any], options: dict[str, Any] | None = None
) -> Callable[..., Any]:
    """Compiles as torch does, for the code to note its calls where somebody wants them."""
    from torch._dynamo import lookup_backend  # half a second, seldom needed

    compiler: Any = lookup_backend("inductor")  # its types do not know the settings
    code: Callable[..., Sequence[Any]] = compiler(graph, inputs, config_patches=options)

    def call(*inputs: Any) -> Sequence[Any]:  # noqa: ANN401 — whatever the graph takes
        outputs = code(*inputs)
        calls = _calls.get()
        if calls is not None:
            calls.append(Call(code, inputs, outputs))
        return outputs

    return call


@contextmanager
def noted() -> Iterator[list[Call]]:
    """The calls of compiled code within the block."""
    calls: list[Call] = []
    before = _calls.set(calls)
    try:
        yield calls
    finally:
        _calls.reset(before)


class Direct:
    """A compiled function of some tensors that stay the same, and others that change."""

    def __init__(
        self, function: Callable[..., tuple[Any, ...]], fixed: Sequence[Any], *, pure: bool
    ) -> None:
        """Calls nothing yet.

        Args:
            function: compiled with `noting`, as one graph.
            fixed: its first arguments, tensors or lists of them.
            pure: it does nothing but change `fixed` and give tensors, so that its code is all
                there is to it. Otherwise each call is torch's.
        """
        self._function, self._fixed, self._pure = function, fixed, pure
        self._known = frozenset(map(id, _tensors(fixed)))
        self._again: Callable[[Arguments], tuple[Any, ...]] | None = None

    def look(self) -> None:
        """The next call looks at everything once more."""
        self._again = None

    def __call__(self, *changing: Tensor | None) -> tuple[Any, ...]:
        """The function's result for these last arguments."""
        if self._again is not None:
            return self._again(changing)
        with noted() as calls:
            result = self._function(*self._fixed, *changing)
        if len(calls) == 1 and self._pure:
            self._again = repeated(calls[0], self._known, changing, result)
        return result


def repeated(
    call: Call, known: frozenset[int], changing: Arguments, result: tuple[Any, ...]
) -> Callable[[Arguments], tuple[Any, ...]] | None:
    """What calls the same code for other arguments in the place of `changing`.

    Args:
        call: of the code.
        known: identities of the tensors that it may read besides.
        changing: the arguments that it was called for.
        result: of the function; its tensors are outputs of the code.

    Returns:
        None if the code takes or gives anything else: then it is not all there is to the function.
    """
    arguments = {id(value): place for place, value in enumerate(changing) if value is not None}
    outputs = {id(value): place for place, value in enumerate(call.outputs)}
    if any(id(value) not in known and id(value) not in arguments for value in call.inputs):
        return None
    if any(isinstance(value, Tensor) and id(value) not in outputs for value in result):
        return None
    code, inputs = call.code, list(call.inputs)
    moving = [(at, arguments[id(v)]) for at, v in enumerate(inputs) if id(v) in arguments]
    parts = [(outputs[id(v)], None) if isinstance(v, Tensor) else (None, v) for v in result]

    def again(changing: Arguments) -> tuple[Any, ...]:
        for at, place in moving:
            inputs[at] = changing[place]
        found = code(*inputs)
        return tuple(same if place is None else found[place] for place, same in parts)

    return again


def _tensors(values: Any) -> Iterator[Tensor]:  # noqa: ANN401 — a tensor or lists of them, nested
    if isinstance(values, Tensor):
        yield values
    else:
        for part in values:
            yield from _tensors(part)
