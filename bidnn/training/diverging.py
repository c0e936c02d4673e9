"""Losses and weights that are no longer finite, and what helps."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from bidnn.data.transfers import fetched
from bidnn.errors import UserError
from bidnn.model.model import Model
from bidnn.training.advice import Words, offer


class DivergedError(UserError):
    """The loss or a weight is no longer finite."""

    @classmethod
    def of(cls, what: str, epoch: int, rate: float, model: Model, words: Words) -> "DivergedError":
        """With what helps.

        Args:
            what: is no longer finite.
            epoch: from 0.
            rate: the learning rate.
            model: as it is trained.
            words: how the caller writes a setting.
        """
        fixes = [f"a lower {words('optimizer.lr', None)} (now {rate:g})"]
        fixes += offer(model, words, "scaling")
        return cls(
            f"{what.format(epoch=epoch + 1)}; {' or '.join(fixes)} usually helps; the last "
            "checkpoint, if there is one, is from before"
        )


class LossWatch:
    """Looks at losses one chunk later, when a GPU has them, so that nobody waits for it."""

    def __init__(self) -> None:
        """None are there yet."""
        self._waiting: tuple[Callable[[], Tensor], int] | None = None

    def add(self, losses: Tensor, number: int, *, at_once: bool) -> str | None:
        """Notes losses, and looks at those before.

        Args:
            losses: (steps,).
            number: of the first one's batch in its epoch, from 0.
            at_once: looks at these, too.

        Returns:
            See `lost_loss`.
        """
        lost = self.look()
        self._waiting = fetched(losses), number
        return lost or (self.look() if at_once else None)

    def look(self) -> str | None:
        """Looks at the losses that were not looked at, and waits for them."""
        waiting, self._waiting = self._waiting, None
        return None if waiting is None else lost_loss(waiting[0](), waiting[1])


def lost_loss(losses: Tensor, number: int) -> str | None:
    """Names the first loss that is not finite; None if all are, which is asked of a GPU once.

    Args:
        losses: (steps,).
        number: of the first one's batch in its epoch, from 0.
    """
    # NumPy takes a quarter of torch's time for a few numbers, which are on the processor by now.
    if np.isfinite(losses.cpu().numpy()).all():
        return None
    first = int((~losses.isfinite()).int().argmax())
    return f"the loss is {float(losses[first])} in epoch {{epoch}}, batch {number + first + 1}"


def watched_weights(network: nn.Module, steps: int) -> Callable[[], str | None]:
    """Begins to look at the weights; called, it waits for a GPU to have seen them.

    Args:
        network: whose weights those are.
        steps: how many were taken.

    Returns:
        Names the first weight that is not finite; None as in `lost_loss`.
    """
    with torch.no_grad():
        norm = fetched(nn.utils.get_total_norm(network.parameters()))

    def look() -> str | None:
        if bool(norm().isfinite()):  # of finite weights it can still be too large
            return None
        for name, values in network.named_parameters():
            if not bool(values.isfinite().all()):
                return f"{name} is not finite after {steps} steps, in epoch {{epoch}}"
        return None

    return look
