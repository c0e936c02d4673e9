"""How large values are once they are scaled, and which of them the loss is made of."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from bidnn.architecture import Activation
from bidnn.doctor.findings import NAMES, Finding, Level, Plan, Settings, percent
from bidnn.doctor.sample import LEAST, Sample
from bidnn.losses import Weighting
from bidnn.model.scaling import ModalityScaler, ScalingKind

TOLERANCE = 1e-6
LARGE, SMALL = 10.0, 0.05
"""Root mean squares: of values that saturate a first layer, of deviations that give no gradient."""
ONE_COLUMN, ALL_IN_ONE, FEW_COLUMNS = 0.5, 0.9, 10
UNEVEN, ALONE = 0.9, 0.99
"""Shares of the loss."""

LINEAR = ("model.output_activation", "linear")
STANDARD: Settings = (("scaling", "standard"),)

Values = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Outside:
    """Values that an activation cannot give.

    Attributes:
        share: of all values.
        low: the least value.
        high: the greatest.
    """

    share: float
    low: float
    high: float


def outside(values: Values, activation: Activation) -> Outside:
    """How many of (rows, columns) values an output activation cannot reach."""
    low, high = activation.reach
    out = (values < low - TOLERANCE) | (values > high + TOLERANCE)
    return Outside(float(out.mean()), float(values.min()), float(values.max()))


def scaled(sample: Sample, scalers: tuple[ModalityScaler, ModalityScaler]) -> tuple[Values, Values]:
    """What the network sees of the rows that have each modality: two (rows, columns)."""
    parts = zip(scalers, sample.store.take(slice(None)), sample.store.present.T, strict=True)
    with torch.no_grad():
        first, second = (
            scaler(torch.from_numpy(part[has])).float().numpy() for scaler, part, has in parts
        )
    return first, second


def reach(sample: Sample, parts: tuple[Values, Values], plan: Plan) -> Finding:
    """Targets that the output activation cannot reach."""
    figures: dict[str, float] = {}
    shown: list[str] = []
    for name, values in zip(NAMES, parts, strict=True):
        found = outside(values, plan.output)
        figures |= {f"{name}_outside": found.share, f"{name}_low": found.low}
        figures[f"{name}_high"] = found.high
        if found.share:
            shown.append(
                f"{percent(found.share)} of the {name} modality's values, which are "
                f"{found.low:.4g} to {found.high:.4g}"
            )
    low, high = plan.output.reach
    settings: Settings = ()
    if shown:
        said = f"{', and '.join(shown)}, lie outside the {low:g} to {high:g} that "
        said += f"{plan.output.value} can output, and can never be learned, in {sample.words()}"
        unscaled = plan.scaling.kind is ScalingKind.none
        settings = _standard(plan) if unscaled else (LINEAR,)
    else:
        ends = (f"{figures[f'{n}_low']:.4g} to {figures[f'{n}_high']:.4g}" for n in NAMES)
        said = f"scaled values are {' and '.join(ends)}, which {plan.output.value} can output, in "
        said += sample.words()
    return Finding(
        name="range",
        level=Level.fix if shown else Level.fine,
        sentence=said,
        figures=figures,
        settings=settings,
    )


def size(sample: Sample, parts: tuple[Values, Values], plan: Plan) -> Finding:
    """Values that are far from 1: too large for a first layer, or without deviation from a mean."""
    figures: dict[str, float] = {}
    shown, level = [], Level.fine
    for name, values in zip(NAMES, parts, strict=True):
        size = float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
        spread = float(np.sqrt(values.var(axis=0, dtype=np.float64).mean()))
        figures |= {f"{name}_size": size, f"{name}_spread": spread}
        if size > LARGE or 0.0 < spread < SMALL:
            level = Level.fix if size > LARGE or level is Level.fix else Level.look
            shown.append(
                f"the {name} modality's values are {size:.3g} in the root mean square and deviate "
                f"by {spread:.3g} from their columns' means"
            )
    if shown:
        said = f"{' and '.join(shown)}, far from 1"
    else:
        sizes = " and ".join(f"{figures[f'{name}_size']:.3g}" for name in NAMES)
        said = f"scaled values are {sizes} in the root mean square"
    return Finding(
        name="size",
        level=level,
        sentence=f"{said}, in {sample.words()}",
        figures=figures,
        settings=_standard(plan) if shown else (),
    )


def one_column(sample: Sample, parts: tuple[Values, Values], plan: Plan) -> Finding:
    """A column that has most of its modality's deviation from the mean, and so of its loss."""
    figures: dict[str, float] = {}
    shown: list[str] = []
    for name, values in zip(NAMES, parts, strict=True):
        squares = values.var(axis=0, dtype=np.float64)
        share = float(squares.max() / max(squares.sum(), np.finfo(np.float64).tiny))
        figures |= {f"{name}_share": share, f"{name}_column": int(squares.argmax())}
        if share >= ONE_COLUMN and (squares > 0).sum() >= FEW_COLUMNS and len(values) >= LEAST:
            shown.append(name)
    level = Level.fine
    if shown:
        said = " and ".join(
            f"column {figures[f'{name}_column']} (from 0) of the {name} modality alone has "
            f"{percent(figures[f'{name}_share'])} of its squared deviation from the mean"
            for name in shown
        )
        all_in_one = any(figures[f"{name}_share"] >= ALL_IN_ONE for name in shown)
        level = Level.fix if all_in_one else Level.look
    else:
        most = " and ".join(percent(figures[f"{name}_share"]) for name in NAMES)
        said = f"no column has more than {most} of its modality's squared deviation from the mean"
    return Finding(
        name="one_column",
        level=level,
        sentence=f"{said}, in {sample.words()}",
        figures=figures,
        settings=_standard(plan) if shown else (),
    )


def balance(sample: Sample, parts: tuple[Values, Values], plan: Plan) -> Finding | None:
    """The modality whose errors the loss consists of, when all that is predicted is the mean.

    None for an own loss.
    """
    if plan.loss is None:
        return None
    shares = loss_shares(parts, plan.loss.weighting)
    more = int(shares[1] > shares[0])
    figures = dict(zip(NAMES, shares, strict=True))
    level = Level.fine
    settings: Settings = ()
    if shares[more] >= UNEVEN:
        level = Level.fix if shares[more] >= ALONE else Level.look
        settings = _fixing(parts, plan)
    return Finding(
        name="balance",
        level=level,
        sentence=f"{percent(shares[more])} of the squared error is of the {NAMES[more]} modality "
        f"where the mean of each is predicted, in {sample.words()}",
        figures=figures,
        settings=settings,
    )


def loss_shares(parts: tuple[Values, Values], weighting: Weighting) -> tuple[float, float]:
    """Each modality's share of the loss of a network that predicts means."""
    errors = [
        float(np.sum(values.var(axis=0, dtype=np.float64)))
        / (values.shape[1] if weighting is Weighting.modalities else 1)
        for values in parts
    ]
    whole = sum(errors)
    return (errors[0] / whole, errors[1] / whole) if whole else (0.5, 0.5)


def _standard(plan: Plan) -> Settings:
    """Deviations of 1 by column, and an output that reaches them; nothing if that is set."""
    if plan.scaling.kind is ScalingKind.standard:
        return ()
    return STANDARD if plan.output is Activation.linear else (LINEAR, *STANDARD)


def _fixing(parts: tuple[Values, Values], plan: Plan) -> Settings:
    """The fewest settings by which no modality is alone in the loss."""
    assert plan.loss is not None
    # The group would set the weight of self paths back.
    own_paths = plan.loss.self_weight or plan.loss.diffusion
    means = ("loss.weighting", "modalities") if own_paths else ("loss", "separate_means")
    if plan.loss.weighting is Weighting.modalities:
        return _standard(plan)
    if max(loss_shares(parts, Weighting.modalities)) < UNEVEN:
        return (means,)
    live = [int((values.var(axis=0) > 0).sum()) for values in parts]  # each has then deviation 1
    alone = _standard(plan)
    return alone if alone and max(live) < UNEVEN * sum(live) else (means, *alone)
