"""What is minimised, as plain functions of tensors; the defaults are the paper.

Shapes in comments: B rows of a batch, M1 M2 sizes of the modalities, C size of a centre.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from bidnn.errors import UserError
from bidnn.network import Outputs


class Weighting(Enum):
    """How the squared errors of the two modalities are put together."""

    components = "components"
    modalities = "modalities"


@dataclass(slots=True, kw_only=True)
class LossConfig:
    """What is added up.

    Attributes:
        weighting: `components`: one mean over all M1 + M2 output components, so that a modality
            weighs as much as it is wide (the paper); `modalities`: the mean of each modality's own
            mean (Hao, Ngo, Huet, IEEE TMM 22(1), 2020).
        self_weight: share of the self-reconstruction error in the whole, in [0, 1); each centre
            then also decodes to its own modality, through the weights of the direction that ends
            there (the same paper, with 0.5). Needs `model.self_paths=true`.
        incomplete_rows: rows that miss a modality train the self path of the other one.
        alignment: weight of a contrastive term that draws the two centres of a row together and
            away from those of the other rows (InfoNCE: van den Oord et al., 2018; both ways as in
            CLIP, Radford et al., 2021), at least 0.
        temperature: of that term, above 0.
        neighbourhood: weight of a term that keeps, for each modality, which rows of the batch are
            near to which (Kullback-Leibler divergence from the inputs' cosine neighbourhoods to
            the centres'; Hao et al., 2020), at least 0.
        diffusion: weight of the squared error of the diffusion head, which every row trains by
            each modality that it has, at least 0. Needs `model.diffusion=true`.
    """

    weighting: Weighting = Weighting.components
    self_weight: float = 0.0
    incomplete_rows: bool = False
    alignment: float = 0.0
    temperature: float = 0.1
    neighbourhood: float = 0.0
    diffusion: float = 0.0

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            ValueError: naming the key.
        """
        if not 0.0 <= self.self_weight < 1.0:
            raise UserError(f"loss.self_weight={self.self_weight}: must be in [0, 1)")
        if not self.temperature > 0.0:
            raise UserError(f"loss.temperature={self.temperature}: must be above 0")
        for key in ("alignment", "neighbourhood", "diffusion"):
            if not 0.0 <= getattr(self, key) < float("inf"):
                raise UserError(f"loss.{key}={getattr(self, key)}: must be at least 0")
        if self.incomplete_rows and not self.self_weight:
            raise UserError(
                "loss.incomplete_rows=true trains the self paths; set loss.self_weight=0.5 too"
            )

    @property
    def of_a_batch(self) -> list[str]:
        """The settings by which the rows of a batch depend on each other.

        Several processes do not give the loss of one then: each has a part of the batch, and the
        mean of their losses is minimised.
        """
        return [k for k in ("incomplete_rows", "alignment", "neighbourhood") if getattr(self, k)]

    @property
    def self_paths(self) -> bool:
        """Whether it needs a network with self paths."""
        return bool(self.self_weight)

    def __call__(
        self,
        outputs: Outputs,
        first: Tensor,
        second: Tensor,
        present: Tensor | None = None,
        coordinates: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """See `pair_loss`."""
        return pair_loss(outputs, first, second, self, present, coordinates)


class Loss(Protocol):
    """What a training minimises; an own one is a class with these, named by `_target_`.

    Attributes:
        self_paths: it needs a network whose centres also decode to their own modality.
        incomplete_rows: it can use rows that miss a modality.
    """

    @property
    def self_paths(self) -> bool: ...  # noqa: D102 — the class says it

    @property
    def incomplete_rows(self) -> bool: ...  # noqa: D102 — the class says it

    def __call__(
        self, outputs: Outputs, first: Tensor, second: Tensor, present: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Scalars by name: `loss` is minimised, the others are logged; the same names each time."""


def pair_loss(
    outputs: Outputs,
    first: Tensor,
    second: Tensor,
    config: LossConfig,
    present: Tensor | None = None,
    coordinates: Tensor | None = None,
) -> dict[str, Tensor]:
    """The loss of a batch and the terms that it is made of.

    Args:
        outputs: of the network for these rows.
        first: (B, M1) the targets.
        second: (B, M2) likewise.
        config: what is added up.
        present: (B, 2) bool; None if all rows are complete.
        coordinates: (B, rep) what the diffusion head is to predict, zero where that is not known;
            None leaves the term out.

    Returns:
        Scalars: `loss`, the sum that is minimised; without gradients `first_to_second` and
        `second_to_first`, the mean squared errors of the translations, and of the configured
        terms, before they are weighted, `self`, `alignment`, `neighbourhood` and `diffusion`.
    """
    has_first, has_second = (None, None) if present is None else present.unbind(dim=1)
    both = None if present is None else present.all(dim=1)
    to_second = _error(outputs.second, second, both)
    to_first = _error(outputs.first, first, both)
    second_share = second.shape[1] / (first.shape[1] + second.shape[1])
    if config.weighting is Weighting.modalities:
        second_share = 0.5
    total = to_second * second_share + to_first * (1 - second_share)
    terms = {"first_to_second": to_second, "second_to_first": to_first}
    if config.self_weight:
        assert outputs.first_self is not None
        assert outputs.second_self is not None
        itself = _error(outputs.second_self, second, has_second) * second_share
        itself = itself + _error(outputs.first_self, first, has_first) * (1 - second_share)
        total = (1 - config.self_weight) * total + config.self_weight * itself
        terms["self"] = itself
    centres = outputs.first_centre, outputs.second_centre
    if config.alignment:
        terms["alignment"] = alignment(*centres, config.temperature, both)
        total = total + config.alignment * terms["alignment"]
    if config.neighbourhood:
        near = neighbourhood(first, centres[0], has_first)
        near = near + neighbourhood(second, centres[1], has_second)
        terms["neighbourhood"] = near / 2
        total = total + config.neighbourhood * near / 2
    if config.diffusion and coordinates is not None:
        assert outputs.first_diffusion is not None
        assert outputs.second_diffusion is not None
        known = coordinates.any(dim=1)
        left = known if has_first is None else known & has_first
        right = known if has_second is None else known & has_second
        error = _error(outputs.first_diffusion, coordinates, left)
        terms["diffusion"] = (error + _error(outputs.second_diffusion, coordinates, right)) / 2
        total = total + config.diffusion * terms["diffusion"]
    return {"loss": total, **{name: term.detach() for name, term in terms.items()}}


def alignment(
    first_centre: Tensor, second_centre: Tensor, temperature: float, rows: Tensor | None = None
) -> Tensor:
    """InfoNCE between the centres of the same rows, the mean of both directions.

    Args:
        first_centre: (B, C).
        second_centre: (B, C).
        temperature: the cosines are divided by it, above 0.
        rows: (B,) bool, those with both modalities; None for all.

    Returns:
        A scalar, at least 0; 0 if fewer than two rows are left.
    """
    left, right = (functional.normalize(part, dim=1) for part in (first_centre, second_centre))
    logits = left @ right.T / temperature  # (B, B)
    own = torch.arange(len(logits), device=logits.device)
    if rows is None:
        if len(logits) < 2:
            return logits.sum() * 0.0
        return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2
    # Masked, not selected, so that shapes do not depend on what is missing.
    logits = torch.where(rows[:, None] & rows, logits, torch.finfo(logits.dtype).min)
    forth, back = (
        functional.cross_entropy(part, own, reduction="none") for part in (logits, logits.T)
    )
    count = rows.sum()
    return ((forth + back) * rows).sum() / (2 * count.clamp_min(1)) * (count > 1)


def neighbourhood(
    inputs: Tensor, centre: Tensor, rows: Tensor | None = None, temperature: float = 0.1
) -> Tensor:
    """Divergence of the centres' neighbourhoods in the batch from the inputs' own.

    The neighbourhood of a row is a softmax over its cosines with the other rows.

    Args:
        inputs: (B, M) of one modality.
        centre: (B, C) of that modality.
        rows: (B,) bool, those that have the modality; None for all.
        temperature: the cosines are divided by it, above 0.

    Returns:
        A scalar, at least 0, in nats a row; 0 if fewer than three rows are left.
    """
    if rows is None:
        rows = torch.ones(len(inputs), dtype=torch.bool, device=inputs.device)
    others = rows & ~torch.eye(len(inputs), dtype=torch.bool, device=inputs.device)  # (B, B)
    target, found = (_log_neighbours(part, others, temperature) for part in (inputs, centre))
    kept = others & rows[:, None]
    divergence = torch.where(kept, target.exp() * (target - found), 0.0).sum()
    count = rows.sum()
    return divergence / count.clamp_min(1) * (count > 2)


def _log_neighbours(values: Tensor, others: Tensor, temperature: float) -> Tensor:
    """(B, B) log-probabilities: each row's neighbours among the others that are there."""
    unit = functional.normalize(values, dim=1)
    cosines = unit @ unit.T / temperature
    # Masked, not selected, so that shapes do not depend on what is missing.
    return torch.where(others, cosines, torch.finfo(cosines.dtype).min).log_softmax(dim=1)


def _error(predicted: Tensor, target: Tensor, rows: Tensor | None) -> Tensor:
    """Mean squared error, over the given rows only; 0 without any."""
    if rows is None:
        return functional.mse_loss(predicted, target)
    by_row = (predicted - target).square().mean(dim=1)
    return (by_row * rows).sum() / rows.sum().clamp_min(1)
