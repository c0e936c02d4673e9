"""Checkpoints that a killed training goes on from, whole or not at all; and how it is stopped."""

import logging
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from bidnn.errors import UserError
from bidnn.files import check_room, check_writable, whole_file

log = logging.getLogger(__name__)

LAST = Path("checkpoints") / "last.ckpt"
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StoppedError(BaseException):
    """The training was told to stop by a signal; nothing but the end of the program may catch it.

    Attributes:
        signal: which one.
    """

    def __init__(self, number: int, kept: str) -> None:
        """Says what was kept.

        Args:
            number: of the signal.
            kept: which checkpoint there is.
        """
        super().__init__(f"stopped by {signal.Signals(number).name}; {kept}")
        self.signal = number


class WholeCheckpoints(TorchCheckpointIO):
    """Writes each checkpoint as `whole_file` does; a failure is kept, for all processes to go on.

    Lightning's own way moves a file from the temporary folder, which may be on another disk.
    """

    failure: OSError | None = None

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any | None = None,  # noqa: ANN401 — as Lightning has it
    ) -> None:
        """Writes the file; `failure` says if it could not be."""
        del storage_options
        self.failure = None
        try:
            with whole_file(Path(path)) as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:
            # torch's zip writer turns a full disk into a RuntimeError.
            cause = error if isinstance(error, OSError) else error.__context__
            if not isinstance(cause, OSError) and "PytorchStreamWriter" not in str(error):
                raise
            self.failure = cause if isinstance(cause, OSError) else OSError(str(error))


class Checkpoints(Checkpoint):
    """Saves `last.ckpt` at an interval of epochs, at one of time, before it stops, and at the end.

    A checkpoint within an epoch holds how far the epoch is; the training goes on from there to the
    byte. SIGTERM and Ctrl-C stop it after the batches at hand, or after what an epoch ends with
    (outputs, the command); a second one stops it at once.
    """

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
        self._failure: str | None = None
        self._trained = False
        self._handlers: dict[int, Any] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finds out at once whether checkpoints can be written.

        Raises:
            OSError: if they cannot, or there is no room for two.
        """
        if trainer.is_global_zero:
            check_writable(self.path)
            weights = sum(v.numel() * v.element_size() for v in pl_module.state_dict().values())
            # Adam's state is twice the weights.
            check_room(self.path, 2 * 3 * weights, "checkpoints")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes over the signals."""
        self._saved_at = time.monotonic()
        self._trained = False
        if self.path.is_file():
            self._kept = f"the last whole checkpoint is {self.path}"
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._stop) for number in SIGNALS}

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        """Within an epoch: by time, and when told to stop; its last batches belong to its end."""
        loop = trainer.fit_loop.epoch_loop
        if loop.batch_progress.is_last_batch or loop._is_training_done:
            return
        if self._agreed(trainer, self._signal is not None or self._is_due()):
            self._save(trainer)
            self._stop_if_told(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """After outputs and command: at the interval, by time, and when told to stop."""
        epoch = self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0
        if self._agreed(trainer, bool(epoch) or self._signal is not None or self._is_due()):
            self._save(trainer)
            self._stop_if_told(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Before the final outputs are written, which may be on another disk."""
        self._save(trainer)
        self._trained = True

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """After the final outputs.

        Raises:
            OSError: if the last checkpoint could not be saved.
        """
        if self._failure is not None:
            raise OSError(self._failure)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Gives the signals back, however the training ended."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _is_due(self) -> bool:
        return bool(self.every_s) and time.monotonic() - self._saved_at >= self.every_s

    def _agreed(self, trainer: Trainer, wanted: bool) -> bool:
        """Whether any of the processes wants it."""
        if trainer.world_size == 1:
            return wanted
        return bool(trainer.strategy.reduce_boolean_decision(wanted, all=False))

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.path, weights_only=False)
        self._saved_at = time.monotonic()
        files = trainer.strategy.checkpoint_io
        failure = files.failure if isinstance(files, WholeCheckpoints) else None
        if failure is None:
            done = f"after {trainer.global_step} steps, in epoch {trainer.current_epoch + 1}"
            self._kept = f"the checkpoint {self.path} is of now, {done}"
            self._failure = None
            return
        reason = failure.strerror or failure
        self._failure = f"{self.path}: the checkpoint could not be written ({reason})"
        self._kept = self._kept.replace("is of now", "was written")
        log.error("%s; the training goes on; %s", self._failure, self._kept)

    def _stop_if_told(self, trainer: Trainer) -> None:
        if self._agreed(trainer, self._signal is not None):
            raise StoppedError(self._signal or signal.SIGTERM, self._kept)

    def _stop(self, number: int, _: FrameType | None) -> None:
        if self._signal is None and not self._trained:
            self._signal = number
            name = signal.Signals(number).name
            log.warning("%s: saves a checkpoint and stops; once more: stops at once", name)
            return
        raise StoppedError(number, self._kept.replace("is of now", "is the last"))
