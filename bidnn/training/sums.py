"""The terms of the loss, added up over an epoch."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Terms = dict[str, Tensor]


class Sums:
    """Terms of the loss by step, weighted by rows; on the device until they are taken.

    They are kept step by step, because their sum depends on the order of adding: so it is the same
    however steps are put together, and wherever a training was resumed.
    """

    def __init__(
        self, state: dict[str, Any] | None = None, share: tuple[int, int] = (0, 1)
    ) -> None:
        """Empty, or as `state` gave it.

        Args:
            state: of all processes.
            share: this process's number and how many there are; not always as many as there were.
        """
        self.names: list[str] = [] if state is None else list(state["names"])
        self._parts: list[Tensor] = (
            [] if state is None else list(state["steps"])[share[0] :: share[1]]
        )
        self._over = False  # whether the next step is of another epoch

    def state(self, gather: Callable[[Tensor], Tensor]) -> dict[str, Any] | None:
        """What `__init__` takes: of the epoch that goes on, or else of the last.

        Args:
            gather: gives the tensors of all processes, (processes, …), for that of this one.
        """
        if not self._parts:
            return None
        return {"names": self.names, "steps": gather(torch.cat(self._parts))}

    def add(self, names: list[str], terms: Tensor, rows: int) -> Tensor:
        """Adds steps that had `rows` rows each.

        Args:
            names: of the terms.
            terms: (steps, terms).
            rows: of each step.

        Returns:
            (steps,) their losses.
        """
        if self._over:
            self._parts, self._over = [], False
        self.names, terms = names, terms.detach().float()
        if self._parts and self._parts[-1].device != terms.device:  # of a checkpoint
            self._parts = [part.to(terms.device) for part in self._parts]
        self._parts.append(torch.cat([terms, terms.new_ones(len(terms), 1)], dim=1) * rows)
        if len(self._parts) >= 1024:
            self._parts = [torch.cat(self._parts)]
        return terms[:, self.names.index("loss")]

    def take(self, device: torch.device) -> Tensor:
        """The sum of each term, and the rows; the next step begins another sum."""
        over, self._over = self._over, True
        if over or not self._parts:
            return torch.zeros(len(self.names) + 1, device=device)
        return torch.cat([part.to(device) for part in self._parts]).sum(dim=0)
