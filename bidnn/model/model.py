"""A model: a network, the scaling it was trained with, and how a row's vector is made.

Shapes are those of `network.py`.
"""

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from bidnn.architecture import NetworkConfig
from bidnn.data.store import PairStore, Reading
from bidnn.data.transfers import moved
from bidnn.errors import UserError
from bidnn.model import landmarks, readout, sharing
from bidnn.model.finishing import (
    STRATEGIES,
    Centring,
    EmbeddingConfig,
    Finish,
    MissingStrategy,
    Space,
)
from bidnn.model.networks import PairNetwork, build_network
from bidnn.model.scaling import ModalityScaler, ScalingConfig, at_least_float32
from bidnn.network import Network

FIT_BYTES = 128 * 2**20


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
        return max(self.mod1size + self.mod2size, config.hdn, config.rep, sum(self.halves))

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
        vectors = self._halves(first, second, present, self.missing, incomplete=incomplete)
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

    def fit_embedding(
        self,
        store: PairStore,
        rows: NDArray[np.int64],
        taught: tuple[NDArray[np.int64], NDArray[np.float32]] | None = None,
    ) -> None:
        """Finds the statistics that the embedding needs, for every strategy, from complete rows.

        Args:
            store: where they are.
            rows: numbers of complete rows; 65 536 of them, spread evenly, are used.
            taught: numbers of all rows that train the diffusion head, of which 16 384 are used, and
                by row of the store the coordinates that it is to predict, zeros where there are
                none; None leaves the head as it is.

        Raises:
            UserError: if they are too few for `embedding.shared` or `embedding.landmarks`.
        """
        if not self.finish.config.fitted:
            return
        for key in ("shared", "landmarks"):
            if getattr(self.finish.config, key):
                sharing.check_enough(len(rows), f"embedding.{key}")
        training = self.training
        self.eval()
        if self.finish.readout is not None and taught is not None:
            self._fit_landmarks(store, taught[0])
            self._solve(store, *taught)
        if len(rows):
            self._fit_finish(store, rows)
        self.train(training)

    def _fit_finish(self, store: PairStore, rows: NDArray[np.int64]) -> None:
        size = sum(self.halves)
        config, count = self.finish.config, 0
        sums = torch.zeros(len(STRATEGIES), 3, size, dtype=torch.float64)
        products = torch.zeros(size, size, dtype=torch.float64)
        kinds = (0, 1, 2) if config.centring is Centring.presence else (0,)
        for kind, own, vectors in self._shown(store, rows[:: -(-len(rows) // 65536)], kinds):
            sums[own, kind] += vectors.sum(dim=0)
            count += len(vectors) if kind == 0 else 0
            if kind == 0 and config.whitening:
                products += vectors.T @ vectors
        if count:
            self.finish.fit(sums, products, count)
        if config.shared:
            self._fit_shared(store, rows[:: -(-len(rows) // sharing.ROWS)])

    def _fit_landmarks(self, store: PairStore, rows: NDArray[np.int64]) -> None:
        """Finds the landmarks of both modalities, if there are to be any."""
        if not len(rows) or not self.finish.config.landmarks:
            return
        rows = rows[:: -(-len(rows) // min(landmarks.ROWS, store.rows_in(FIT_BYTES)))]
        first, second = (self.on_device(values) for values in store.take(rows))
        present = torch.from_numpy(store.present[rows]).to(self.device)
        said = self.telling(first, second, present)
        with torch.no_grad():
            scaled = self.scale(first, second)
        for side, own in enumerate(self.finish.landmarks):
            assert isinstance(own, landmarks.Landmarks)
            own.fit(scaled[side][said[:, side]].float().cpu().numpy())

    def _solve(
        self, store: PairStore, rows: NDArray[np.int64], coordinates: NDArray[np.float32]
    ) -> None:
        """Solves the diffusion head for training rows."""
        assert self.finish.readout is not None
        size = sum(self.halves)
        inputs = self.finish.readout.inputs
        sums = [readout.Moments(count, size) for count in (inputs, inputs, 2 * inputs)]
        rows = rows[:: -(-len(rows) // readout.ROWS)] if len(rows) else rows
        for part in self._blocks(store, rows):
            first, second = (self.on_device(values) for values in store.take(part))
            target = self.on_device(np.asarray(coordinates[part]))
            present = torch.from_numpy(store.present[part]).to(self.device)
            said = self.telling(first, second, present) & target.any(dim=1, keepdim=True)
            with torch.no_grad():
                centres, predicted = self._placed(first, second)
            centres = [at_least_float32(centre) for centre in centres]
            for side in (0, 1):
                own = said[:, side]
                sums[side].add(centres[side][own], (target - predicted[side])[own])
            both = said.all(dim=1)
            missed = target - (predicted[0] + predicted[1]) / 2
            sums[2].add(torch.cat(centres, dim=1)[both], missed[both])
        strength = landmarks.STRENGTH if self.finish.config.landmarks else None
        self.finish.readout.solve(sums[0], sums[1], sums[2], strength)

    def _fit_shared(self, store: PairStore, rows: NDArray[np.int64]) -> None:
        """Finds the directions that complete rows share when only one modality is shown."""
        found: dict[tuple[int, ...], tuple[list[Tensor], list[Tensor]]] = {}
        for kind, own, vectors in self._shown(store, rows, (1, 2)):
            found.setdefault(tuple(own), ([], []))[kind - 1].append(vectors)
        for strategies, (first, second) in found.items():
            sharing.check_enough(sum(map(len, first)))
            self.finish.fit_shared(torch.cat(first), torch.cat(second), strategies)

    def _shown(
        self, store: PairStore, rows: NDArray[np.int64], kinds: tuple[int, ...]
    ) -> Iterator[tuple[int, list[int], Tensor]]:
        """Vectors of complete rows of which both, only the first or only the second are shown.

        Args:
            store: where the rows are.
            rows: their numbers; those of which one modality says nothing are left out.
            kinds: 0 for both, 1 for the first only, 2 for the second only.

        Yields:
            The kind, the numbers of the strategies that make the same of it, and (rows, D) in
            double precision on the processor, since some devices have none.
        """
        shows = torch.tensor([[True, True], [True, False], [False, True]], device=self.device)
        for part in self._blocks(store, rows):
            first, second = (self.on_device(values) for values in store.take(part))
            if self.finish.config.space is Space.diffusion:
                said = self.telling(first, second).all(dim=1)
                first, second = first[said], second[said]
            for kind in kinds:
                present = shows[kind].expand(len(first), 2)
                ways = self.strategies if kind else self.strategies[:1]
                for strategy in ways:
                    alike = STRATEGIES if len(ways) == 1 else (strategy,)
                    with torch.no_grad():
                        vectors = self._halves(
                            first, second, present, strategy, incomplete=kind != 0
                        )
                    yield kind, [STRATEGIES.index(way) for way in alike], vectors.cpu().double()

    @staticmethod
    def _blocks(store: PairStore, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Numbers of rows, as many at once as memory is meant for."""
        count = -(-len(rows) // min(4096, store.rows_in(FIT_BYTES)))
        return np.array_split(rows, count) if count else []

    def on_device(self, values: NDArray[np.float32]) -> Tensor:
        """Features where the parameters are."""
        return torch.from_numpy(values).to(self.device)

    def _halves(
        self,
        first: Tensor,
        second: Tensor,
        present: Tensor,
        strategy: MissingStrategy,
        *,
        incomplete: bool,
    ) -> Tensor:
        """The vectors, not finished.

        Args:
            first: as of `embed`.
            second: likewise.
            present: likewise, on the device of both.
            strategy: what stands for a missing modality.
            incomplete: whether any row may miss one.
        """
        if self.finish.config.space is Space.diffusion:
            return self._coordinates(first, second, present)
        # Unlike the original: a row without any modality is zero, not an encoding of zeros.
        first, second = self.scale(first, second)
        network, inputs = self.network, self.finish.config.space is Space.inputs
        translates = inputs or strategy is MissingStrategy.translate
        if translates and not network.fills_missing and incomplete:
            first = torch.where(present[:, :1], first, network.translate(second=second))
            second = torch.where(present[:, 1:], second, network.translate(first=first))
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
        centres, predicted = self._placed(first, second)
        if self.finish.readout is not None:
            found: Tensor = self.finish.readout(centres, predicted, said) / sum(self.halves) ** 0.5
            return found
        left, right = predicted
        summed = left * said[:, :1] + right * said[:, 1:]
        return functional.normalize(at_least_float32(summed), dim=1)

    def _placed(self, first: Tensor, second: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The centres of both modalities, and what the diffusion head predicts from each."""
        assert isinstance(self.network, Network)
        first, second = self.scale(first, second)
        centres = [self.network.encode(first=first), self.network.encode(second=second)]
        predicted = [self.network.place(centre) for centre in centres]
        if not self.finish.config.landmarks:
            return centres, predicted
        near = [own(part) for own, part in zip(self.finish.landmarks, (first, second), strict=True)]
        return near, [torch.zeros_like(at_least_float32(part)) for part in predicted]

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
        to_first = self.first_scaler.inverse(self.network.translate(second=scaled[1]))
        to_second = self.second_scaler.inverse(self.network.translate(first=scaled[0]))
        zero = first.new_zeros(())
        return (
            torch.where(has_first, first, torch.where(has_second, to_first, zero)),
            torch.where(has_second, second, torch.where(has_first, to_second, zero)),
        )


def _any_missing(present: Tensor) -> bool:
    """Whether any row may miss a modality; a graph that is exported is for all rows."""
    return torch.compiler.is_exporting() or not bool(present.all())
