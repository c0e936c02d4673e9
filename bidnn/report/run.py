"""The report of one run: its facts, measured on a sample of its rows, and its page."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bidnn.data.sources import AnySource
from bidnn.data.store import PairStore
from bidnn.evaluation.labels import labelled
from bidnn.model.inference import check_sizes, embed
from bidnn.model.model import Model
from bidnn.report.advice import warnings
from bidnn.report.closeness import comparable, nearest
from bidnn.report.embedded import points
from bidnn.report.folder import Run
from bidnn.report.page import write_page
from bidnn.report.rows import Rows, part, some
from bidnn.report.translation import translation
from bidnn.training.advice import SETTINGS, Words

FILE = "report.html"
MAPPED, SEARCHED = 5000, 2000
"""Rows on the map, and those of them among which neighbours are found, at most."""


def write_report(
    folder: Path,
    model: Model,
    source: AnySource,
    store: PairStore,
    *,
    path: Path | None = None,
    resume: str = "",
    umap: bool = False,
    words: Words = SETTINGS,
    validation: PairStore | None = None,
) -> Path:
    """Measures and writes the page of a run.

    Args:
        folder: of the run.
        model: trained.
        source: where the rows come from.
        store: the rows.
        path: the page; None: `report.html` in the folder.
        resume: what goes on with the run, if it is not at its end.
        umap: also draws a map by UMAP, where it is installed, which takes long.
        words: how the caller writes a setting.
        validation: the rows that the training validated on; None for those of the settings.

    Returns:
        The page.

    Raises:
        UserError, OSError: if the folder is none of a run, the rows are not those of the model, or
            the page cannot be written.
    """
    run = Run.read(folder)
    path = folder / FILE if path is None else path
    found = facts(run, model, source, store, umap=umap, words=words, validation=validation)
    found["run"]["resume"] = resume
    write_page(path, found)
    return path


def facts(
    run: Run,
    model: Model,
    source: AnySource,
    store: PairStore,
    *,
    umap: bool = False,
    words: Words = SETTINGS,
    validation: PairStore | None = None,
) -> dict[str, Any]:
    """All that the page says, as plain data; random samples are the same each time.

    Args:
        run: as it was read.
        model: trained.
        source: where the rows come from.
        store: the rows.
        umap: see `write_report`.
        words: likewise.
        validation: likewise.

    Raises:
        UserError: if the rows are not those of the model.
    """
    check_sizes(model, store)
    generator = np.random.default_rng([int(run.setting("seed") or 0), 0x7265706F])
    rows = Rows.of(run.settings, source, store, validation)
    found: dict[str, Any] = {
        "kind": "run",
        "title": run.folder.resolve().name,
        "run": about(run, model),
        "rows": _counts(rows),
        "curves": curves(run),
        "metrics": dict(run.metrics) or newest(run),
        "settings": {k: str(v) for k, v in run.flat().items() if v is not None},
        "map": None,
        "near": None,
        "comparable": None,
        "translation": translation(model, rows, generator),
    }
    there = some(np.flatnonzero(store.present.any(axis=1)), MAPPED, store, generator)
    if len(there) >= 3:
        mapped = part(store, there)
        vectors = embed(model, mapped)
        found["map"] = {"of": len(store), **points(vectors, mapped, umap=umap)}
        found["map"]["numbers"] = there.tolist()
        few = generator.permutation(len(there))[:SEARCHED]
        searched = part(mapped, few)
        found["near"] = nearest(vectors[few], searched, there[few], generator)
        found["comparable"] = comparable(model, vectors[few], searched, seed=0)
    found["warnings"] = warnings(run, found, words)
    return found


def about(run: Run, model: Model | None = None) -> dict[str, Any]:
    """What was run, when and where."""
    machine, versions = run.record.get("machine") or {}, run.record.get("versions") or {}
    git = run.record.get("git") or {}
    described = {}
    if model is not None:
        network = model.network.config
        described = {
            "architecture": network.architecture.value,
            "sizes": [model.mod1size, model.mod2size],
            "hdn": network.hdn,
            "rep": network.rep,
            "activation": network.activation.value,
            "tied": network.tied,
            "weights": sum(weights.numel() for weights in model.parameters()),
            "space": model.finish.config.space.value,
        }
    return {
        "folder": str(run.folder.resolve()),
        "finished": run.finished,
        "kept": None if run.kept is None else asdict(run.kept),
        "epochs": run.setting("trainer.max_epochs"),
        "command": run.command,
        "began_in": run.record.get("began_in") or "",
        "model": described,
        "seed": run.setting("seed"),
        "objective": run.setting("objective"),
        "versions": versions,
        "platform": machine.get("platform") or "",
        "processor": ", ".join(machine.get("gpus") or []) or machine.get("processor") or "",
        "commit": (git.get("commit") or "") + (" (changed)" if git.get("changed") else ""),
        "fingerprint": (run.record.get("data") or {}).get("fingerprint") or "",
    }


def newest(run: Run) -> dict[str, float]:
    """The last that was logged of each metric, of a run that has no final ones."""
    return {name: values[-1] for name, (_, values) in curves(run).items()}


def curves(run: Run) -> dict[str, list[list[float]]]:
    """By name of a metric, epochs from 1 and its values."""
    names = dict.fromkeys(name for entry in run.epochs for name in entry if name != "epoch")
    series = {name: run.series(name) for name in names}
    return {
        name: [[epoch for epoch, _ in found], [value for _, value in found]]
        for name, found in series.items()
        if found
    }


def _counts(rows: Rows) -> dict[str, Any]:
    store = rows.store
    first, second = store.present[:, 0], store.present[:, 1]
    known = None if store.labels is None else store.labels[labelled(store.labels)]
    labels = None if known is None or not len(known) else len(np.unique(known))
    return {
        "name": store.name,
        "all": len(store),
        "sizes": [store.mod1size, store.mod2size],
        "counts": {
            "complete": int((first & second).sum()),
            "first only": int((first & ~second).sum()),
            "second only": int((~first & second).sum()),
            "without any": int((~first & ~second).sum()),
        },
        "held": len(rows.held),
        "held_name": "" if rows.held_store is store else rows.held_store.name,
        "labels": labels,
        "ids": store.ids is not None,
    }
