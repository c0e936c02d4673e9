"""Whether the steps of an epoch are taken many at a time or one by one, and why.

Lightning's own cost is more than a whole step of a tiny network. So many optimiser steps are taken
in one step of its loop, a chunk, wherever nobody can tell the difference. Where a setting, a
profiler or a callback looks at single batches, Lightning's ordinary loop with automatic
optimisation runs, and all of its settings and hooks work because they are its own.
"""

from typing import Any

from lightning import Callback, Trainer
from lightning.pytorch.callbacks import (
    BasePredictionWriter,
    EarlyStopping,
    ModelCheckpoint,
    ModelSummary,
    RichModelSummary,
)
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

BY_EPOCHS = (EarlyStopping, ModelSummary, RichModelSummary, BasePredictionWriter)
"""Stock callbacks that look at nothing smaller than an epoch."""

BATCH_HOOKS = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
)
LIGHTNINGS_LOG_INTERVAL = 50


def why_one_by_one(trainer: Any) -> str | None:  # noqa: ANN401 — a Trainer, whose settings are not typed
    """What looks at single batches; None if nothing does, so that chunks may be taken.

    Args:
        trainer: with all its callbacks.
    """
    unusual = {
        "fast_dev_run": bool(trainer.fast_dev_run),
        "limit_train_batches": not is_whole(trainer.limit_train_batches),
        "overfit_batches": bool(trainer.overfit_batches),
        "val_check_interval": not is_whole(trainer.val_check_interval),
        "check_val_every_n_epoch": trainer.check_val_every_n_epoch is None,
        "accumulate_grad_batches": trainer.accumulate_grad_batches != 1,
        "gradient_clip_val": trainer.gradient_clip_val is not None,
        "precision": trainer.precision != "32-true",
        "profiler": not isinstance(trainer.profiler, PassThroughProfiler),
        "detect_anomaly": trainer._detect_anomaly,
        "log_every_n_steps": trainer.log_every_n_steps != LIGHTNINGS_LOG_INTERVAL,
        "strategy": type(trainer.strategy) not in (SingleDeviceStrategy, DDPStrategy),
    }
    reasons = [f"trainer.{key}" for key, looks in unusual.items() if looks]
    reasons += [type(c).__name__ for c in trainer.callbacks if looks_at_batches(c)]
    return ", ".join(reasons) or None


def is_whole(limit: Any) -> bool:  # noqa: ANN401 — Lightning takes many types
    """Whether a limit is a share of 1; the whole number 1 is one batch."""
    return isinstance(limit, float) and limit == 1.0


def looks_at_batches(callback: Callback) -> bool:
    """Whether a callback could tell a chunk from a batch.

    Ours say so by an attribute `by_chunks`; a user's own does if it has a hook of single batches;
    of Lightning's, all do but those that are known not to.
    """
    if getattr(callback, "by_chunks", False):
        return False
    kind = type(callback)
    if kind is ModelCheckpoint:
        return bool(callback._every_n_train_steps or callback._train_time_interval)  # type: ignore[attr-defined]  # untyped
    if kind.__module__.startswith("lightning."):
        return kind not in BY_EPOCHS
    if isinstance(callback, ModelCheckpoint):
        return True
    hooks = [name for name in BATCH_HOOKS if getattr(kind, name) is not getattr(Callback, name)]
    return bool(hooks) and not (
        isinstance(callback, BY_EPOCHS)
        and all(getattr(kind, name) is getattr(BY_EPOCHS[0], name) for name in hooks)
    )


def count_step(trainer: Trainer) -> None:
    """Counts an optimiser step that a chunk made, so that `trainer.global_step` is right.

    What Lightning's wrapper of the optimiser does, without its cost, a tenth of a small step. The
    only counter of Lightning's that is written to.
    """
    progress = trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
    progress.increment_ready()
    progress.increment_completed()
