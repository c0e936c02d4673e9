"""scripts/compare.py: methods side by side, as the share of rows that miss a modality grows."""

import csv
import io
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import numpy as np
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from numpy.typing import NDArray

from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.evaluation.clustering import kmeans_scores
from bidnn.evaluation.comparability import comparability
from bidnn.evaluation.curve import draw_curves
from bidnn.evaluation.retrieval import by_label, retrieve
from bidnn.files import whole_file
from bidnn.model.inference import OutputKind, embed, infer
from bidnn.model.model import Model
from bidnn.programs.config import CompareConfig
from bidnn.programs.methods import UNTRAINED
from bidnn.programs.rows import source_of
from bidnn.programs.settings import finished
from bidnn.training.fit import fit

log = logging.getLogger(__name__)


QUIET = ("callbacks.progress=null", "callbacks.report=null", "logger=none", "output.path=null")
"""What each training leaves out, unless its settings say otherwise."""


@dataclass(frozen=True, slots=True)
class Mask:
    """Rows of which some had one modality hidden."""

    rate: float
    seed: int
    store: PairStore


@dataclass(frozen=True, slots=True)
class Result:
    """One method on one mask: figures by name."""

    method: str
    rate: float
    seed: int
    figures: dict[str, float]


def run(config: CompareConfig) -> None:
    """Runs every method on every mask; writes table.md, table.csv, runs.csv and curve.png.

    Masks are drawn before anything is fitted, from the seed alone, so that all methods see the
    same rows.

    Raises:
        ValueError, OSError: naming what is wrong and the way out.
    """
    folder = Path(config.run_dir)
    source = source_of(config.data)
    whole = source.open(None)
    if whole.labels is None:
        raise UserError(f"{whole.name}: no labels to compare methods by")
    log.info(whole.describe())
    results: list[Result] = []
    for rate in config.rates:
        for seed in config.seeds:
            store = whole.drop(rate, seed, source.missing_modality)
            for name, settings in config.methods.items():
                started = time.perf_counter()
                mask = Mask(rate, seed, store)
                figures = _figures(name, settings, config, whole, mask)
                figures["seconds"] = time.perf_counter() - started
                results.append(Result(name, rate, seed, figures))
                log.info("%-24s rate %.2f seed %d  %s", name, rate, seed, _short(figures))
    write_results(folder, results)
    log.info("table and curve: %s", folder)


def write_results(folder: Path, results: list[Result]) -> None:
    """Writes the results of all runs, their means and deviations, and the picture."""
    names = list(dict.fromkeys(name for result in results for name in result.figures))
    with whole_file(folder / "runs.csv") as file:
        rows = [[r.method, r.rate, r.seed, *(r.figures.get(n) for n in names)] for r in results]
        file.write(_csv([["method", "rate", "seed", *names], *rows]))
    groups: dict[tuple[str, float], list[Result]] = {}
    for result in results:
        groups.setdefault((result.method, result.rate), []).append(result)
    summary: dict[tuple[str, float], dict[str, tuple[float, float]]] = {}
    for key, members in groups.items():
        values = {n: [m.figures[n] for m in members if n in m.figures] for n in names}
        summary[key] = {n: (fmean(v), pstdev(v)) for n, v in values.items() if v}
    header = ["method", "rate", *(f"{n} {what}" for n in names for what in ("mean", "deviation"))]
    lines = [
        [*key, *(value for n in names for value in figures.get(n, (None, None)))]
        for key, figures in summary.items()
    ]
    with whole_file(folder / "table.csv") as file:
        file.write(_csv([header, *lines]))
    with whole_file(folder / "table.md") as file:
        file.write(_markdown(names, summary).encode())
    with whole_file(folder / "curve.png") as file:
        draw_curves(file, {n: _curve(n, summary) for n in ("map", "accuracy", "error")})


def _figures(
    name: str, settings: dict[str, Any], config: CompareConfig, whole: PairStore, mask: Mask
) -> dict[str, float]:
    store, seed = mask.store, mask.seed
    if "train" in settings:
        vectors, error = _trained(name, settings["train"], config, whole, mask)
    elif name in UNTRAINED:
        vectors, error = UNTRAINED[name](store), None
    else:
        known = ", ".join(UNTRAINED)
        raise UserError(f"methods.{name}: give it train: [settings], or use one of {known}")
    labels = whole.labels
    assert labels is not None
    found = retrieve(vectors, vectors, by_label(labels, labels), exclude_self=True)
    clusters = kmeans_scores(vectors, labels, seeds=(seed,))
    figures = {
        "map": found.mean_average_precision,
        "precision@10": found.metrics()["precision@10"],
        "accuracy": clusters.accuracy.mean,
        "nmi": clusters.nmi.mean,
        "ari": clusters.ari.mean,
    }
    if error is not None and np.isfinite(error):
        figures["error"] = error
    incomplete = int((store.present.sum(axis=1) == 1).sum())
    if incomplete >= 20 and len(store.complete) >= 20:
        figures |= {
            f"favour {k}": v for k, v in comparability(vectors, store.present).favour.items()
        }
    return figures


def _trained(
    name: str, settings: list[str], config: CompareConfig, whole: PairStore, mask: Mask
) -> tuple[NDArray[np.float32], float]:
    """Embeddings, and the translation error of what was hidden."""
    own = [o for o in HydraConfig.get().overrides.task if o.split(".")[0].split("=")[0] == "data"]
    common = [] if any(s.startswith("experiment=") for s in settings) else config.common
    folder = Path(config.run_dir) / "runs" / f"{name}-{mask.rate:g}-{mask.seed}"
    fixed = [f"seed={mask.seed}", f"run_dir='{folder}'"]
    training = finished(compose("train", [*QUIET, *own, *common, *settings, *fixed]))
    model = fit(training, mask.store).model
    return embed(model, mask.store), translation_error(model, whole, mask.store)


def translation_error(model: Model, whole: PairStore, store: PairStore) -> float:
    """Mean squared error of the values that a mask hid, as a share of their modality's variance.

    Args:
        model: trained on the masked rows.
        whole: the rows without the mask.
        store: the same rows with it.

    Returns:
        1 is as good as predicting every column's mean; NaN if nothing was hidden.
    """
    variances = [
        values[whole.present[:, side]].var(axis=0).mean()
        for side, values in enumerate(whole.take(slice(None)))
    ]
    errors: list[NDArray[np.float32]] = []
    for rows, left, right in infer(model, store, OutputKind.crossmodal):
        hidden = whole.present[rows] & ~store.present[rows]
        for side, (truth, guess) in enumerate(zip(whole.take(rows), (left, right), strict=True)):
            chosen = hidden[:, side]
            errors.append(((truth - guess)[chosen] ** 2).mean(axis=1) / variances[side])
    found = np.concatenate(errors)
    return float(found.mean()) if len(found) else float("nan")


def _csv(rows: list[list[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _markdown(
    names: list[str], summary: dict[tuple[str, float], dict[str, tuple[float, float]]]
) -> str:
    lines = [f"| method | missing | {' | '.join(names)} |", "|---|---|" + "---|" * len(names)]
    for (method, rate), figures in summary.items():
        cells = [
            "{:.3f} ± {:.3f}".format(*figures[name]) if name in figures else "" for name in names
        ]
        lines.append(f"| {method} | {rate:g} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _curve(
    name: str, summary: dict[tuple[str, float], dict[str, tuple[float, float]]]
) -> dict[str, list[tuple[float, float, float]]]:
    """By method: rate, mean and deviation of one figure, the rates ascending."""
    curves: dict[str, list[tuple[float, float, float]]] = {}
    for (method, rate), figures in sorted(summary.items(), key=lambda item: item[0][1]):
        if name in figures:
            curves.setdefault(method, []).append((rate, *figures[name]))
    order = dict.fromkeys(method for method, _ in summary)
    return {method: curves[method] for method in order if method in curves}


def _short(figures: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
