"""scripts/compare.py: methods side by side, as the share of rows that miss a modality grows."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any, TypeAlias

import numpy as np
from hydra.core.hydra_config import HydraConfig
from numpy.typing import NDArray

from bidnn.data.remote import with_local_files
from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.evaluation.agreement import agreement_of_vectors, sample
from bidnn.evaluation.clustering import kmeans_scores
from bidnn.evaluation.comparability import comparability
from bidnn.evaluation.labels import labelled, labelled_rows
from bidnn.evaluation.mixed import KINDS, mixed_pool, no_pool
from bidnn.evaluation.retrieval import by_label, retrieve
from bidnn.files import held, readable
from bidnn.model.inference import OutputKind, embed, infer
from bidnn.model.model import Model
from bidnn.programs.config import CompareConfig
from bidnn.programs.messages import fixable, one_line
from bidnn.programs.methods import UNTRAINED
from bidnn.programs.processes import own_folders
from bidnn.programs.rows import source_of
from bidnn.programs.settings import compose_training
from bidnn.programs.tables import (
    Result,
    log_best,
    read_results,
    write_picture,
    write_tables,
)
from bidnn.training.callbacks.checkpoints import LAST
from bidnn.training.config import TrainConfig
from bidnn.training.fit import fit
from bidnn.training.record import (
    NAME,
    check_record,
    describe_run,
    plain_settings,
    write_record,
)

log = logging.getLogger(__name__)


QUIET = (
    *("callbacks.progress=null", "callbacks.report=null", "logger=none", "output.path=null"),
    "doctor=false",
)
"""What each training leaves out, unless its settings say otherwise."""

Rows: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Mask:
    """Rows of which some had one modality hidden.

    Attributes:
        rate: the share of the complete rows that lost one.
        seed: of the choice.
        whole: the rows before.
        store: and after.
    """

    rate: float
    seed: int
    whole: PairStore
    store: PairStore


Method: TypeAlias = Callable[[Mask], tuple[Rows, Model | None]]
"""From masked rows to vectors, and the model that embeds new rows, where one was trained."""


def run(config: CompareConfig) -> None:
    """Runs every method on every mask; writes tables of the results, and curve.png.

    Masks depend on the seed alone, so that all methods see the same rows. Tables are written after
    every run, and a method that fails leaves the others to theirs. What is there already is kept,
    if that is asked for.

    Raises:
        UserError, OSError: naming what is wrong and the way out; also, in the end, if runs failed.
    """
    methods = check(config)
    with held(Path(config.run_dir)):
        _compare(config, methods)


def _compare(config: CompareConfig, methods: dict[str, Method]) -> None:
    folder = Path(config.run_dir)
    source = source_of(config.data)
    whole = _without_empty_labels(with_local_files(source).open(None))
    log.info(whole.describe())
    if whole.labels is None:
        log.info("no labels: methods are compared by agreement and translation error only")
    found = {(r.rate, r.seed, r.method): r for r in _kept(config, folder, whole)}
    results = list(found.values())
    for rate, seed in product(config.rates, config.seeds):
        mask = Mask(rate, seed, whole, whole.drop(rate, seed, source.missing_modality))
        for name, method in methods.items():
            if (rate, seed, name) not in found:
                found[rate, seed, name] = _result(name, method, mask)
                results = _ordered(config, found)
                write_tables(folder, results)
    write_picture(folder, results)
    log.info("table and curve: %s", folder)
    log_best(results)
    failed = [f"{r.method} at rate {r.rate:g}, seed {r.seed}" for r in results if r.failure]
    if failed:
        raise UserError(
            f"{len(failed)} of {len(results)} runs failed, see {folder / 'table.md'}: "
            + "; ".join(failed)
        )


def _without_empty_labels(rows: PairStore) -> PairStore:
    """The rows, without labels if none has one; says how many have none."""
    without = 0 if rows.labels is None else int((~labelled(rows.labels)).sum())
    if without == len(rows):
        return replace(rows, labels=None)
    if without:
        log.info(
            "%d of %d rows have no label, and are left out of what labels measure",
            without,
            len(rows),
        )
    return rows


def _kept(config: CompareConfig, folder: Path, whole: PairStore) -> list[Result]:
    """The results that stay; writes the record of what they are of.

    Raises:
        UserError: if there is nothing to resume, or it is of other rows or common settings.
    """
    path, kept = folder / NAME, list[Result]()
    methods = json.loads(json.dumps(config.methods))
    settings = plain_settings({"data": config.data, "common": config.common})
    if config.resume is True and not path.is_file():
        raise UserError(
            f"{path}: no comparison to resume; hydra.run.dir=FOLDER names one, and resume=auto "
            "starts where there is none"
        )
    if config.resume and path.is_file():
        with readable(path, "record of a comparison"):
            begun = json.loads(path.read_text())
            before = begun["settings"].pop("methods")
        check_record(folder, begun, describe_run(settings, whole))
        again = {name for name, given in methods.items() if before.get(name, given) != given}
        for name, rate, seed in product(again, config.rates, config.seeds):
            (_run_folder(config, name, rate, seed) / LAST).unlink(missing_ok=True)
        kept = [result for result in read_results(folder) if result.method not in again]
        log.info("%s: %d results are kept", folder, len(kept))
    write_record(folder, whole, {**settings, "methods": methods})
    return kept


def _ordered(config: CompareConfig, found: Mapping[tuple[float, int, str], Result]) -> list[Result]:
    """In the order of the settings; results that these no longer name come last."""
    order = list(product(config.rates, config.seeds, config.methods))
    return [found[key] for key in dict.fromkeys([*order, *found]) if key in found]


def check(config: CompareConfig) -> dict[str, Method]:
    """The methods by name, with all that can be known to be wrong found before the first one runs.

    Raises:
        UserError: naming the setting.
    """
    for key in ("methods", "rates", "seeds"):
        if not getattr(config, key):
            raise UserError(f"{key}: give at least one")
    for rate in config.rates:
        if not 0.0 <= rate <= 1.0:
            raise UserError(f"rates: {rate:g} is no share of rows, in [0, 1]")
    for seed in config.seeds:
        if not 0 <= seed < 2**32:
            raise UserError(f"seeds: {seed} must be in [0, 2^32)")
    if config.resume not in (True, False, "auto"):
        raise UserError(f"resume={config.resume}: must be true, false or auto")
    return {name: _method(name, settings, config) for name, settings in config.methods.items()}


def _method(name: str, settings: Any, config: CompareConfig) -> Method:  # noqa: ANN401 — of any method
    if isinstance(settings, dict) and not settings and name in UNTRAINED:
        untrained = UNTRAINED[name]
        return lambda mask: (untrained(mask.store), None)
    trains = isinstance(settings, dict) and list(settings) == ["train"]
    if not trains or not isinstance(settings["train"], list):
        known = ", ".join(UNTRAINED)
        raise UserError(
            f"methods.{name}: give it {{train: [settings]}}, or {{}} for one of {known}"
        )
    choices = [str(setting) for setting in settings["train"]]
    try:
        _training(name, choices, config, config.rates[0], config.seeds[0])
    except UserError as error:
        raise UserError(f"methods.{name}: {error}") from error

    def trained(mask: Mask) -> tuple[Rows, Model]:
        model = fit(_training(name, choices, config, mask.rate, mask.seed), mask.store).model
        return embed(model, mask.store), model

    return trained


def _training(
    name: str, choices: list[str], config: CompareConfig, rate: float, seed: int
) -> TrainConfig:
    """The settings of one training, among them those of the rows that this program was given."""
    given = HydraConfig.get().overrides.task
    own = [o for o in given if o.lstrip("+~").split("=")[0].split(".")[0] == "data"]
    common = [] if any(c.startswith("experiment=") for c in choices) else config.common
    folder = _run_folder(config, name, rate, seed)
    resume = "auto" if config.resume else False
    return compose_training(
        [*QUIET, *own, *common, *choices],
        {"seed": seed, "run_dir": str(folder), "resume": resume},
        folders=[Path(path) for path in own_folders()],
    )


def _run_folder(config: CompareConfig, name: str, rate: float, seed: int) -> Path:
    return Path(config.run_dir) / "runs" / f"{name}-{rate:g}-{seed}"


def _result(name: str, method: Method, mask: Mask) -> Result:
    started = time.perf_counter()
    try:
        vectors, model = method(mask)
        metrics = measure(vectors, model, mask)
        metrics["seconds"] = time.perf_counter() - started
        mixed = mixed_metrics(vectors, model, mask)
    except Exception as problem:  # a method can be anybody's, and the others wait
        reason = one_line(problem)
        if not fixable(problem):
            reason = f"{type(problem).__name__}: {reason}"
        trace = None if fixable(problem) else problem
        log.error(
            "%s at rate %g, seed %d failed: %s", name, mask.rate, mask.seed, reason, exc_info=trace
        )
        return Result(name, mask.rate, mask.seed, failure=reason)
    shown = "  ".join(f"{metric} {value:.3f}" for metric, value in metrics.items())
    log.info("%-24s rate %.2f seed %d  %s", name, mask.rate, mask.seed, shown)
    return Result(name, mask.rate, mask.seed, metrics, mixed=mixed)


def measure(vectors: Rows, model: Model | None, mask: Mask) -> dict[str, float]:
    """The metrics of an embedding; what cannot be measured is left out.

    Args:
        vectors: (rows, size) finite.
        model: what was trained, if anything was; its translation error is measured.
        mask: the rows that were embedded.

    Raises:
        ValueError: if a number is not finite.
    """
    metrics = {"agreement": hidden_agreement(vectors, mask.whole, mask.store)}
    labels = mask.whole.labels
    if labels is not None:
        known, names = labelled_rows(vectors, labels)
        found = retrieve(known, known, by_label(names, names), exclude_self=True)
        clusters = kmeans_scores(known, names, seeds=(mask.seed,))
        metrics |= {
            "map": found.mean_average_precision,
            "precision@10": found.metrics()["precision@10"],
            "accuracy": clusters.accuracy.mean,
            "nmi": clusters.nmi.mean,
            "ari": clusters.ari.mean,
        }
    if model is not None:
        metrics["error"] = translation_error(model, mask.whole, mask.store)
    present = mask.store.present
    incomplete = int((present.sum(axis=1) == 1).sum())
    if incomplete >= 20 and len(mask.store.complete) >= 20:
        favour = comparability(vectors, present).favour
        metrics |= {f"favour {kind}": value for kind, value in favour.items()}
    return {name: value for name, value in metrics.items() if np.isfinite(value)}


def mixed_metrics(vectors: Rows, model: Model | None, mask: Mask) -> dict[str, dict[str, float]]:
    """What rows with one modality and rows with two find of each other in one pool.

    What was not trained embeds the rows that it is given only: they are the pool, in which no row
    has its other half. A model is shown rows as `shown_three_ways` says.

    Args:
        vectors: (rows, size) finite, of the masked rows.
        model: what was trained, if anything was.
        mask: the rows.

    Returns:
        By kind of query `Found.metrics`; none where `mixed_pool` refuses.
    """
    pool, items = (mask.store, None) if model is None else shown_three_ways(mask)
    if no_pool(pool.present):
        return {}
    vectors = vectors if model is None else embed(model, pool)
    found = mixed_pool(vectors, pool.present, pool.labels, items, mask.seed)
    return {kind: scores.metrics() for kind, scores in found.items()}


def shown_three_ways(mask: Mask) -> tuple[PairStore, NDArray[np.int64]]:
    """Rows whole, then with the first modality only, then with the second only.

    They are the rows that the mask took a modality of, so that no pair of halves was trained on;
    without a mask, complete rows. At most 2000, spread evenly.

    Returns:
        Them, and the number of the row that each shows.
    """
    whole = mask.whole
    hidden = (whole.present & ~mask.store.present).any(axis=1)
    rows = sample(np.flatnonzero(hidden) if hidden.any() else whole.complete)
    first, second = (np.tile(part, (len(KINDS), 1)) for part in whole.take(rows))
    present = np.repeat(list(KINDS.values()), len(rows), axis=0)
    labels = None if whole.labels is None else np.tile(whole.labels[rows], len(KINDS))
    return PairStore(first, second, present, labels), np.tile(rows, len(KINDS))


def hidden_agreement(vectors: Rows, whole: PairStore, store: PairStore) -> float:
    """How far rows that are near by their vectors are near in what a mask hid, without labels.

    Of rows that lost the same modality: the share of a row's ten nearest by their vectors that are
    among its ten nearest in that modality, averaged over both modalities. Where nothing was hidden,
    of complete rows with both modalities. Of up to 2000 rows each.

    Args:
        vectors: (rows, size) finite.
        whole: the rows without the mask.
        store: the same rows with it.

    Returns:
        In [0, 1]; NaN if there are no more than twenty such rows of either modality.
    """
    hidden: NDArray[np.bool_] = whole.present & ~store.present
    if not hidden.any():
        hidden[whole.complete] = True
    found = []
    for side in (0, 1):
        rows = sample(np.flatnonzero(hidden[:, side]))
        found.append(agreement_of_vectors(vectors[rows], whole.take(rows)[side]))
    known = [value for value in found if np.isfinite(value)]
    return fmean(known) if known else float("nan")


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
