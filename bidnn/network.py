"""The network of the paper, whole: two translation networks that share their central weights.

    first  ──> encoder ──> centre ──> decoder ──> output ──> second        network first → second
               (M1, H)     A (H, C)   B (C, H)    (H, M2)
    second ──> encoder ──> centre ──> decoder ──> output ──> first         network second → first
               (M2, H)     Bᵀ (H, C)  Aᵀ (C, H)   (H, M1)

A and B exist once; every bias is free. An untied network gives second → first its own A' and B'.
Vukotić, Raymond, Gravier: Bidirectional joint representation learning with symmetrical deep neural
networks for multimodal and crossmodal applications. ICMR 2016 (hal-01314302).

Shapes in comments: B rows of a batch, M1 M2 sizes of the modalities, H hdn, C = rep / 2 the centre.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from bidnn.architecture import NetworkConfig
from bidnn.errors import UserError


class Outputs(NamedTuple):
    """What one pass in both directions gives; None without self paths, or without the head."""

    first_centre: Tensor  # (B, C)
    second_centre: Tensor  # (B, C)
    first: Tensor  # (B, M1), translated from second
    second: Tensor  # (B, M2), translated from first
    first_self: Tensor | None = None  # (B, M1), decoded from the first centre
    second_self: Tensor | None = None  # (B, M2), decoded from the second centre
    first_diffusion: Tensor | None = None  # (B, rep), predicted from the first centre
    second_diffusion: Tensor | None = None  # (B, rep), predicted from the second centre


class Direction(nn.Module):
    """The four layers of one translation; without central weights of its own when it is tied."""

    def __init__(
        self, inputs: int, hdn: int, centre: int, outputs: int, *, own_centre: bool
    ) -> None:
        """Glorot-uniform weights and zero biases, drawn from torch's global generator."""
        super().__init__()
        self.encoder = nn.Linear(inputs, hdn)
        self.centre = nn.Linear(hdn, centre)
        self.decoder = nn.Linear(centre, hdn)
        self.output = nn.Linear(hdn, outputs)
        for layer in (self.encoder, self.centre, self.decoder, self.output):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        if not own_centre:
            self.centre.register_parameter("weight", None)
            self.decoder.register_parameter("weight", None)


class SelfBiases(nn.Module):
    """The free biases of a self path; its weights are those of the direction it decodes with."""

    def __init__(self, hdn: int, outputs: int) -> None:
        """Zero biases."""
        super().__init__()
        self.decoder = nn.Parameter(torch.zeros(hdn))
        self.output = nn.Parameter(torch.zeros(outputs))


class Network(nn.Module):
    """Both translation networks, and what they share."""

    fills_missing = False

    def __init__(self, mod1size: int, mod2size: int, config: NetworkConfig) -> None:
        """Builds the network with fresh weights.

        Args:
            mod1size: columns of the first modality, at least 1.
            mod2size: columns of the second modality, at least 1.
            config: everything else.

        Raises:
            ValueError: if a size is not positive.
        """
        super().__init__()
        if mod1size < 1 or mod2size < 1:
            raise UserError(f"both modalities need columns, not {mod1size} and {mod2size}")
        self.mod1size, self.mod2size, self.config = mod1size, mod2size, config
        hdn, centre, tied = config.hdn, config.rep // 2, config.tied
        self.first_to_second = Direction(mod1size, hdn, centre, mod2size, own_centre=True)
        self.second_to_first = Direction(mod2size, hdn, centre, mod1size, own_centre=not tied)
        self.first_self = SelfBiases(hdn, mod1size) if config.self_paths else None
        self.second_self = SelfBiases(hdn, mod2size) if config.self_paths else None
        self.diffusion = nn.Linear(centre, config.rep) if config.diffusion else None
        self._activate = config.activation.function
        self._activate_output = config.output.function

    def forward(self, first: Tensor, second: Tensor) -> Outputs:
        """Both directions at once, as training needs them; dropout acts on the centres.

        Args:
            first: (B, M1) float.
            second: (B, M2) float.
        """
        masked = self.config.input_dropout if self.training else 0.0
        first, second = mask_inputs(first, masked), mask_inputs(second, masked)
        first_centre, second_centre = self.encode(first=first), self.encode(second=second)
        first_dropped, second_dropped = self._drop(first_centre), self._drop(second_centre)
        return Outputs(
            first_centre,
            second_centre,
            self._decode(second_dropped, self.second_to_first),
            self._decode(first_dropped, self.first_to_second),
            self._decode(first_dropped, self.second_to_first, self.first_self)
            if self.first_self
            else None,
            self._decode(second_dropped, self.first_to_second, self.second_self)
            if self.second_self
            else None,
            self.diffusion(first_dropped) if self.diffusion else None,
            self.diffusion(second_dropped) if self.diffusion else None,
        )

    def encode(self, *, first: Tensor | None = None, second: Tensor | None = None) -> Tensor:
        """The centre of one modality, without dropout.

        Args:
            first: (B, M1) float, or
            second: (B, M2) float; one of the two.

        Returns:
            (B, rep / 2), within the range of the activation.

        Raises:
            TypeError: unless exactly one modality is given.
        """
        direction, values = self._given(first, second)
        encoding, _ = self._central_weights(direction)
        hidden = self._activate(direction.encoder(values))  # (B, H)
        return self._activate(functional.linear(hidden, encoding, direction.centre.bias))

    def centres(self, first: Tensor, second: Tensor, present: Tensor) -> Tensor:
        """Both centres side by side; for a missing modality that of the other, a second time.

        Args:
            first: (B, M1) float.
            second: (B, M2) float.
            present: (B, 2) bool.

        Returns:
            (B, rep); zero where neither is present.
        """
        has_first, has_second = present[:, :1], present[:, 1:]
        left, right = self.encode(first=first), self.encode(second=second)  # (B, C)
        both = [torch.where(has_first, left, right), torch.where(has_second, right, left)]
        return torch.where(has_first | has_second, torch.cat(both, dim=1), 0.0)

    def translate(self, *, first: Tensor | None = None, second: Tensor | None = None) -> Tensor:
        """Predicts the other modality.

        Args:
            first: (B, M1) float, or
            second: (B, M2) float; one of the two.

        Returns:
            (B, M2) for `first`, (B, M1) for `second`, within the range of the output activation.

        Raises:
            TypeError: unless exactly one modality is given.
        """
        direction, _ = self._given(first, second)
        return self._decode(self._drop(self.encode(first=first, second=second)), direction)

    def place(self, centre: Tensor) -> Tensor:
        """Predicts where a row lies among its neighbours, without dropout.

        Args:
            centre: (B, rep / 2), of either modality.

        Returns:
            (B, rep).

        Raises:
            TypeError: unless the network has the head.
        """
        if self.diffusion is None:
            raise TypeError("a network without model.diffusion has no coordinates")
        coordinates: Tensor = self.diffusion(centre)
        return coordinates

    def _given(self, first: Tensor | None, second: Tensor | None) -> tuple[Direction, Tensor]:
        if first is not None and second is None:
            return self.first_to_second, first
        if second is not None and first is None:
            return self.second_to_first, second
        raise TypeError("give either first= or second=")

    def _central_weights(self, direction: Direction) -> tuple[Tensor, Tensor]:
        """Weights (outputs, inputs) into and out of the centre: (C, H) and (H, C)."""
        if self.config.tied and direction is self.second_to_first:
            shared = self.first_to_second
            return shared.decoder.weight.T, shared.centre.weight.T
        return direction.centre.weight, direction.decoder.weight

    def _drop(self, centre: Tensor) -> Tensor:
        return functional.dropout(centre, self.config.dropout, self.training)

    def _decode(
        self, centre: Tensor, direction: Direction, biases: SelfBiases | None = None
    ) -> Tensor:
        """From a centre (B, C) to the modality that `direction` ends in."""
        _, decoding = self._central_weights(direction)
        decoder_bias = direction.decoder.bias if biases is None else biases.decoder
        output_bias = direction.output.bias if biases is None else biases.output
        hidden = self._activate(functional.linear(centre, decoding, decoder_bias))  # (B, H)
        output = functional.linear(hidden, direction.output.weight, output_bias)
        return self._activate_output(output)


def mask_inputs(values: Tensor, share: float) -> Tensor:
    """Sets a share of the values to zero; the others are not scaled up."""
    return values * (torch.rand_like(values) >= share) if share else values
