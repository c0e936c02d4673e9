"""Lightning's Trainer: each setting does what Lightning documents, or is refused in a line."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from lightning import Callback, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import (
    BaseFinetuning,
    BatchSizeFinder,
    Checkpoint,
    DeviceStatsMonitor,
    EarlyStopping,
    LearningRateFinder,
    LearningRateMonitor,
    ModelPruning,
    ProgressBar,
)
from lightning.pytorch.plugins import CheckpointIO
from lightning.pytorch.profilers import (
    AdvancedProfiler,
    PassThroughProfiler,
    Profiler,
    PyTorchProfiler,
    SimpleProfiler,
)

from bidnn.errors import UserError
from bidnn.training.advice import Words
from bidnn.training.config import TrainerConfig, made

log = logging.getLogger(__name__)

PROFILERS: dict[str, type[Profiler]] = {
    "simple": SimpleProfiler,
    "advanced": AdvancedProfiler,
    "pytorch": PyTorchProfiler,
}
REFUSED_CALLBACKS: dict[type[Callback], str] = {
    BatchSizeFinder: "the batch size is part of the result; set data.batch_size",
    LearningRateFinder: "compare rates by a sweep: -m optimizer.lr=0.01,0.03,0.1",
    ModelPruning: "it renames the weights that a saved model is read by; train a smaller "
    "model.hdn instead",
    BaseFinetuning: "the network has no backbone to freeze; leave it out",
}
"""Stock callbacks that cannot do here what Lightning documents, and what to do instead."""


class NoProfiler(PassThroughProfiler):
    """Lightning's own choice where nobody wants a profile, without the 2 µs of entering it.

    Lightning does so for each hook of each callback, which was a third of a tiny step an epoch.
    """

    def profile(self, action_name: str) -> AbstractContextManager[str]:  # type: ignore[override]  # a generator there
        """Does nothing."""
        return nullcontext(action_name)


class PlainTrainer(Trainer):
    """Lightning's, but for what it says of an early stop by a metric that nobody logs."""

    def fit(self, *args: Any, **more: Any) -> None:  # noqa: ANN401 — Lightning's
        """Trains.

        Raises:
            UserError: naming the metric that early stopping misses, and those that there are.
        """
        try:
            super().fit(*args, **more)
        except RuntimeError as error:
            stops = [c.monitor for c in self.callbacks if isinstance(c, EarlyStopping)]  # type: ignore[attr-defined]  # set by Trainer
            missed = [name for name in stops if name not in self.callback_metrics]
            if not missed or not str(error).startswith("Early stopping conditioned on metric"):
                raise
            known = ", ".join(sorted(self.callback_metrics))
            raise UserError(
                f"early stopping by {missed[0]}: no such metric; there are {known}"
            ) from error


def check_callbacks(callbacks: Sequence[Callback]) -> None:
    """Refuses stock callbacks that would not do what Lightning says of them.

    Raises:
        UserError: naming the callback and what to do instead.
    """
    for callback in callbacks:
        for kind, instead in REFUSED_CALLBACKS.items():
            if isinstance(callback, kind):
                raise UserError(f"callback {type(callback).__name__}: {instead}")
        if not isinstance(callback, Callback):
            raise UserError(
                f"callbacks: {type(callback).__name__} is no lightning.Callback; derive it so"
            )


def trainer_settings(settings: TrainerConfig, callbacks: Sequence[Callback]) -> TrainerConfig:
    """The Trainer's settings; without a callback that keeps checkpoints, none are kept."""
    if settings.enable_checkpointing is None:
        keeps = any(isinstance(callback, Checkpoint) for callback in callbacks)
        settings = replace(settings, enable_checkpointing=keeps)
    if any(isinstance(callback, ProgressBar) for callback in callbacks):
        settings = replace(settings, enable_progress_bar=True)
    if settings.strategy is not None:
        settings = replace(settings, strategy=made(settings.strategy))
    if settings.profiler is not None:
        settings = replace(settings, profiler=_profiler(settings))
    if settings.plugins is not None:
        nodes = settings.plugins if isinstance(settings.plugins, list) else [settings.plugins]
        settings = replace(settings, plugins=[made(node) for node in nodes])
    return settings


def _profiler(settings: TrainerConfig) -> Any:  # noqa: ANN401 — a profiler, or a name for Lightning
    """The profiler, whose report is a file where there is a folder, and otherwise in the log."""
    logging.getLogger("lightning.pytorch.profilers").setLevel(logging.INFO)  # which tells it
    name = str(settings.profiler).lower()
    if name not in PROFILERS or settings.default_root_dir is None:
        return made(settings.profiler)
    file = f"fit-{name}.txt"  # as Lightning names it, of one process
    log.info("trainer.profiler=%s: reports to %s", name, Path(settings.default_root_dir, file))
    return PROFILERS[name](dirpath=settings.default_root_dir, filename=name)


def check_monitors(trainer: Trainer, held: int, words: Words) -> None:
    """Refuses callbacks that watch a loss of held-out rows where there will be none.

    Args:
        trainer: with all its callbacks.
        held: rows to validate on.
        words: how the caller writes a setting.

    Raises:
        UserError: naming the callback, the metric and the way out.
    """
    every, epochs = trainer.check_val_every_n_epoch, trainer.max_epochs
    if not held:
        why = f"no rows are held out; set {words('data.val_fraction', '0.1')}"
    elif not trainer.limit_val_batches:
        why = f"{words('trainer.limit_val_batches', '0')} looks at none; leave it out"
    elif every is not None and epochs is not None and 0 < epochs < every:
        key = words("trainer.check_val_every_n_epoch", str(every))
        why = f"{key} is beyond the last epoch; lower it"
    else:
        return
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set by Trainer
        monitor = getattr(callback, "monitor", None)
        if isinstance(monitor, str) and monitor.startswith("val/"):
            raise UserError(
                f"{type(callback).__name__} watches {monitor}, and {why}, or let it watch another "
                "metric, such as train/loss"
            )


def build_trainer(
    config: TrainerConfig, callbacks: Sequence[Callback], loggers: list[Any], files: CheckpointIO
) -> Trainer:
    """The one place where a Trainer is made.

    Args:
        config: its settings.
        callbacks: all of them.
        loggers: likewise.
        files: how checkpoints are written, unless a plugin says otherwise.

    Raises:
        UserError: with Lightning's reason, if it does not take the settings.
    """
    check_callbacks(callbacks)
    for callback in callbacks:
        if isinstance(callback, LearningRateMonitor | DeviceStatsMonitor) and not loggers:
            raise UserError(
                f"callback {type(callback).__name__}: writes to a logger, and there is none; set "
                "logger=tensorboard, in Python with a run_dir=FOLDER"
            )
    settings = {field.name: getattr(config, field.name) for field in fields(config)}
    every = settings.pop("check_val_every_n_epoch")
    settings = {name: value for name, value in settings.items() if value is not None}
    plugins = settings.pop("plugins", [])
    plugins = [plugins] if isinstance(plugins, str | Mapping) else list(plugins)
    if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
        plugins.append(files)
    settings["use_distributed_sampler"] = False
    settings.setdefault("profiler", NoProfiler())
    try:
        return PlainTrainer(
            **settings,
            check_val_every_n_epoch=every,
            callbacks=list(callbacks),
            logger=loggers or False,
            plugins=plugins,
        )
    except (MisconfigurationException, TypeError, ValueError, ImportError) as error:
        raise UserError(f"trainer: {' '.join(str(error).split())}") from error
