"""From rows and settings to a trained model: the one way in, for every program and for Python."""

import logging
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lightning import Callback, Trainer
from lightning.fabric.utilities.rank_zero import rank_zero_only

from bidnn.data.datamodule import PairDataModule
from bidnn.data.sources import SOURCES
from bidnn.data.store import PairStore, Reading
from bidnn.errors import UserError
from bidnn.files import as_json, held, whole_file
from bidnn.losses import LossConfig
from bidnn.model.finishing import Centring
from bidnn.model.fitting import fit_embedding
from bidnn.model.model import Model
from bidnn.model.saved import checkpoint_files, load_bundle
from bidnn.training.advice import SETTINGS, Words
from bidnn.training.callbacks.checkpoints import LAST, Checkpoints, WholeCheckpoints
from bidnn.training.callbacks.together import all_callbacks
from bidnn.training.checkup import look_over
from bidnn.training.config import TrainConfig, check_paths, made
from bidnn.training.diffusion.kept import digest, kept_coordinates
from bidnn.training.given import Given
from bidnn.training.history import History, noted_warnings, read_history
from bidnn.training.loggers import begin, closed_if_it_fails, finish, keep_rows, make_loggers
from bidnn.training.module import TrainingModule
from bidnn.training.peers import Peers
from bidnn.training.record import (
    METRICS_FILE,
    SETTINGS_FILE,
    check_record,
    describe_run,
    plain_settings,
    write_record,
)
from bidnn.training.resuming import Begun, read_metrics, stopping
from bidnn.training.signals import taken_over
from bidnn.training.speed import kept_threads
from bidnn.training.starting import pair_data, preserved_random, start_model
from bidnn.training.stepping import why_one_by_one
from bidnn.training.trainer import build_trainer, check_monitors, trainer_settings

log = logging.getLogger(__name__)

ALONE = threading.RLock()
"""Held by the training that runs: random numbers and threads of torch are the whole process's."""

DECIDING = ("seed", "data", "model", "loss", "optimizer", "scaling", "embedding")
OF_STEPS = (
    *("accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm", "precision"),
    *("limit_train_batches", "overfit_batches"),
)
"""Settings of the trainer by which steps are others; a run that is resumed keeps them."""
"""What the result of a run depends on, besides how long it is."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A training's result.

    Attributes:
        model: trained, on the CPU, in evaluation mode.
        metrics: the last value of all that was logged, and of the reports at the end, by name.
        history: what was logged of its epochs.
        changed: whether anything was done: nothing is with a run that had come to its end.
    """

    model: Model
    metrics: dict[str, float]
    history: History
    changed: bool = True


def fit(
    config: TrainConfig,
    store: PairStore,
    *,
    callbacks: Sequence[Callback] = (),
    words: Words = SETTINGS,
    start: Model | None = None,
    validation: PairStore | None = None,
    command: str | None = None,
    chosen: Given | None = None,
) -> Fitted:
    """One training, whole: rows are split, a model is made, trained, used and kept as configured.

    Nothing is left changed behind it: the caller's random numbers go on as if it had not been.
    A second training, of another thread, waits for the end of the first.

    Args:
        config: the settings.
        store: the rows to train on and to embed.
        callbacks: Lightning's or the caller's own, besides those of the settings.
        words: how the caller writes a setting, for advice.
        start: a model to train on; None for `config.checkpoint`, or a fresh one.
        validation: the rows to validate on; None for those of the settings.
        command: what repeats the run, for its record; None: the command of this process.
        chosen: the settings that somebody chose, which name the run in the loggers.

    Returns:
        The model, and what was measured.

    Raises:
        UserError, OSError, CommandFailedError: naming what is wrong and the way out.
    """
    folder = None if config.run_dir is None else Path(config.run_dir)
    # The first of several processes holds the folder for all.
    holds = getattr(rank_zero_only, "rank", 0) == 0
    with ALONE, held(folder) if folder is not None and holds else nullcontext():
        history = History()
        chosen = chosen or Given()
        with noted_warnings(history):
            return _fit(
                config, store, folder, callbacks, words, start, validation, command, history, chosen
            )


def _fit(
    config: TrainConfig,
    store: PairStore,
    folder: Path | None,
    callbacks: Sequence[Callback],
    words: Words,
    start: Model | None,
    validation: PairStore | None,
    command: str | None,
    history: History,
    chosen: Given,
) -> Fitted:
    given = config
    config = replace(
        config,
        data=made(config.data),
        loss=made(config.loss),
        optimizer=made(config.optimizer),
    )
    check_paths(config.loss, config.model)
    last = _checkpoint_to_resume(config, folder)
    data = pair_data(config, store, validation)
    log.info(store.describe())
    settings = plain_settings({key: getattr(given, key) for key in DECIDING})
    of_steps = {f"trainer.{key}": getattr(given.trainer, key) for key in OF_STEPS}
    record = {} if folder is None else describe_run(settings | of_steps, store)
    begun: Begun | None = None
    if last is not None and folder is not None:
        begun = Begun.read(last)
        check_record(folder, begun.record, record)
        metrics = read_metrics(folder)
        if metrics is not None and begun.trained(given):
            return _finished(config, folder, begun, metrics)
    shared = bool(config.embedding.shared)
    if config.embedding.centring is Centring.presence and not shared and store.present.all():
        log.warning(
            "embedding.centring=presence: no row misses a modality, so it takes off the mean of "
            "all rows, as centring=complete does"
        )
    with preserved_random(), known_warnings_left_out():
        model = start or start_model(config, data)
        fresh = start is None and (config.checkpoint is None or config.checkpoint.endswith(".npz"))
        if (shared or config.embedding.landmarks) and (fresh or config.trainer.trains):
            # Refuses too few rows, before any step; a model that is only used keeps what it has.
            fit_embedding(model, data.store, data.complete_rows)
        first = getattr(rank_zero_only, "rank", 0) == 0
        if config.doctor and config.trainer.trains and first and begun is None and start is None:
            look_over(config, data, model, words)
        model.l2_norm = config.output.l2_norm
        if store.reading != Reading():
            model.reading = store.reading
        if config.model.diffusion and config.trainer.trains and data.batches:
            kept = None if begun is None else begun.record.get("coordinates")
            data.coordinates = kept_coordinates(config.model.rep, data, folder, kept)
            record["coordinates"] = digest(data.coordinates)
        module = TrainingModule(model, config.loss, config.optimizer, config.speed, words)
        module.record, module.stopping, module.history = record, stopping(given), history
        everything = all_callbacks(config, store, folder, callbacks)
        loggers = make_loggers(config.logger, chosen.label, folder)
        trainer = build_trainer(
            trainer_settings(config.trainer, everything),
            everything,
            loggers,
            WholeCheckpoints(),
        )
        if config.trainer.trains:
            check_monitors(trainer, len(data.val_rows), words)
        elif start is None and config.checkpoint is None and last is None:
            log.warning(
                "nothing is trained, and no checkpoint is given: outputs are of random weights"
            )
        _choose_steps(trainer, module, data)
        if first:
            keep_rows(loggers, [] if begun is None else begun.rows)
            begin(trainer, given, chosen, [] if begun is None else begun.events)
        if folder is not None and first:
            if last is None and config.trainer.trains:
                _tell_of_earlier(folder, trainer, words)
            write_settings(folder, given)
            named = (name for name, kind in SOURCES.items() if type(config.data) is kind)
            write_record(folder, store, command=command, source=next(named, None))
        with kept_threads(), _stoppable(trainer), closed_if_it_fails(loggers):
            trainer.fit(module, datamodule=data, ckpt_path=last, weights_only=True)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    for callback in everything:
        metrics |= getattr(callback, "metrics", {})
    if folder is not None and trainer.is_global_zero:
        history.write(folder)
    _log_metrics(trainer, folder, settings, metrics, config.objective)
    return Fitted(module.model.cpu().eval(), metrics, history)


def write_settings(folder: Path, config: TrainConfig) -> None:
    """Writes the settings of a run to its folder."""
    from omegaconf import OmegaConf

    with whole_file(folder / SETTINGS_FILE) as file:
        file.write(OmegaConf.to_yaml(OmegaConf.structured(config)).encode())


def _finished(config: TrainConfig, folder: Path, begun: Begun, metrics: dict[str, float]) -> Fitted:
    """The result of a run that has come to its end; nothing is changed."""
    log.info(
        "%s: finished, after %d epochs and %d steps; nothing is left to do, and nothing is changed",
        folder,
        begun.epochs,
        begun.steps,
    )
    best = begun.path.with_name("best.ckpt")
    kept = best if config.callbacks.get("best") and best.is_file() else begun.path
    return Fitted(load_bundle(kept), metrics, read_history(folder), changed=False)


def _checkpoint_to_resume(config: TrainConfig, folder: Path | None) -> Path | None:
    if not config.resume:
        return None
    if folder is None:
        raise UserError(f"resume={config.resume}: needs the folder of the run, run_dir")
    last = folder / LAST
    if last.is_file():
        return last
    if config.resume == "auto":
        log.info("%s: no checkpoint yet; training from the start", last)
        return None
    raise UserError(
        f"{last}: no checkpoint; hydra.run.dir=FOLDER names the run to resume, and resume=auto "
        "starts where there is none"
    )


def _tell_of_earlier(folder: Path, trainer: Trainer, words: Words) -> None:
    """Says what becomes of the checkpoints of an earlier run in the same folder."""
    if not any(path.is_file() for path in checkpoint_files(folder)):
        return
    keeps = any(isinstance(c, Checkpoints) for c in trainer.callbacks)  # type: ignore[attr-defined]  # set by Trainer
    log.warning(
        "%s holds checkpoints of an earlier run, %s; %s goes on with that run, and another folder "
        "keeps it",
        folder,
        "which those of this run replace" if keeps else "which stay, and are not of this run",
        words("resume", "auto"),
    )


def _choose_steps(trainer: Trainer, module: TrainingModule, data: PairDataModule) -> None:
    """Takes steps in chunks where nobody looks at single ones, and says which."""
    data.device = trainer.strategy.root_device
    reason = why_one_by_one(trainer)
    module.automatic_optimization = data.one_by_one = reason is not None
    if not data.batches:
        return
    apart = module.loss.of_a_batch if isinstance(module.loss, LossConfig) else []
    if trainer.world_size > 1 and apart:
        log.info(
            "%d processes, each with a part of a batch: by %s the loss is not quite that of one",
            trainer.world_size,
            " and ".join(
                module.words(f"loss.{key}", str(getattr(module.loss, key)).lower()) for key in apart
            ),
        )
    if reason is not None:
        log.info("steps one by one, by Lightning's own loop: %s looks at them", reason)
    else:
        log.info(
            "steps in chunks of %d, since nothing looks at single ones", data.batches_per_chunk
        )


def _log_metrics(
    trainer: Trainer,
    folder: Path | None,
    settings: dict[str, Any],
    metrics: dict[str, float],
    objective: str,
) -> None:
    """The final metrics: metrics.json, and for the loggers."""
    if not trainer.is_global_zero:
        return
    if folder is not None:
        with whole_file(folder / METRICS_FILE) as file:
            file.write(as_json(dict(sorted(metrics.items())), indent=2).encode() + b"\n")
    shown = settings if trainer.enable_autolog_hparams else {}
    finish(trainer.loggers, shown, metrics, objective, trainer.global_step)


@contextmanager
def _stoppable(trainer: Trainer) -> Iterator[None]:
    """Signals go to the callback that keeps checkpoints; no process that was started is left."""
    with ExitStack() as stack:
        for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set by Trainer
            if isinstance(callback, Checkpoints):
                stack.enter_context(taken_over(callback.stop))
        stack.enter_context(Peers(trainer.strategy.launcher))
        yield


@contextmanager
def known_warnings_left_out() -> Iterator[None]:
    """Leaves out what Lightning says of itself and of loaders that are not ours."""
    with warnings.catch_warnings():
        for message in (
            "Detected call of `lr_scheduler.step",  # a compiled step does the optimiser's work
            "You're resuming from a checkpoint that ended before",  # and the loader begins there
            "Total length of .* across ranks is zero",  # no validation rows were asked for
            "The number of training batches .* is smaller than the logging interval",
            "Checkpoint directory .* exists and is not empty",  # as it must, resumed
            ".*isinstance.treespec, LeafSpec.. is deprecated",  # Lightning's own use of torch
            r"torch\.distributed\.nn\.functional\.all_gather is deprecated",  # likewise
        ):
            warnings.filterwarnings("ignore", message)
        yield


def quiet_lightning() -> None:
    """Keeps Lightning's banners and tips out of the log; its warnings stay."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
