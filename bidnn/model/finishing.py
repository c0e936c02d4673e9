"""How a row's vector is made: what stands for a missing modality, centring, damping, unit length.

Shapes in comments: B rows, D size of the whole vector.
"""

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor, nn

from bidnn.errors import UserError
from bidnn.model import sharing
from bidnn.model.landmarks import LARGEST, Landmarks
from bidnn.model.readout import Readout
from bidnn.model.scaling import at_least_float32


class MissingStrategy(Enum):
    """What stands for the centre of a missing modality.

    `duplicate`: the centre of the modality that is there, a second time (the paper).
    `translate`: the missing modality is translated from the other one, then encoded.
    """

    duplicate = "duplicate"
    translate = "translate"


STRATEGIES = tuple(MissingStrategy)


class Space(Enum):
    """Where rows are compared.

    `centres`: the two centres side by side (the paper). `inputs`: both modalities as the network
    sees them, scaled, what is missing translated, each to unit length, so that the cosine of two
    rows is the mean of their cosines in both modalities. `diffusion`: the mean of what the
    diffusion head predicts from each modality that is there; nothing stands for a missing one, and
    a modality of zeros counts as one.
    """

    centres = "centres"
    inputs = "inputs"
    diffusion = "diffusion"


class Centring(Enum):
    """Which mean is taken off: none, that of complete rows, or that of rows that lack the same.

    The last makes rows with one modality and rows with two comparable (GR-CLIP, arXiv 2507.19054).
    """

    none = "none"
    complete = "complete"
    presence = "presence"


@dataclass(slots=True, kw_only=True)
class EmbeddingConfig:
    """How a row's vector is made of its two halves; the default is the paper's.

    Attributes:
        missing: see MissingStrategy; the autoencoders have a way of their own, zeros.
        space: see Space.
        centring: see Centring.
        whitening: in [0, 1]; the deviation s of each principal component becomes s^(1 − whitening),
            so that few strong components do not decide all distances; 0.5 is a geometric middle,
            1 is whitening. Needs a centring.
        shared: 0 for off; otherwise rows are compared in the directions in which rows with only the
            first and with only the second modality vary together, each times its canonical
            correlation to this power, so that rows with one modality and with two find each other.
            More is fairer, and less exact; columns beyond the directions are zero. Needs
            `centring=presence`, and no whitening.
        unit: rows to Euclidean length 1 in the end.
        solved: the diffusion head is solved for the training rows whenever the embedding is used,
            with a map of its own for rows that have both modalities. Needs `space=diffusion`.
        landmarks: 0 for off; otherwise the solved head is a ridge regression on how near a row is
            to so many landmarks in each modality, rather than on its centres, which fit training
            rows more closely than new ones. Needs `solved`.
        stacked: translations, too, are more than the network's: a sum of it and of a ridge
            regression on values and random Fourier features of them, as rows that are held out
            weigh both, see `model/stacking.py`.
    """

    missing: MissingStrategy = MissingStrategy.translate
    space: Space = Space.centres
    centring: Centring = Centring.none
    whitening: float = 0.0
    shared: float = 0.0
    unit: bool = False
    solved: bool = False
    landmarks: int = 0
    stacked: bool = False

    def __post_init__(self) -> None:
        """Checks the ranges, and that what is turned has the mean to turn about.

        Raises:
            ValueError: naming the key.
        """
        if not 0.0 <= self.whitening <= 1.0:
            raise UserError(f"embedding.whitening={self.whitening}: must be in [0, 1]")
        if self.whitening and self.centring is Centring.none:
            raise UserError("embedding.whitening needs embedding.centring=complete or presence")
        if not 0.0 <= self.shared <= 10.0:
            raise UserError(f"embedding.shared={self.shared}: must be in [0, 10]")
        if self.shared and (self.centring is not Centring.presence or self.whitening):
            raise UserError(
                "embedding.shared needs embedding.centring=presence and embedding.whitening=0"
            )
        if self.solved and self.space is not Space.diffusion:
            raise UserError(
                f"embedding.solved=true is of the diffusion head, and embedding.space="
                f"{self.space.value} compares rows without it; set embedding=diffusion"
            )
        if not 0 <= self.landmarks <= LARGEST:
            raise UserError(f"embedding.landmarks={self.landmarks}: must be in [0, {LARGEST}]")
        if self.landmarks and not self.solved:
            raise UserError(
                f"embedding.landmarks={self.landmarks} is of the solved diffusion head; set "
                "embedding=diffusion, or embedding.landmarks=0"
            )

    @property
    def fitted(self) -> bool:
        """Whether figures of the training rows are needed."""
        return self.centring is not Centring.none or self.solved

    @property
    def by_network(self) -> bool:
        """Whether vectors, and figures of them, change with the network's weights."""
        return not self.landmarks


class Finish(nn.Module):
    """The last steps to an embedding; their figures are buffers, saved with the model."""

    means: Tensor
    evening: Tensor
    shared: Tensor
    readout: Readout | None
    landmarks: nn.ModuleList

    def __init__(
        self, size: int, config: EmbeddingConfig, modalities: tuple[int, int] = (0, 0)
    ) -> None:
        """Starts with neutral figures; `fit` finds the right ones.

        Args:
            size: D.
            config: which steps.
            modalities: columns of both, where there are landmarks.
        """
        super().__init__()
        self.config = config
        # By strategy; of rows that are complete, first only, second only.
        self.register_buffer("means", torch.zeros(len(MissingStrategy), 3, size))
        square = torch.zeros(size, size) if config.whitening else torch.zeros(0, 0)
        square.diagonal().fill_(1.0)  # on the device meta, torch.eye takes two seconds to import
        self.register_buffer("evening", square)
        # By strategy and modality: from centred vectors to the directions that both share.
        maps = torch.zeros(len(MissingStrategy), 2, size, min(size, sharing.LARGEST))
        self.register_buffer("shared", maps if config.shared else torch.zeros(0))
        self.readout = Readout(config.landmarks or size // 2, size) if config.solved else None
        self.landmarks = nn.ModuleList(
            Landmarks(config.landmarks, columns) for columns in modalities if config.landmarks
        )

    def forward(self, vectors: Tensor, present: Tensor, missing: MissingStrategy) -> Tensor:
        """Finishes embeddings.

        Args:
            vectors: (B, D).
            present: (B, 2) bool.
            missing: how what is missing was stood for.

        Returns:
            (B, D), float32 at least; zero where nothing is present.
        """
        config, vectors = self.config, at_least_float32(vectors)
        if config.centring is Centring.complete:
            vectors = vectors - self.means[0, 0]  # complete rows are the same by any strategy
        elif config.centring is Centring.presence:
            kind = torch.where(present.all(dim=1), 0, torch.where(present[:, 0], 1, 2))
            vectors = vectors - self.means[STRATEGIES.index(missing)][kind]
        if config.whitening:
            vectors = vectors @ self.evening.to(vectors.dtype)
        if config.shared:
            vectors = self._shared(vectors, present, missing)
        if config.unit:
            vectors = nn.functional.normalize(vectors, dim=1)
        return vectors * present.any(dim=1, keepdim=True)

    def _shared(self, vectors: Tensor, present: Tensor, missing: MissingStrategy) -> Tensor:
        """What centred vectors say by each modality that is there."""
        by_first, by_second = self.shared[STRATEGIES.index(missing)].to(vectors.dtype)
        found = (vectors * present[:, :1]) @ by_first + (vectors * present[:, 1:]) @ by_second
        return nn.functional.pad(found, (0, vectors.shape[1] - found.shape[1]))

    def fit_shared(self, first: Tensor, second: Tensor, strategies: tuple[int, ...]) -> None:
        """Finds the directions that rows with either modality alone share.

        Args:
            first: (rows, D) vectors of complete rows of which only the first modality was shown.
            second: (rows, D) vectors of the same rows, the second shown.
            strategies: the numbers of those by which they were made.
        """
        maps = sharing.shared_directions(first, second, self.config.shared)
        for strategy in strategies:
            for side, found in enumerate(maps):
                self.shared[strategy, side].zero_()
                self.shared[strategy, side, :, : found.shape[1]].copy_(found)

    def fit(self, sums: Tensor, products: Tensor, rows: int) -> None:
        """Finds the figures.

        Args:
            sums: (strategies, 3, D) double, by strategy the sums of the vectors of complete rows as
                they are, and with only the first, and only the second modality shown.
            products: (D, D) double, sum of outer products of the vectors of complete rows.
            rows: how many there were, at least 1.
        """
        means = sums / rows
        self.means.copy_(means)
        if not self.config.whitening:
            return
        covariance = products / rows - means[0, 0, :, None] * means[0, 0, None, :]
        variances, axes = torch.linalg.eigh(covariance)
        # Directions in which nothing varies would otherwise be all rounding noise.
        kept = variances > 1e-6 * variances.max()
        variances = torch.where(kept, variances, 1.0)
        factors = torch.where(kept, variances ** (-self.config.whitening / 2), 0.0)
        self.evening.copy_((axes * factors) @ axes.T)
