"""The lines of the table that `make bench` prints, and how tasks are timed beside each other."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A figure of this program beside another one, measured in the same run.

    Attributes:
        name: what was done.
        ours: the figure.
        other: the figure that it is compared with.
        unit: of both.
        against: what the other one is.
        aim: what is wanted of `ratio`, in words, or "".
    """

    name: str
    ours: float
    other: float
    unit: str
    against: str
    aim: str = ""

    @property
    def ratio(self) -> float:
        """Ours by the other one."""
        return self.ours / self.other

    def __str__(self) -> str:
        """The line."""
        figures = f"{self.ours:10.4g}{self.other:10.4g} {self.unit:7}{self.ratio:7.2f} ×"
        return f"{self.name:34}{figures}  {self.against:30}{self.aim}"


HEAD = f"{'':34}{'bidnn':>10}{'other':>10} {'unit':7}{'ratio':>7}    {'against':30}wanted"
ROUNDS = 3


def in_turn(*tasks: Callable[[], object]) -> list[float]:
    """The least seconds of each task; taking turns spreads what else the machine does."""
    seconds = [float("inf")] * len(tasks)
    for _ in range(ROUNDS):
        for number, task in enumerate(tasks):
            start = time.perf_counter()
            task()
            seconds[number] = min(seconds[number], time.perf_counter() - start)
    return seconds
