"""A function's kernels on a GPU, recorded once and from then on launched together.

Launching kernels one by one takes the processor longer than a GPU needs for them, unless they are
large. A CUDA graph is launched at once. It reads and writes the same memory each time: what goes
in is copied there first, and what comes out is copied away.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Recorder = Callable[[Callable[[], Tensor]], tuple[Callable[[], None], Tensor]]


class Captured:
    """Calls a function as it is the first time, then records it for each number of rows."""

    def __init__(
        self, function: Callable[[Sequence[Tensor | None]], Tensor], record: Recorder | None = None
    ) -> None:
        """Records nothing yet: the first call compiles, and finds out which kernels are best.

        Args:
            function: of tensors whose first dimension varies, and no other. What else it reads
                and writes stays where it is.
            record: runs a function once, without effect; gives what does it, and the tensor that
                the result will be in. None: by a CUDA graph.
        """
        self._function, self._record = function, record or record_graph
        self._called = False
        self._recorded: dict[int, tuple[list[Tensor | None], Callable[[], None], Tensor]] = {}

    def forget(self) -> None:
        """Records anew: what the function depends on besides tensors has changed."""
        self._called = False
        self._recorded.clear()

    def __call__(self, inputs: Sequence[Tensor | None]) -> Tensor:
        """What the function gives; random numbers are drawn by the seed of this moment."""
        if not self._called:
            self._called = True
            return self._function(inputs)
        assert inputs[0] is not None
        count = len(inputs[0])
        if count not in self._recorded:
            own = [None if values is None else values.clone() for values in inputs]
            self._recorded[count] = (own, *self._record(lambda: self._function(own)))
        own, replay, result = self._recorded[count]
        for kept, values in zip(own, inputs, strict=True):
            if kept is not None and values is not None:
                kept.copy_(values)
        replay()
        return result.clone()


def record_graph(function: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """Records a function as a CUDA graph, see `Captured`."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = function()
    return graph.replay, result
