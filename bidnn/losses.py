"""What is minimised, as plain functions of tensors.

Shapes in comments: B rows of a batch, M1 M2 sizes of the modalities.
"""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional

from bidnn.network import Outputs


class Weighting(Enum):
    """How the squared errors of the two modalities are put together."""

    components = "components"
    modalities = "modalities"


@dataclass(slots=True, kw_only=True)
class LossConfig:
    """What is added up; the defaults are the paper.

    Attributes:
        weighting: `components`: one mean over all M1 + M2 output components, so that a modality
            weighs as much as it is wide (the paper); `modalities`: the mean of each modality's own
            mean (Hao, Ngo, Huet, IEEE TMM 2020).
    """

    weighting: Weighting = Weighting.components


class Losses(NamedTuple):
    """The sum that is minimised, and what it is made of; scalars."""

    total: Tensor
    first_to_second: Tensor  # mean squared error of the translated second modality
    second_to_first: Tensor  # mean squared error of the translated first modality


def pair_loss(outputs: Outputs, first: Tensor, second: Tensor, config: LossConfig) -> Losses:
    """The loss of rows with both modalities.

    Args:
        outputs: of the network for these rows.
        first: (B, M1) the targets.
        second: (B, M2) likewise.
        config: what is added up.
    """
    to_second = functional.mse_loss(outputs.second, second)
    to_first = functional.mse_loss(outputs.first, first)
    if config.weighting is Weighting.modalities:
        return Losses((to_second + to_first) / 2, to_second.detach(), to_first.detach())
    share = second.shape[1] / (first.shape[1] + second.shape[1])
    total = to_second * share + to_first * (1 - share)
    return Losses(total, to_second.detach(), to_first.detach())
