"""Embeddings and translations of rows with anything missing, by a trained model."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from bidnn.data.scaling import ModalityScaler, ScalingKind
from bidnn.data.store import PairStore
from bidnn.network import Network, NetworkConfig


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
        self, mod1size: int, mod2size: int, network: NetworkConfig, scaling: ScalingKind
    ) -> None:
        """Builds it untrained; the scaling starts as the identity.

        Args:
            mod1size: columns of the first modality.
            mod2size: columns of the second modality.
            network: the architecture.
            scaling: kind for both modalities.
        """
        super().__init__()
        self.network = Network(mod1size, mod2size, network)
        self.first_scaler = ModalityScaler(mod1size, scaling)
        self.second_scaler = ModalityScaler(mod2size, scaling)

    @classmethod
    def of(cls, network: Network, scaling: ScalingKind) -> "Model":
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
        """The multimodal embedding: both centres side by side.

        Args:
            first: (rows, mod1size), unscaled; rows that are not present are ignored.
            second: (rows, mod2size), likewise.
            present: (rows, 2) bool.
            strategy: what stands for a missing modality.

        Returns:
            (rows, rep); zero where both modalities are missing.

        Section 3 of Vukotić et al., ICMR 2016.
        """
        # Unlike the original: a row without any modality is zero, not an encoding of zeros.
        first, second = self.scale(first, second)
        has_first, has_second = present[:, :1], present[:, 1:]
        network = self.network
        if strategy is MissingStrategy.translate and not bool(present.all()):
            first, second = self._complete(first, second, has_first, has_second)
            has_first = has_second = has_first | has_second
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

    def _complete(
        self, first: Tensor, second: Tensor, has_first: Tensor, has_second: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Scaled rows in, scaled rows out, missing modalities translated."""
        return (
            torch.where(has_first, first, self.network.translate(second=second)),
            torch.where(has_second, second, self.network.translate(first=first)),
        )


class OutputKind(Enum):
    """What is written for each row: its embedding, or both modalities, translated where missing."""

    embedding = "embedding"
    crossmodal = "crossmodal"


class Block(NamedTuple):
    """Consecutive rows of a result, in two halves: the two centres, or the two modalities."""

    rows: slice
    left: NDArray[np.float32]
    right: NDArray[np.float32]


def infer(
    model: Model,
    store: PairStore,
    kind: OutputKind = OutputKind.embedding,
    strategy: MissingStrategy = MissingStrategy.translate,
    *,
    l2_norm: bool = False,
) -> Iterator[Block]:
    """Runs a model over a store, block by block, so that no result is whole in memory.

    Args:
        model: trained; put into evaluation mode meanwhile.
        store: the rows.
        kind: embeddings, or completed modalities.
        strategy: what stands for a missing modality in an embedding.
        l2_norm: each half to unit length, then the row to unit length.

    Yields:
        The blocks in the order of the rows.

    Raises:
        ValueError: if the store has other sizes than the model.
    """
    check_sizes(model, store)
    training = model.training
    model.eval()
    try:
        for rows in store.blocks():
            features = (*store.take(rows), store.present[rows])
            first, second, present = (torch.from_numpy(v).to(model.device) for v in features)
            with torch.no_grad():
                if kind is OutputKind.embedding:
                    halves = model.embed(first, second, present, strategy).chunk(2, dim=1)
                else:
                    halves = model.complete(first, second, present)
                left, right = _unit_rows(*halves) if l2_norm else halves
            yield Block(rows, left.cpu().numpy(), right.cpu().numpy())
    finally:
        model.train(training)


def embed(
    model: Model,
    store: PairStore,
    strategy: MissingStrategy = MissingStrategy.translate,
    *,
    l2_norm: bool = False,
) -> NDArray[np.float32]:
    """All embeddings of a store, (rows, rep), in memory; the arguments are those of `infer`."""
    rep = model.network.config.rep
    whole = np.empty((len(store), rep), dtype=np.float32)
    for block in infer(model, store, OutputKind.embedding, strategy, l2_norm=l2_norm):
        whole[block.rows, : rep // 2], whole[block.rows, rep // 2 :] = block.left, block.right
    return whole


def check_sizes(model: Model, store: PairStore) -> None:
    """Refuses rows of other sizes than the model's.

    Raises:
        ValueError: naming both.
    """
    if (store.mod1size, store.mod2size) != (model.mod1size, model.mod2size):
        raise ValueError(
            f"{store.name}: features of {store.mod1size} + {store.mod2size} columns, but the model "
            f"was trained on {model.mod1size} + {model.mod2size}"
        )


def _unit_rows(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    # Unlike the original, which divides each half's whole matrix by one Frobenius norm.
    halves = [functional.normalize(half, dim=1) for half in (left, right)]
    length = torch.cat(halves, dim=1).norm(dim=1, keepdim=True).clamp_min(1e-12)
    return halves[0] / length, halves[1] / length
