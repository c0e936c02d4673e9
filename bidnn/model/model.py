"""A model: a network, the scaling it was trained with, and how a row's vector is made.

Shapes are those of `network.py`.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from bidnn.architecture import NetworkConfig
from bidnn.data.store import Reading
from bidnn.data.transfers import moved
from bidnn.errors import UserError
from bidnn.model.finishing import (
    STRATEGIES,
    EmbeddingConfig,
    Finish,
    MissingStrategy,
    Space,
)
from bidnn.model.networks import PairNetwork, build_network
from bidnn.model.scaling import ModalityScaler, ScalingConfig, at_least_float32
from bidnn.model.stacking import Stacked
from bidnn.network import Network


class Model(nn.Module):
    """A network and the scaling it was trained with: all that is needed to embed new rows.

    Attributes:
        network: see PairNetwork.
        reading: how its rows were read.
        l2_norm: what Python's interface writes has rows of unit length.
    """

    network: PairNetwork

    def __init__(
        self,
        mod1size: int,
        mod2size: int,
        network: NetworkConfig,
        scaling: ScalingConfig | None = None,
        embedding: EmbeddingConfig | None = None,
    ) -> None:
        """Builds it untrained; scaling and embedding start with neutral statistics.

        Args:
            mod1size: columns of the first modality.
            mod2size: columns of the second modality.
            network: the architecture.
            scaling: of both modalities; None for none.
            embedding: how a row's vector is made; None for the paper's way.

        Raises:
            ValueError: if an autoencoder is to be compared in the space of the inputs.
        """
        super().__init__()
        scaling = scaling or ScalingConfig()
        embedding = embedding or EmbeddingConfig()
        self.network = build_network(mod1size, mod2size, network)
        self.first_scaler = ModalityScaler(mod1size, scaling.kind, scaling.transform)
        self.second_scaler = ModalityScaler(mod2size, scaling.kind, scaling.transform)
        inputs = embedding.space is Space.inputs
        if inputs and self.network.fills_missing:
            raise UserError(
                f"embedding.space=inputs is not for model={network.architecture.value}, whose rows "
                "are compared by their one centre; use embedding=centres"
            )
        if embedding.space is Space.diffusion and not network.diffusion:
            raise UserError(
                "embedding.space=diffusion compares rows by what the diffusion head predicts, and "
                "model.diffusion=false; set model.diffusion=true loss.diffusion=1"
            )
        self.halves = {
            Space.centres: (network.rep // 2, network.rep // 2),
            Space.inputs: (mod1size, mod2size),
            Space.diffusion: (network.rep, 0),
        }[embedding.space]
        self.finish = Finish(sum(self.halves), embedding, (mod1size, mod2size))
        self.stacked = Stacked(mod1size, mod2size) if embedding.stacked else None
        self.reading, self.l2_norm = Reading(), False

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Moves or converts the model, as `to` does, but never rounds scaling and finishing."""

        def unrounded(values: Tensor) -> Tensor:
            changed = fn(values)
            exact = torch.promote_types(changed.dtype, torch.float32)
            return changed if changed.dtype == exact else values.to(changed.device, exact)

        for name, part in self.named_children():
            part._apply(fn if name == "network" else unrounded, recurse)  # type: ignore[no-untyped-call]  # torch's
        return self

    @classmethod
    def of(cls, network: PairNetwork, scaling: ScalingConfig | None = None) -> Self:
        """Puts a network that is there already into a model."""
        model = cls(network.mod1size, network.mod2size, network.config, scaling)
        model.network = network
        return model

    @property
    def mod1size(self) -> int:
        """Columns of the first modality."""
        return self.network.mod1size

    @property
    def mod2size(self) -> int:
        """Columns of the second modality."""
        return self.network.mod2size

    @property
    def widest(self) -> int:
        """The most values that any layer, or the vector in the end, makes of a row."""
        config = self.network.config
        # Of each wave a row has an angle beside it.
        waves = [] if self.stacked is None else [own.count for own in self.stacked.waves if own]
        sizes = (config.hdn, config.rep, sum(self.halves), 2 * sum(waves))
        return max(self.mod1size + self.mod2size, *sizes)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.first_scaler.shift.device

    def scale(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Both modalities as the network sees them, as precise as its weights."""
        kind = next(self.network.parameters()).dtype
        return self.first_scaler(first).to(kind), self.second_scaler(second).to(kind)

    @property
    def missing(self) -> MissingStrategy:
        """What stands for a missing modality's centre."""
        return self.finish.config.missing

    @property
    def strategies(self) -> tuple[MissingStrategy, ...]:
        """Those that make a difference, if any row misses a modality."""
        centres = self.finish.config.space is Space.centres
        return STRATEGIES if centres and not self.network.fills_missing else (self.missing,)

    def with_missing(self, strategy: MissingStrategy) -> Self:
        """The same model, its weights shared, that stands for what is missing in another way.

        Raises:
            UserError: if that would change nothing, as nothing stands for what is missing.
        """
        if strategy not in self.strategies:
            raise UserError(
                f"missing={strategy.value} changes nothing in an embedding by "
                f"{self.finish.config.space.value} of {self.network.config.architecture.value}"
                f"; leave it at {self.missing.value}"
            )
        other, finish = copy(self), copy(self.finish)
        other._modules = {**self._modules, "finish": finish}
        finish.config = replace(finish.config, missing=strategy)
        return other

    def embed(self, first: Tensor, second: Tensor, present: Tensor) -> Tensor:
        """The multimodal embedding, by default both centres side by side.

        Args:
            first: (rows, mod1size), unscaled; rows that are not present are ignored.
            second: (rows, mod2size), likewise.
            present: (rows, 2) bool; of the CPU, where nothing waits for a GPU to look at them.

        Returns:
            (rows, rep), in the space of the inputs (rows, mod1size + mod2size); zero where both
            modalities are missing or, in that of diffusion, are all zeros.

        Section 3 of Vukotić et al., ICMR 2016.
        """
        incomplete, present = _any_missing(present), moved(present, first.device)
        if self.finish.config.space is Space.diffusion:
            present = self.telling(first, second, present)
        vectors = self.vectors(first, second, present, self.missing, incomplete=incomplete)
        finished: Tensor = self.finish(vectors, present, self.missing)
        return finished

    @staticmethod
    def telling(first: Tensor, second: Tensor, present: Tensor | None = None) -> Tensor:
        """Which modalities say anything of a row: those that are present and not all zeros.

        In the paper, too, a modality that is an all-zero vector is missing.

        Args:
            first: (rows, mod1size), unscaled.
            second: (rows, mod2size), likewise.
            present: (rows, 2) bool; None if all are.

        Returns:
            (rows, 2) bool.
        """
        said = torch.stack([first.any(dim=1), second.any(dim=1)], dim=1)
        return said if present is None else said & present

    def on_device(self, values: NDArray[np.float32]) -> Tensor:
        """Features where the parameters are."""
        return torch.from_numpy(values).to(self.device)

    def vectors(
        self,
        first: Tensor,
        second: Tensor,
        present: Tensor,
        strategy: MissingStrategy,
        *,
        incomplete: bool,
    ) -> Tensor:
        """The vectors as the network gives them, before the steps of `finish`.

        Args:
            first: as of `embed`.
            second: likewise.
            present: likewise, on the device of both; in the space of diffusion, those that tell.
            strategy: what stands for a missing modality.
            incomplete: whether any row may miss one.

        Returns:
            (rows, D), D as of `embed`; zero where nothing is present.
        """
        if self.finish.config.space is Space.diffusion:
            return self._coordinates(first, second, present)
        # Unlike the original: a row without any modality is zero, not an encoding of zeros.
        first, second = self.scale(first, second)
        network, inputs = self.network, self.finish.config.space is Space.inputs
        translates = inputs or strategy is MissingStrategy.translate
        if translates and not network.fills_missing and incomplete:
            first = torch.where(present[:, :1], first, self.translate(second=second))
            second = torch.where(present[:, 1:], second, self.translate(first=first))
            present = present.any(dim=1, keepdim=True).expand(-1, 2)
        if not inputs:
            return network.centres(first, second, present)
        parts = at_least_float32(first), at_least_float32(second)
        halves = [functional.normalize(part, dim=1) for part in parts]
        return torch.cat(halves, dim=1) * present.any(dim=1, keepdim=True)

    def _coordinates(self, first: Tensor, second: Tensor, said: Tensor) -> Tensor:
        """What the modalities that are there predict; zero where none says anything.

        Of unit length, unless the head is solved: then shorter, the less they tell.
        """
        centres, predicted = self.placed(first, second)
        if self.finish.readout is not None:
            found: Tensor = self.finish.readout(centres, predicted, said) / sum(self.halves) ** 0.5
            return found
        left, right = predicted
        summed = left * said[:, :1] + right * said[:, 1:]
        return functional.normalize(at_least_float32(summed), dim=1)

    def placed(self, first: Tensor, second: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """What the diffusion head is solved on, and what it predicts without being solved.

        Args:
            first: (rows, mod1size), unscaled.
            second: (rows, mod2size), likewise.

        Returns:
            Of both modalities, the centres (rows, rep / 2), or how near the landmarks are (rows,
            landmarks); and what the trained head makes of the centres (rows, rep), with landmarks
            zeros, so that the network's weights make no difference then.
        """
        scaled = self.scale(first, second)
        if not self.finish.config.by_network:
            near = [own(part) for own, part in zip(self.finish.landmarks, scaled, strict=True)]
            return near, [part.new_zeros(part.shape[0], sum(self.halves)) for part in near]
        assert isinstance(self.network, Network)
        centres = [self.network.encode(first=scaled[0]), self.network.encode(second=scaled[1])]
        return centres, [self.network.place(centre) for centre in centres]

    @property
    def head(self) -> Tensor:
        """The trained diffusion head as a map of a centre and a constant, (rep / 2 + 1, rep).

        With landmarks it has no say: zeros, of a row for each landmark and one.
        """
        assert self.finish.readout is not None
        if not self.finish.config.by_network:
            return torch.zeros_like(self.finish.readout.singles[0])
        assert isinstance(self.network, Network)
        assert self.network.diffusion is not None
        trained = self.network.diffusion
        return torch.cat([trained.weight.T, trained.bias[None]]).detach()

    def translate(self, *, first: Tensor | None = None, second: Tensor | None = None) -> Tensor:
        """Predicts the other modality: by the network, and where it is stacked by a regression.

        Args:
            first: (rows, mod1size), scaled, or
            second: (rows, mod2size), scaled; one of the two.

        Returns:
            (rows, mod2size) for `first`, (rows, mod1size) for `second`, scaled, too.

        Raises:
            TypeError: unless exactly one modality is given.
        """
        by_network = self.network.translate(first=first, second=second)
        if self.stacked is None:
            return by_network
        side, source = (0, second) if first is None else (1, first)
        found: Tensor = self.stacked(by_network, source, side)
        return found.to(by_network.dtype)

    def complete(self, first: Tensor, second: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """The rows as they came, a missing modality filled in by translation from the other.

        Args:
            first: (rows, mod1size), unscaled; rows that are not present are ignored.
            second: (rows, mod2size), likewise.
            present: (rows, 2) bool; of the CPU as well.

        Returns:
            Both modalities in the units of the data (under `unit` scaling translated rows have the
            units of the scaled ones); zero where both are missing.
        """
        has_first, has_second = torch.split(moved(present, first.device), 1, dim=1)
        scaled = self.scale(first, second)
        to_first = self.first_scaler.inverse(self.translate(second=scaled[1]))
        to_second = self.second_scaler.inverse(self.translate(first=scaled[0]))
        zero = first.new_zeros(())
        return (
            torch.where(has_first, first, torch.where(has_second, to_first, zero)),
            torch.where(has_second, second, torch.where(has_first, to_second, zero)),
        )


def _any_missing(present: Tensor) -> bool:
    """Whether any row may miss a modality; a graph that is exported is for all rows."""
    return torch.compiler.is_exporting() or not bool(present.all())
