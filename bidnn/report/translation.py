"""What translations are worth, beside what needs no network: mean, nearest rows, regression."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bidnn.evaluation.agreement import NEIGHBOURS
from bidnn.model.model import Model
from bidnn.report.rows import Rows, some
from bidnn.training.diffusion.completion import RIDGES

MOST, ALIKE = 2000, 1e-12
WIDE, MOST_WIDE = 1000, 1000
"""Columns of a modality from which on the baselines know fewer rows, whose cube ridge takes."""
Values = NDArray[np.float32]


def translation(model: Model, rows: Rows, generator: np.random.Generator) -> dict[str, Any] | None:
    """Errors of the model and of the baselines, for each direction.

    An error is the squared error over all columns, in the units that the network sees, divided by
    the squared distance of the same rows from their mean: 0 is a translation without error, 1 is as
    good as the mean; the model's, `network`, is 1 − `explained/…`. At most 2000 rows that trained,
    of wide ones 1000, are what the baselines know, and at most 2000 others are translated; where no
    rows were held out, those that trained are halved, so that only the network has seen what it
    translates.

    Args:
        model: trained.
        rows: as the training split them.
        generator: of the sample.

    Returns:
        `held_out`, `known` and `asked`, how many rows; and `errors`, by direction and way; None
        if there are fewer than two rows of either.
    """
    wide = max(rows.store.mod1size, rows.store.mod2size) >= WIDE
    known = some(rows.trained, MOST_WIDE if wide else MOST, rows.store, generator)
    asked, asked_store = some(rows.held, MOST, rows.held_store, generator), rows.held_store
    held_out = len(asked) >= 2
    if not held_out:
        mixed, asked_store = generator.permutation(known), rows.store
        known, asked = np.sort(mixed[::2]), np.sort(mixed[1::2])
    if len(known) < 2 or len(asked) < 2:
        return None
    model.eval()
    with torch.no_grad():
        source = _scaled(model, rows.store.take(known))
        queries = _scaled(model, asked_store.take(asked))
        guesses = (
            model.translate(second=torch.from_numpy(queries[1]).to(model.device)),
            model.translate(first=torch.from_numpy(queries[0]).to(model.device)),
        )
    errors = {}
    for name, one, other in (("first_to_second", 0, 1), ("second_to_first", 1, 0)):
        network = guesses[other].float().cpu().numpy()
        ways = {"network": network, **baselines(source[one], source[other], queries[one])}
        errors[name] = {way: relative_error(g, queries[other]) for way, g in ways.items()}
    return {"held_out": held_out, "known": len(known), "asked": len(asked), "errors": errors}


def relative_error(guess: Values, truth: Values) -> float:
    """Squared error as a share of the squared distance from the mean; NaN if there is none."""
    exact = truth.astype(np.float64)
    spread = float(((exact - exact.mean(axis=0)) ** 2).sum())
    return float(((guess - exact) ** 2).sum() / spread) if spread > 0 else float("nan")


def baselines(source: Values, target: Values, queries: Values) -> dict[str, Values]:
    """What can be said of the target of queries from pairs of source and target.

    Args:
        source: (pairs, columns).
        target: (pairs, other columns).
        queries: (rows, columns).

    Returns:
        By name, (rows, other columns): the `mean` of the target; that of the pair whose source has
        the greatest cosine, less the mean (`nearest`); the mean of ten such (`nearest10`); and
        `ridge` regression, its strength chosen by leave-one-out errors (scikit-learn's RidgeCV).
    """
    from sklearn.linear_model import RidgeCV

    centre = source.mean(axis=0)
    units = [
        part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), ALIKE)
        for part in (source - centre, queries - centre)
    ]
    order = np.argsort(-(units[1] @ units[0].T), axis=1, kind="stable")[:, :NEIGHBOURS]
    scale = float(((source - centre).astype(np.float64) ** 2).sum()) / min(source.shape)
    ridge = RidgeCV(alphas=[max(scale * share, ALIKE) for share in RIDGES]).fit(source, target)
    return {
        "mean": np.broadcast_to(target.mean(axis=0), (len(queries), target.shape[1])),
        "nearest": target[order[:, 0]],
        "nearest10": target[order].mean(axis=1),
        "ridge": np.asarray(ridge.predict(queries), np.float32).reshape(len(queries), -1),
    }


def _scaled(model: Model, parts: tuple[Values, Values]) -> tuple[Values, Values]:
    first, second = model.scale(*(model.on_device(part) for part in parts))
    return first.float().cpu().numpy(), second.float().cpu().numpy()
