"""`bidnn report`: a page on what a run has learned, or on several runs side by side."""

import logging
import shlex
from pathlib import Path
from typing import Any

from bidnn.data.sources import SOURCES, AnySource
from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.files import check_writable
from bidnn.model.saved import checkpoint_files, load_bundle
from bidnn.programs.config import ReportConfig
from bidnn.programs.devices import device_of
from bidnn.programs.processes import rank
from bidnn.programs.quoting import typed_setting
from bidnn.programs.rows import open_rows, source_of
from bidnn.report.comparison import write_comparison
from bidnn.report.folder import Run, runs_in
from bidnn.report.run import FILE, write_report
from bidnn.training.advice import SETTINGS, Words
from bidnn.training.config import TrainConfig
from bidnn.training.fit import Fitted
from bidnn.training.record import SOURCE

log = logging.getLogger(__name__)

COMPARISON = "comparison.html"
ARRAYS = "arrays"
"""The source of rows that Python gave."""


def run(config: ReportConfig) -> None:
    """Reads runs, measures and writes the page.

    Raises:
        UserError, OSError: naming what is wrong and the way out.
    """
    given = [Path(name) for name in config.runs]
    if not given:
        raise UserError("name a run's folder, as bidnn report runs/DATE/TIME, or several")
    folders = [folder for path in given for folder in runs_in(path)]
    if len(folders) > 1:
        own = given[0] / FILE if len(given) == 1 else Path(COMPARISON)
        path = own if config.output.path is None else Path(config.output.path)
        check_writable(path)
        write_comparison(path, [Run.read(folder) for folder in folders], config.objective)
    else:
        path = _one(folders[0], config)
    log.info("report: %s", path)


def _one(folder: Path, config: ReportConfig) -> Path:
    if config.objective is not None:
        raise UserError(f"objective={config.objective}: compares several runs, and this is one")
    path = folder / FILE if config.output.path is None else Path(config.output.path)
    check_writable(path)
    read = Run.read(folder)
    if not any(file.is_file() for file in checkpoint_files(folder)):
        raise UserError(
            f"{folder}: this run has no checkpoint yet, so that there is nothing to report on; "
            "callbacks.checkpoint.every_minutes and every_n_epochs say when one is written"
        )
    model = load_bundle(folder).to(device_of(config.device))
    source = _source(read) if config.data is None else source_of(config.data)
    try:
        seed = int(read.setting("seed") or 0)
        store = open_rows(source, seed, (model.mod1size, model.mod2size), model.reading)
    except OSError as error:
        raise UserError(
            f"{error}; the rows of this run are needed, in the folder that it began in "
            f"({read.record.get('began_in')}), or named by data=… data.path=…"
        ) from error
    resume = "" if read.finished else _resuming(read)
    return write_report(folder, model, source, store, path=path, resume=resume, umap=config.umap)


def _resuming(run: Run) -> str:
    """What goes on with a run: its command, where it began, or what Python says."""
    folder, place = str(run.folder.resolve()), str(run.record.get("began_in") or "")
    if run.record.get(SOURCE) == ARRAYS:
        return f"BiDNN(…, run_dir={folder!r}, resume=True).fit(…)  # the same settings and rows"
    command = f"{run.command} resume=true {typed_setting('hydra.run.dir', folder)}"
    return f"cd {shlex.quote(place)} && {command}" if run.command and place else ""


def _source(run: Run) -> AnySource:
    """Where the rows of a run came from, as its settings say."""
    settings, name = run.setting("data"), run.record.get(SOURCE)
    if isinstance(settings, dict) and "_target_" in settings:
        return source_of(settings)
    if name in (None, ARRAYS) or name not in SOURCES:
        raise UserError(
            f"{run.folder}: the rows of this run were given by Python, or are not named in its "
            "record; name them by data=… data.path=…"
        )
    from omegaconf import OmegaConf

    source: Any = OmegaConf.to_object(
        OmegaConf.merge(OmegaConf.structured(SOURCES[name]), settings)
    )
    return source_of(source)


def report_on(
    config: TrainConfig,
    fitted: Fitted,
    source: AnySource,
    store: PairStore,
    words: Words = SETTINGS,
    validation: PairStore | None = None,
) -> None:
    """The page of a run that has just ended, if it is asked for; whatever fails, the run is kept.

    Args:
        config: of the training.
        fitted: its result.
        source: where the rows came from.
        store: the rows.
        words: how the caller writes a setting.
        validation: the rows that it validated on, if Python gave them.
    """
    if not config.report or config.run_dir is None or rank():
        return
    folder = Path(config.run_dir)
    if not fitted.changed and (folder / FILE).exists():
        return  # of a run that had ended, and was killed before its page was there, it is made
    try:
        path = write_report(folder, fitted.model, source, store, words=words, validation=validation)
        log.info("report: %s", path)
    except Exception as error:  # noqa: BLE001 — a report that fails loses no run
        reason = (str(error) or type(error).__name__).splitlines()[0]
        log.warning("no report (%s); bidnn report %s would make it", reason, folder)
