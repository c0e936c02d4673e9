"""What a network looks like, apart from the sizes of the modalities."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from math import inf

import torch
from torch import Tensor

from bidnn.errors import UserError


class Activation(Enum):
    """The function that follows every layer, the output layer included."""

    tanh = "tanh"
    sigmoid = "sigmoid"
    relu = "relu"
    linear = "linear"

    @property
    def function(self) -> Callable[[Tensor], Tensor]:
        """What it does, element by element."""
        return _same if self is Activation.linear else getattr(torch, self.value)

    @property
    def reach(self) -> tuple[float, float]:
        """Lower and upper bound of its values."""
        low = {"tanh": -1.0, "linear": -inf}.get(self.value, 0.0)
        return low, 1.0 if self.value in ("tanh", "sigmoid") else inf


def _same(values: Tensor) -> Tensor:
    return values


class Architecture(Enum):
    """The network of the paper, or an autoencoder that it is compared with."""

    bidnn = "bidnn"
    concat_autoencoder = "concat_autoencoder"
    multimodal_autoencoder = "multimodal_autoencoder"

    @property
    def place(self) -> str:
        """The class, which answers `model.networks.PairNetwork`; imported when it is built."""
        return {
            Architecture.bidnn: "bidnn.network.Network",
            Architecture.concat_autoencoder: "bidnn.model.autoencoders.JointAutoencoder",
            Architecture.multimodal_autoencoder: "bidnn.model.autoencoders.JointAutoencoder",
        }[self]


@dataclass(slots=True, kw_only=True)
class NetworkConfig:
    """What the network looks like, apart from the sizes of the modalities, which the data decide.

    Attributes:
        hdn: units of the two outer hidden layers, at least 1.
        rep: size of the embedding: both centres side by side. Even, at least 2.
        activation: follows every layer.
        output_activation: follows the output layers; None for `activation`, as in the paper.
        dropout: share of the centre's units set to zero in training, in [0, 1).
        input_dropout: share of the input values set to zero in training, in [0, 1); the targets
            stay whole (masking noise: Vincent et al., ICML 2008).
        tied: second → first uses the central weights of first → second, transposed.
        self_paths: each centre also decodes to its own modality (Hao, Ngo, Huet, IEEE TMM 2020).
        diffusion: a linear head predicts from each centre where the row lies among its neighbours,
            in `rep` coordinates, see `training/diffusion/`.
        architecture: the paper's, or a baseline.
    """

    hdn: int
    rep: int
    activation: Activation = Activation.tanh
    output_activation: Activation | None = None
    dropout: float = 0.2
    input_dropout: float = 0.0
    tied: bool = True
    self_paths: bool = False
    diffusion: bool = False
    architecture: Architecture = Architecture.bidnn

    def __post_init__(self) -> None:
        """Refuses what no network can be built from.

        Raises:
            ValueError: naming the key and the range.
        """
        if self.hdn < 1:
            raise UserError(f"model.hdn={self.hdn}: a hidden layer needs at least one unit")
        if self.rep < 2 or self.rep % 2:
            raise UserError(
                f"model.rep={self.rep}: the embedding is two centres of rep/2 units each, "
                f"so rep must be even{', and at least 2' if self.rep < 2 else ''}; "
                f"use {max(2, self.rep + 1)}"
            )
        for key in ("dropout", "input_dropout"):
            if not 0.0 <= getattr(self, key) < 1.0:
                raise UserError(f"model.{key}={getattr(self, key)}: must be in [0, 1)")

    @property
    def output(self) -> Activation:
        """The activation that follows the output layers."""
        return self.activation if self.output_activation is None else self.output_activation
