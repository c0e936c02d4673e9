"""Writes outputs at an interval and at the end."""

import logging

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.files import check_room, check_writable
from bidnn.model.outputs import (
    OutputConfig,
    check_output,
    join_parts,
    output_path,
    output_room,
    part_path,
    write_output,
    write_part,
)
from bidnn.training.module import TrainingModule

log = logging.getLogger(__name__)


class WriteOutputs(Callback):
    """Every N epochs, and once more at the end, as configured."""

    def __init__(self, store: PairStore, config: OutputConfig) -> None:
        """Finds out at once whether the output can be written.

        Args:
            store: the rows to embed or to complete.
            config: where, what and when.

        Raises:
            OSError: if the file cannot be written.
            ValueError: if its format cannot hold the labels.
        """
        self.store, self.config = store, config
        check_output(store, config, [None])

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finds out at once whether there is room for all that will be written, and for its names.

        Raises:
            OSError: if there is not.
        """
        assert isinstance(pl_module, TrainingModule)
        last = max(trainer.max_epochs or 0, 0)
        for epoch in (None, last) if self.config.every_n_epochs else (None,):
            if trainer.world_size == 1:
                check_writable(output_path(self.config, epoch))
            else:
                check_writable(part_path(self.config, epoch, trainer.global_rank))
        if trainer.is_global_zero:
            files, every = 1, self.config.every_n_epochs
            if every and "%e" in str(self.config.path):
                files += last // every
            room = output_room(pl_module.model, self.store, self.config, files)
            check_room(output_path(self.config, None), room, f"output.path={self.config.path}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """At the interval; whatever it raises, the training goes on, and its checkpoint follows."""
        if due(self.config, trainer):
            failure = self._write(trainer, pl_module, trainer.current_epoch + 1)
            if failure is not None and trainer.is_global_zero:
                foreseen = isinstance(failure, OSError | UserError)
                trace = None if foreseen else failure
                log.error("%s; the training goes on", failure, exc_info=trace)

    def on_result(self, trainer: Trainer, module: TrainingModule) -> None:
        """Once more at the end, also when there were no epochs to train.

        Raises:
            Exception: if it cannot be written; the last checkpoint is there then.
        """
        failure = self._write(trainer, module, None)
        if failure is not None:
            raise failure

    def _write(
        self, trainer: Trainer, module: LightningModule, epoch: int | None
    ) -> Exception | None:
        """Writes the output, all processes together; returns what went wrong in any of them."""
        assert isinstance(module, TrainingModule)
        model, share = module.ready_model(), (trainer.global_rank, trainer.world_size)
        path = output_path(self.config, epoch)
        failure: Exception | None = None
        try:
            if trainer.world_size == 1:
                write_output(model, self.store, self.config, epoch)
            else:
                write_part(model, self.store, self.config, epoch, share)
        except Exception as error:  # noqa: BLE001 — kept, for all processes to go on
            failure = error
        if trainer.world_size > 1:
            if trainer.strategy.reduce_boolean_decision(failure is None, all=True):
                if trainer.is_global_zero:
                    try:
                        join_parts(model, self.store, self.config, epoch, trainer.world_size)
                    except Exception as error:  # noqa: BLE001 — likewise
                        failure = error
            else:
                failure = failure or OSError("another process could not write its part")
        if isinstance(failure, OSError):
            reason = failure.strerror or str(failure)
            return OSError(f"{path}: the output could not be written ({reason})")
        if failure is None and trainer.is_global_zero:
            log.info("%s of %d rows written to %s", self.config.kind.value, len(self.store), path)
        return failure


def due(config: OutputConfig, trainer: Trainer) -> bool:
    """Whether the epoch that ends is one at which outputs are written."""
    every = config.every_n_epochs
    return bool(every) and (trainer.current_epoch + 1) % every == 0
