"""What a model asks of its network, whichever it is, and how the configured one is built."""

from collections.abc import Iterator
from importlib import import_module
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from bidnn.architecture import NetworkConfig
from bidnn.network import Outputs


@runtime_checkable
class PairNetwork(Protocol):
    """An `nn.Module` between two modalities, built as `kind(mod1size, mod2size, config)`.

    Letters in shapes: B rows, M1 and M2 columns of the modalities.

    Attributes:
        mod1size: M1.
        mod2size: M2.
        config: what it was built by.
        fills_missing: `centres` has a way of its own to stand for what is missing, so that
            `embedding.missing` has no say, and rows are compared by their centres only.
    """

    mod1size: int
    mod2size: int
    config: NetworkConfig
    fills_missing: bool

    def __call__(self, first: Tensor, second: Tensor) -> Outputs:
        """Both directions, as training needs them, from (B, M1) and (B, M2)."""

    def translate(self, *, first: Tensor | None = None, second: Tensor | None = None) -> Tensor:
        """The other modality, (B, M2) or (B, M1), from exactly one of the two."""

    def centres(self, first: Tensor, second: Tensor, present: Tensor) -> Tensor:
        """(B, rep), the embedding of rows that have what `present` (B, 2) bool says; else zero."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """As of any `nn.Module`."""

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """As of any `nn.Module`."""


def build_network(mod1size: int, mod2size: int, config: NetworkConfig) -> PairNetwork:
    """The network that the configuration names, with fresh weights.

    Raises:
        ValueError: if it cannot be built so.
    """
    room, name = config.architecture.place.rsplit(".", 1)
    network: PairNetwork = getattr(import_module(room), name)(mod1size, mod2size, config)
    return network
