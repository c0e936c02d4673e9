"""The autoencoders that the papers compare with, behind the network's verbs.

Both make one centre of both modalities, so a missing modality is zero at the input: after
standardisation, its mean. Shapes in comments: B rows of a batch, M1 M2 sizes of the modalities,
H hdn, R rep.
"""

import torch
from torch import Tensor, nn

from bidnn.architecture import Architecture, NetworkConfig
from bidnn.errors import UserError
from bidnn.network import Outputs, mask_inputs


class JointAutoencoder(nn.Module):
    """Reconstructs both modalities from one centre.

    `concat_autoencoder`: the classical one, on the concatenated modalities.
    `multimodal_autoencoder`: a branch for each modality before and after the centre; in training
    one modality of a row is now and then zeroed while both are expected (Ngiam et al., ICML 2011),
    so that the centre can be computed from one of them.
    """

    fills_missing = True  # by zeros

    def __init__(self, mod1size: int, mod2size: int, config: NetworkConfig) -> None:
        """Builds it with fresh Glorot weights and zero biases.

        Args:
            mod1size: columns of the first modality.
            mod2size: columns of the second modality.
            config: everything else.

        Raises:
            ValueError: if `tied`, `self_paths` or `diffusion` ask for what it does not have.
        """
        super().__init__()
        if not config.tied or config.self_paths or config.diffusion:
            raise UserError(
                f"model={config.architecture.value} has no two directions to untie, nor self "
                "paths or a diffusion head; leave model.tied, model.self_paths and model.diffusion "
                "alone"
            )
        self.mod1size, self.mod2size, self.config = mod1size, mod2size, config
        sizes, hdn = (mod1size, mod2size), config.hdn
        branches = config.architecture is Architecture.multimodal_autoencoder
        inputs = sizes if branches else (sum(sizes),)
        self.encoders = nn.ModuleList([nn.Linear(size, hdn) for size in inputs])
        self.centre = nn.Linear(hdn * len(inputs), config.rep)
        self.decoder = nn.Linear(config.rep, hdn * len(inputs))
        self.outputs = nn.ModuleList([nn.Linear(hdn, size) for size in inputs])
        self.zeroing = 1 / 3 if branches else 0.0
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, first: Tensor, second: Tensor) -> Outputs:
        """Both reconstructions; the centre is given in two halves.

        Args:
            first: (B, M1) float.
            second: (B, M2) float.
        """
        masked = self.config.input_dropout if self.training else 0.0
        seen_first, seen_second = mask_inputs(first, masked), mask_inputs(second, masked)
        if self.training and self.zeroing:
            coins = torch.rand(len(first), 1, device=first.device)
            seen_first = seen_first * (coins >= self.zeroing)
            seen_second = seen_second * (coins <= 1 - self.zeroing)
        centre = self._joint(seen_first, seen_second)
        left, right = centre.chunk(2, dim=1)
        return Outputs(left, right, *self._decode(centre))

    def centres(self, first: Tensor, second: Tensor, present: Tensor) -> Tensor:
        """The one centre of both modalities; zeros stand for a missing one at the input.

        Args:
            first: (B, M1) float.
            second: (B, M2) float.
            present: (B, 2) bool.

        Returns:
            (B, R); zero where neither is present.
        """
        centre = self._joint(first * present[:, :1], second * present[:, 1:])
        return centre * present.any(dim=1, keepdim=True)

    def _joint(self, first: Tensor, second: Tensor) -> Tensor:
        activate = self.config.activation.function
        parts = [first, second] if len(self.encoders) == 2 else [torch.cat([first, second], dim=1)]
        hidden = [activate(layer(part)) for layer, part in zip(self.encoders, parts, strict=True)]
        centre = activate(self.centre(torch.cat(hidden, dim=1)))
        return nn.functional.dropout(centre, self.config.dropout, self.training)

    def translate(self, *, first: Tensor | None = None, second: Tensor | None = None) -> Tensor:
        """Predicts the other modality, see `Network.translate`.

        Raises:
            TypeError: unless exactly one modality is given.
        """
        # By shape[0], not len(), which a graph that is exported would keep as a number.
        if first is not None and second is None:
            none = first.new_zeros(first.shape[0], self.mod2size)
            return self._decode(self._joint(first, none))[1]
        if second is not None and first is None:
            none = second.new_zeros(second.shape[0], self.mod1size)
            return self._decode(self._joint(none, second))[0]
        raise TypeError("give either first= or second=")

    def _decode(self, centre: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.config.activation.function(self.decoder(centre))
        parts = hidden.chunk(len(self.outputs), dim=1)
        outputs = [layer(part) for layer, part in zip(self.outputs, parts, strict=True)]
        both = self.config.output.function(torch.cat(outputs, dim=1))
        first, second = torch.split(both, [self.mod1size, self.mod2size], dim=1)
        return first, second
