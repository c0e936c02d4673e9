"""A model: a network, the scaling it was trained with, and how a row's vector is made.

Shapes are those of `network.py`.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from bidnn.architecture import NetworkConfig
from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.model.autoencoders import JointAutoencoder, build_network
from bidnn.model.finishing import EmbeddingConfig, Finish, Space
from bidnn.model.scaling import ModalityScaler, ScalingConfig
from bidnn.network import Network

FIT_BYTES = 128 * 2**20


class MissingStrategy(Enum):
    """What stands for the centre of a missing modality.

    `duplicate`: the centre of the modality that is there, a second time (the paper).
    `translate`: the missing modality is translated from the other one, then encoded.
    """

    duplicate = "duplicate"
    translate = "translate"


@dataclass(slots=True, kw_only=True)
class MissingConfig:
    """How rows that miss a modality are embedded.

    Attributes:
        strategy: see MissingStrategy.
    """

    strategy: MissingStrategy = MissingStrategy.translate


class Model(nn.Module):
    """A network and the scaling it was trained with: all that is needed to embed new rows."""

    def __init__(
        self,
        mod1size: int,
        mod2size: int,
        network: NetworkConfig,
        scaling: ScalingConfig | None = None,
        embedding: EmbeddingConfig | None = None,
    ) -> None:
        """Builds it untrained; scaling and embedding start with neutral figures.

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
        if inputs and isinstance(self.network, JointAutoencoder):
            raise UserError(
                f"embedding.space=inputs is not for model={network.architecture.value}, whose rows "
                "are compared by their one centre; use embedding=centres"
            )
        self.halves = (mod1size, mod2size) if inputs else (network.rep // 2, network.rep // 2)
        self.finish = Finish(sum(self.halves), embedding)

    @classmethod
    def of(cls, network: Network, scaling: ScalingConfig | None = None) -> "Model":
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
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.first_scaler.shift.device

    def scale(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Both modalities as the network sees them."""
        return self.first_scaler(first), self.second_scaler(second)

    def embed(
        self, first: Tensor, second: Tensor, present: Tensor, strategy: MissingStrategy
    ) -> Tensor:
        """The multimodal embedding, by default both centres side by side.

        Args:
            first: (rows, mod1size), unscaled; rows that are not present are ignored.
            second: (rows, mod2size), likewise.
            present: (rows, 2) bool.
            strategy: what stands for a missing modality's centre.

        Returns:
            (rows, rep), in the space of the inputs (rows, mod1size + mod2size); zero where both
            modalities are missing.

        Section 3 of Vukotić et al., ICMR 2016.
        """
        finished: Tensor = self.finish(self._halves(first, second, present, strategy), present)
        return finished

    def fit_embedding(
        self, store: PairStore, rows: NDArray[np.int64], strategy: MissingStrategy
    ) -> None:
        """Finds the figures that the embedding needs from rows with both modalities.

        Args:
            store: where they are.
            rows: numbers of complete rows, at least one; 65 536 of them, spread evenly, are used.
            strategy: as for `embed`.
        """
        if not self.finish.config.fitted:
            return
        size, training = sum(self.halves), self.training
        sums = torch.zeros(3, size, dtype=torch.float64)
        products = torch.zeros(size, size, dtype=torch.float64)
        rows = rows[:: -(-len(rows) // 65536)]
        self.eval()
        for part in np.array_split(rows, -(-len(rows) // min(4096, store.rows_in(FIT_BYTES)))):
            first, second = (torch.from_numpy(v).to(self.device) for v in store.take(part))
            for kind, shown in enumerate(((True, True), (True, False), (False, True))):
                present = torch.tensor(shown, device=self.device).expand(len(part), 2)
                with torch.no_grad():
                    vectors = self._halves(first, second, present, strategy)
                vectors = vectors.double().cpu()
                sums[kind] += vectors.sum(dim=0)
                if kind == 0 and self.finish.config.whitening:
                    products += vectors.T @ vectors
        self.finish.fit(sums, products, len(rows))
        self.train(training)

    def _halves(
        self, first: Tensor, second: Tensor, present: Tensor, strategy: MissingStrategy
    ) -> Tensor:
        # Unlike the original: a row without any modality is zero, not an encoding of zeros.
        first, second = self.scale(first, second)
        has_first, has_second = present[:, :1], present[:, 1:]
        network, some = self.network, has_first | has_second
        if isinstance(network, JointAutoencoder):
            return network.joint(first * has_first, second * has_second) * some
        inputs = self.finish.config.space is Space.inputs
        if (inputs or strategy is MissingStrategy.translate) and not bool(present.all()):
            first = torch.where(has_first, first, network.translate(second=second))
            second = torch.where(has_second, second, network.translate(first=first))
            has_first = has_second = some
        if inputs:
            halves = (functional.normalize(part, dim=1) for part in (first, second))
            return torch.cat(list(halves), dim=1) * some
        first_centre, second_centre = network.encode(first=first), network.encode(second=second)
        zero = first_centre.new_zeros(())
        left = torch.where(has_first, first_centre, torch.where(has_second, second_centre, zero))
        right = torch.where(has_second, second_centre, torch.where(has_first, first_centre, zero))
        return torch.cat([left, right], dim=1)

    def complete(self, first: Tensor, second: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """The rows as they came, a missing modality filled in by translation from the other.

        Args:
            first: (rows, mod1size), unscaled; rows that are not present are ignored.
            second: (rows, mod2size), likewise.
            present: (rows, 2) bool.

        Returns:
            Both modalities in the units of the data (under `unit` scaling translated rows have the
            units of the scaled ones); zero where both are missing.
        """
        has_first, has_second = present[:, :1], present[:, 1:]
        scaled = self.scale(first, second)
        to_first = self.first_scaler.inverse(self.network.translate(second=scaled[1]))
        to_second = self.second_scaler.inverse(self.network.translate(first=scaled[0]))
        zero = first.new_zeros(())
        return (
            torch.where(has_first, first, torch.where(has_second, to_first, zero)),
            torch.where(has_second, second, torch.where(has_first, to_second, zero)),
        )
