"""Compiled functions, called again without a look at everything that their code depends on.

Before each call torch looks at some six hundred things, any of which may have changed what the code
ought to be; that and what goes with it takes a quarter of a small step. Who knows that nothing has
changed but the batch calls the code that the first call came to.

torch has a way of its own to leave the look out, `set_stance(skip_guard_eval_unsafe=True)`. It
holds for the whole process, and a signal that comes while torch looks for code then ends the
training, since there is none for the function that deals with it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bidnn.errors import UserError


@dataclass(frozen=True, slots=True)
class Call:
    """Of compiled code: what it took, and what it gave."""

    code: Callable[..., Sequence[Any]]
    inputs: tuple[Any, ...]
    outputs: Sequence[Any]


@dataclass(slots=True)
class Notes:
    """The calls of compiled code, and how often there was none yet."""

    calls: list[Call] = field(default_factory=list)
    compiled: int = 0


Arguments = Sequence[Tensor | None]
RESTLESS = 8
"""Times that code is made anew before it is held against the calls; torch gives up there, too."""
_notes: ContextVar[Notes | None] = ContextVar("notes", default=None)


def noting(
    graph: torch.fx.GraphModule, inputs: list[Any], options: dict[str, Any] | None = None
) -> Callable[..., Any]:
    """Compiles as torch does, for the code to note its calls where somebody wants them."""
    from torch import _inductor  # half a second, seldom needed

    code: Any = _inductor.compile(graph, inputs, options)  # typed by all that it may be
    notes = _notes.get()
    if notes is not None:
        notes.compiled += 1

    def call(*inputs: Any) -> Sequence[Any]:  # noqa: ANN401 — whatever the graph takes
        outputs: Sequence[Any] = code(*inputs)
        notes = _notes.get()
        if notes is not None:
            notes.calls.append(Call(code, inputs, outputs))
        return outputs

    return call


@contextmanager
def noted() -> Iterator[Notes]:
    """What compiled code does within the block."""
    notes = Notes()
    before = _notes.set(notes)
    try:
        yield notes
    finally:
        _notes.reset(before)


class Restless:
    """Counts how often a loss of one's own was compiled, and refuses it if that never ends.

    A number of its own that it changes, its steps, say, is part of what it was compiled for.
    """

    def __init__(self) -> None:
        """Has counted nothing."""
        self._called = self._compiled = 0

    def count(self, compiled: int) -> None:
        """Counts a call, and how often it was compiled for that.

        Raises:
            UserError: from the ninth time on, unless there were eight times as many calls.
        """
        self._called, self._compiled = self._called + 1, self._compiled + compiled
        if self._compiled > RESTLESS and self._called < RESTLESS * self._compiled:
            raise UserError(
                f"speed.compile=true: in {self._called} steps they were compiled "
                f"{self._compiled} times, since the loss changes what they depend on, a "
                "number of its own, say; set speed.compile=false"
            )


class Direct:
    """A compiled function of some tensors that stay the same, and others that change."""

    def __init__(
        self, function: Callable[..., tuple[Any, ...]], fixed: Sequence[Any], *, pure: bool
    ) -> None:
        """Calls nothing yet.

        Args:
            function: compiled with `noting`, as one graph.
            fixed: its first arguments, tensors or lists of them.
            pure: it does nothing but change tensors in place and give others, so that its code is
                all there is to it. Otherwise each call is torch's.
        """
        self._function, self._fixed, self._pure = function, fixed, pure
        self._again: Callable[[Arguments], tuple[Any, ...]] | None = None
        self._restless = Restless()

    def look(self) -> None:
        """The next call looks at everything once more."""
        self._again = None

    def __call__(self, *changing: Tensor | None) -> tuple[Any, ...]:
        """The function's result for these last arguments.

        Raises:
            UserError: if it is not pure, and cannot be compiled, or so often that it is not worth
                it.
        """
        if self._again is not None:
            return self._again(changing)
        with noted() as notes:
            try:
                result = self._function(*self._fixed, *changing)
            except Exception as error:
                from torch._dynamo.exc import TorchDynamoException  # a second, seldom needed

                if self._pure or not isinstance(error, TorchDynamoException):
                    raise
                why = " ".join(" ".join(str(error).splitlines()[:2]).split())
                raise UserError(
                    "speed.compile=true: the loss cannot be compiled; set speed.compile=false "
                    f"({why})"
                ) from error
        if self._pure and len(notes.calls) == 1:
            self._again = repeated(notes.calls[0], changing, result)
        elif not self._pure:
            self._restless.count(notes.compiled)
        return result


def repeated(
    call: Call, changing: Arguments, result: tuple[Any, ...]
) -> Callable[[Arguments], tuple[Any, ...]] | None:
    """What calls the same code for other arguments in the place of `changing`.

    Args:
        call: of the code; whatever it took besides is taken again.
        changing: the arguments that it was called for.
        result: of the function; its tensors are outputs of the code.

    Returns:
        None if a tensor of the result is no output.
    """
    arguments = {id(value): place for place, value in enumerate(changing) if value is not None}
    outputs = {id(value): place for place, value in enumerate(call.outputs)}
    if any(isinstance(value, Tensor) and id(value) not in outputs for value in result):
        return None
    code, inputs = call.code, list[Any](call.inputs)
    moving = [(at, arguments[id(v)]) for at, v in enumerate(inputs) if id(v) in arguments]
    parts = [(outputs[id(v)], None) if isinstance(v, Tensor) else (None, v) for v in result]

    def again(changing: Arguments) -> tuple[Any, ...]:
        for at, place in moving:
            inputs[at] = changing[place]
        found = code(*inputs)
        for at, _ in moving:
            inputs[at] = None  # a batch is a view of its chunk, which would be kept
        return tuple(same if place is None else found[place] for place, same in parts)

    return again
