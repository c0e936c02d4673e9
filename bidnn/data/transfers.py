"""Values on their way to a GPU and back, while it goes on computing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def moved(values: Tensor, device: torch.device) -> Tensor:
    """Values on a device; a GPU fetches them when it comes to that, and nobody waits for it."""
    if device.type != "cuda":
        return values.to(device)  # others may read what is not there yet
    if values.device.type == "cpu":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)


def pinned(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Memory that a GPU reads and writes by itself, while the processor goes on."""
    values: NDArray[np.float32] = torch.empty(shape, pin_memory=True).numpy()
    return values


def fetched(values: Tensor) -> Callable[[], Tensor]:
    """Values that begin their way to the processor; called, it waits for them, not for later work.

    Other devices than CUDA's are waited for altogether.
    """
    if values.device.type != "cuda":
        return values.detach().cpu
    here = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    here.copy_(values.detach(), non_blocking=True)
    there = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch's own
    there.record()

    def wait() -> Tensor:
        there.synchronize()
        return here

    return wait


class Lanes:
    """Copies to a GPU and from it beside its computing, each in a stream of its own.

    On a processor values stay where they are.
    """

    def __init__(self, device: torch.device) -> None:
        """Nothing is on its way yet."""
        self._device = device
        on_gpu = device.type == "cuda"
        self._incoming, self._outgoing = (
            torch.cuda.Stream(device) if on_gpu else None  # type: ignore[no-untyped-call]  # torch's own
            for _ in range(2)
        )

    def send(self, values: NDArray[np.generic]) -> Tensor:
        """Values on the device; what is computed from now on waits for them."""
        here = torch.from_numpy(values)
        if self._incoming is None:
            return here.to(self._device)
        with torch.cuda.stream(self._incoming):
            there = here.to(self._device, non_blocking=True)
        computing = torch.cuda.current_stream(self._device)
        computing.wait_stream(self._incoming)
        there.record_stream(computing)
        return there

    @contextmanager
    def outwards(self, *values: Tensor) -> Iterator[None]:
        """What is done within it, to copy these values, does not hold up what is computed next."""
        if self._outgoing is None:
            yield
            return
        self._outgoing.wait_stream(torch.cuda.current_stream(self._device))
        for part in values:
            part.record_stream(self._outgoing)
        with torch.cuda.stream(self._outgoing):
            yield
