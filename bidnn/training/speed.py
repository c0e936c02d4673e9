"""How the arithmetic of a training is done: compiled or not, how precisely, by how many threads."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import torch

from bidnn.errors import UserError

SMALL_STEP = 2e8
"""Floating-point operations of an optimiser step below which fp32 is as fast as bf16."""

THREADED_STEP = 1e9
"""Floating-point operations of a step from which a second thread is worth waiting for."""

MOST_THREADS = 1024
"""More than any machine gains by; with some 30 000 the system has no room for them."""

LOOKING_S = 0.1
"""For which it is counted which processors are free."""

WORTH_S = 30.0
"""Seconds that compiled steps must save in a training: what compiling takes, where it is slow."""

SAVED_S = {"cpu": 5e-4, "cuda": 2e-3}
"""What a compiled step saves, of any size, at least (docs/speed.md)."""

SAVED_BY_SIZE_S = 5e-13
"""What it saves on a CPU besides, for each floating-point operation."""

BF16_INSTRUCTIONS = ("amx_bf16", "avx512_bf16")
"""Of the CPU; with either of them bf16 products were 2 to 3 times as fast as fp32's."""


class Bf16(Enum):
    """Where matrix products take bf16: `auto`: where that is faster, on large networks."""

    never = "never"
    auto = "auto"
    always = "always"


@dataclass(slots=True, kw_only=True)
class SpeedConfig:
    """The defaults are fp32 arithmetic, operation by operation where that is not much slower.

    Attributes:
        compile: each optimiser step is one compiled function; costs some 10 to 30 seconds once.
            null: where that saves half a minute at least, which compiling may take. It is
            estimated from the number of steps and their size alone, not from the time that they
            take, so that the same settings give the same bytes; a run that is resumed keeps to
            what it began with.
        bf16: matrix products in bf16; weights, gradients' sums and the loss stay fp32, but for
            compiled steps' sum of the two gradients of a weight that both directions use.
        threads: of the CPU; null: one, unless a step is large enough to gain by more and
            processors are free: on a busy machine, waiting for each other costs threads more
            than they gain.
    """

    compile: bool | None = None
    bf16: Bf16 = Bf16.never
    threads: int | None = None

    def __post_init__(self) -> None:
        """Checks the range.

        Raises:
            ValueError: naming the key.
        """
        if self.threads is not None and not 1 <= self.threads <= MOST_THREADS:
            raise UserError(
                f"speed.threads={self.threads}: must be in [1, {MOST_THREADS}], or null"
            )

    @staticmethod
    def saves(steps: int, operations: float, device: torch.device) -> float:
        """Seconds that compiled steps save in a training, at least, without their compiling.

        Args:
            steps: of the whole training.
            operations: floating-point operations of each.
            device: where they are done.
        """
        by_size = SAVED_BY_SIZE_S * operations if device.type == "cpu" else 0.0
        return steps * (SAVED_S.get(device.type, 0.0) + by_size)

    def takes_bf16(self, operations: float, device: torch.device) -> bool:
        """Whether products are in bf16.

        Args:
            operations: floating-point operations of a step.
            device: where they are done.
        """
        if self.bf16 is not Bf16.auto:
            return self.bf16 is Bf16.always
        if device.type == "cuda":
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            has = torch.cpu.get_capabilities()
            fast = device.type == "cpu" and any(has.get(name) for name in BF16_INSTRUCTIONS)
        return fast and operations >= SMALL_STEP

    def set_threads(self, operations: float) -> None:
        """Sets torch's number of threads; several processes share what Lightning says there is.

        Args:
            operations: floating-point operations of a step.
        """
        most = torch.get_num_threads()
        torch.set_num_threads(self.threads or choose_threads(operations, most))


@contextmanager
def kept_threads() -> Iterator[None]:
    """Leaves torch's number of threads as it was."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def choose_threads(operations: float, most: int) -> int:
    """As many threads as there are free processors for, if a step is large enough to gain.

    Args:
        operations: floating-point operations of a step.
        most: what torch would take.
    """
    if operations < THREADED_STEP:
        return 1
    return max(1, min(most, round(idle_processors())))


def idle_processors() -> float:
    """Processors that nobody uses at this moment, this process aside, which waits for a while.

    Where the system does not count their time, those that the load of the last minute leaves.
    """
    processors = os.cpu_count() or 1
    try:
        before = _idle_and_all()
        time.sleep(LOOKING_S)
        idle, everything = (now - then for now, then in zip(_idle_and_all(), before, strict=True))
        return processors * idle / everything
    except (OSError, ValueError, ZeroDivisionError):
        return processors - os.getloadavg()[0]


def _idle_and_all() -> tuple[int, int]:
    """Time of all processors since the start, idle and altogether (proc_stat(5))."""
    with Path("/proc/stat").open(encoding="ascii") as file:
        # user, nice, system, idle, waiting for disks, interrupts twice, other machines
        spent = [int(number) for number in file.readline().split()[1:9]]
    return sum(spent[3:5]), sum(spent)
