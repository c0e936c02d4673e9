"""Losses and weights that are no longer finite, and what helps."""

import torch
from torch import Tensor, nn

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


def lost_loss(losses: Tensor, number: int) -> str | None:
    """Names the first loss that is not finite; None if all are, which is asked of a GPU once.

    Args:
        losses: (steps,).
        number: of the first one's batch in its epoch, from 0.
    """
    if bool(losses.isfinite().all()):
        return None
    first = int((~losses.isfinite()).int().argmax())
    return f"the loss is {float(losses[first])} in epoch {{epoch}}, batch {number + first + 1}"


def lost_weight(network: nn.Module, steps: int) -> str | None:
    """Names the first weight that is not finite after so many steps; None as in `lost_loss`."""
    with torch.no_grad():
        norm = nn.utils.get_total_norm(network.parameters())
    if bool(norm.isfinite()):  # of finite weights it can still be too large
        return None
    for name, values in network.named_parameters():
        if not bool(values.isfinite().all()):
            return f"{name} is not finite after {steps} steps, in epoch {{epoch}}"
    return None
