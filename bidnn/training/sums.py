"""The terms of the loss, added up over an epoch."""

from typing import Any

import torch
from torch import Tensor

Terms = dict[str, Tensor]


class Sums:
    """Terms of the loss by step, weighted by rows; on the device until they are taken.

    They are kept step by step, because their sum depends on the order of adding: so it is the same
    however steps are put together, and wherever a training was resumed.
    """

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        """Empty, or as `state` gave it."""
        self.names: list[str] = [] if state is None else list(state["names"])
        self._parts: list[Tensor] = [] if state is None else [state["steps"]]

    def state(self) -> dict[str, Any] | None:
        """What `__init__` takes."""
        if not self._parts:
            return None
        return {"names": self.names, "steps": torch.cat(self._parts)}

    def add(self, steps: list[Terms], rows: int) -> Tensor:
        """Adds steps that had `rows` rows each; returns their losses."""
        self.names = list(steps[0])
        terms = torch.stack([torch.stack(list(step.values())) for step in steps]).detach().float()
        self._parts.append(torch.cat([terms, terms.new_ones(len(steps), 1)], dim=1) * rows)
        if len(self._parts) >= 1024:
            self._parts = [torch.cat(self._parts)]
        return terms[:, self.names.index("loss")]

    def take(self, device: torch.device) -> Tensor:
        """The sum of each term, and the rows, since the last call."""
        parts, self._parts = self._parts, []
        if not parts:
            return torch.zeros(len(self.names) + 1, device=device)
        return torch.cat([part.to(device) for part in parts]).sum(dim=0)
