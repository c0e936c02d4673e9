"""Checkpoints that a killed training goes on from, whole or not at all; and how it is stopped."""

import logging
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint

from bidnn.errors import UserError
from bidnn.files import check_room, check_writable, whole_file
from bidnn.model.saved import read_checkpoint
from bidnn.training.history import PASSING
from bidnn.training.record import METRICS_FILE
from bidnn.training.signals import end, take

log = logging.getLogger(__name__)

LAST = Path("checkpoints") / "last.ckpt"
NEEDED = ("state_dict", "loops", "callbacks", "optimizer_states", "lr_schedulers", "losses")


class WholeCheckpoints(TorchCheckpointIO):
    """Writes each checkpoint as `whole_file` does; a failure is kept, for all processes to go on.

    Lightning's own way moves a file from the temporary folder, which may be on another disk.
    """

    def __init__(self) -> None:
        """Has written nothing yet."""
        self.failures: dict[Path, str] = {}  # of files whose last writing failed

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any | None = None,  # noqa: ANN401 — as Lightning has it
    ) -> None:
        """Writes the file; if it cannot be, says so and keeps the reason."""
        del storage_options
        path = Path(path)
        self.failures.pop(path, None)
        try:
            with whole_file(path) as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:
            # torch's zip writer turns a full disk into a RuntimeError.
            cause = error if isinstance(error, OSError) else error.__context__
            if not isinstance(cause, OSError) and "PytorchStreamWriter" not in str(error):
                raise
            reason = (cause.strerror if isinstance(cause, OSError) else None) or str(error)
            self.failures[path] = f"{path}: the checkpoint could not be written ({reason})"
            log.error("%s; the training goes on", self.failures[path])

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Any | None = None,  # noqa: ANN401 — as Lightning has it
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Reads the file to go on from, as data on the CPU.

        Raises:
            UserError: if it is damaged, or no checkpoint of a training.
        """
        del map_location, weights_only
        content = read_checkpoint(Path(path))
        lacks = [key for key in NEEDED if not isinstance(content, dict) or key not in content]
        if lacks:
            raise UserError(
                f"{path}: no checkpoint of a training that could go on, it has no "
                f"{' and no '.join(lacks)}; start anew from its weights with checkpoint={path}"
            )
        return dict(content)


class Checkpoints(Checkpoint):
    """Saves `last.ckpt` with each output, by epochs, by time, before it stops, and at the end.

    A checkpoint within an epoch holds how far the epoch is; the training goes on from there to the
    byte. SIGTERM, SIGHUP and Ctrl-C stop it after the batches at hand, or after what an epoch ends
    with (outputs, the command); a second one stops it at once, and so does the first outside the
    training itself.
    """

    by_chunks = True

    def __init__(
        self, folder: str | Path, every_n_epochs: int = 100, every_minutes: float = 10.0
    ) -> None:
        """Saves nothing yet.

        Args:
            folder: of the run; the file is `checkpoints/last.ckpt` in it.
            every_n_epochs: 0: not by epochs.
            every_minutes: since the last one, also within an epoch; 0: not by time.

        Raises:
            ValueError: if an interval is negative.
        """
        for key, value in (("every_n_epochs", every_n_epochs), ("every_minutes", every_minutes)):
            if not value >= 0:
                raise UserError(f"callbacks.checkpoint.{key}={value}: must be at least 0")
        self.path = Path(folder) / LAST
        self.every_n_epochs, self.every_s = every_n_epochs, 60.0 * every_minutes
        self._saved_at = time.monotonic()
        self._kept = "no checkpoint of this run yet"
        self._signal: int | None = None
        self._earlier: int | None = None  # when the best checkpoint of an earlier run was written
        self.also_every_n_epochs = 0  # the interval of the outputs
        self._trains = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finds out at once whether checkpoints can be written, and what is there already.

        Raises:
            OSError: if they cannot, or there is no room for two.
        """
        if trainer.is_global_zero:
            check_writable(self.path)
            weights = sum(v.numel() * v.element_size() for v in pl_module.state_dict().values())
            # Adam's state is twice the weights.
            check_room(self.path, 2 * 3 * weights, "checkpoints")

        if self.path.is_file():
            self._kept = f"the last whole checkpoint is {self.path}"
        self._earlier = None
        if trainer.ckpt_path is None and self._best.is_file():
            self._earlier = self._best.stat().st_mtime_ns

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From now on it can stop between batches; Lightning took SIGTERM just before."""
        take(self.stop)
        if trainer.is_global_zero:  # of an end that is no longer one
            (self.path.parents[1] / METRICS_FILE).unlink(missing_ok=True)
        self._saved_at = time.monotonic()
        self._trains = True

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        """Within an epoch: by time, and when told to stop; its last batches belong to its end."""
        loop = trainer.fit_loop.epoch_loop
        done = loop.batch_progress.current.ready
        if loop.batch_progress.is_last_batch or loop._is_training_done:
            return
        if done % trainer.accumulate_grad_batches:
            return  # gradients that wait for more are not part of a checkpoint
        if self._agreed(trainer, self._signal is not None or self._is_due()):
            self._save(trainer)
            self._stop_if_told(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """After outputs and command: at the interval, by time, and when told to stop."""
        intervals = (self.every_n_epochs, self.also_every_n_epochs)
        epoch = any(n and (trainer.current_epoch + 1) % n == 0 for n in intervals)
        if self._agreed(trainer, epoch or self._signal is not None or self._is_due()):
            self._save(trainer)
            self._stop_if_told(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Before the final outputs are written, which may be on another disk."""
        self._save(trainer)
        self._trains = False
        self._stop_if_told(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """After the final outputs.

        Raises:
            OSError: if the last checkpoint, or the best, could not be saved.
        """
        files = trainer.strategy.checkpoint_io
        if isinstance(files, WholeCheckpoints) and files.failures:
            raise OSError("; ".join(files.failures.values()))

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Whatever comes now, no batch will end any more."""
        self._trains = False

    @property
    def _best(self) -> Path:
        return self.path.with_name("best.ckpt")

    def _is_due(self) -> bool:
        return bool(self.every_s) and time.monotonic() - self._saved_at >= self.every_s

    def _agreed(self, trainer: Trainer, wanted: bool) -> bool:
        """Whether any of the processes wants it."""
        if trainer.world_size == 1:
            return wanted
        return bool(trainer.strategy.reduce_boolean_decision(wanted, all=False))

    def _save(self, trainer: Trainer) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]  # set by Trainer
            return
        if trainer.is_global_zero and self._earlier is not None:
            # Whoever uses the run's folder would take an earlier run's for this one's.
            with suppress(FileNotFoundError):
                if self._best.stat().st_mtime_ns == self._earlier:
                    self._best.unlink()
            self._earlier = None
        trainer.save_checkpoint(self.path, weights_only=False)
        self._saved_at = time.monotonic()
        files = trainer.strategy.checkpoint_io
        if not (isinstance(files, WholeCheckpoints) and self.path in files.failures):
            done = f"after {trainer.global_step} steps, in epoch {trainer.current_epoch + 1}"
            self._kept = f"the checkpoint {self.path} is of now, {done}"
            return
        self._kept = self._kept.replace("is of now", "was written")
        log.error("%s", self._kept)

    def _stop_if_told(self, trainer: Trainer) -> None:
        if self._agreed(trainer, self._signal is not None):
            end(self._signal or signal.SIGTERM, self._kept)

    def stop(self, number: int) -> None:
        """What a signal does, given its number; `fit` gives it the signals.

        Raises:
            StoppedError: at once, where there is no batch to wait for, or at the second time.
        """
        if self._signal is not None or not self._trains:
            end(number, self._kept.replace("is of now", "is the last"))
        self._signal = number
        name = signal.Signals(number).name
        how = "saves a checkpoint and stops; once more: stops at once"
        log.warning("%s: %s", name, how, extra={PASSING: True})


def take_best(trainer: Trainer, module: LightningModule) -> None:
    """Puts the weights of the best checkpoint into the module, where one is kept."""
    for callback in trainer.checkpoint_callbacks:
        if not isinstance(callback, ModelCheckpoint) or callback.monitor is None:
            continue
        best = Path(callback.best_model_path)
        if not best.is_file():
            log.warning("no best checkpoint by %s; the last weights are used", callback.monitor)
            return
        content = read_checkpoint(best)
        module.load_state_dict(content["state_dict"])
        log.info(
            "the best weights are used, of epoch %d, by %s", content["epoch"] + 1, callback.monitor
        )
