"""Writes outputs at an interval and at the end."""

import logging

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from bidnn.data.store import PairStore
from bidnn.files import check_writable
from bidnn.module import TrainingModule
from bidnn.outputs import OutputConfig, join_parts, output_path, write_output, write_part

log = logging.getLogger(__name__)


class WriteOutputs(Callback):
    """Every N epochs, and once more at the end, as configured."""

    def __init__(self, store: PairStore, config: OutputConfig) -> None:
        """Finds out at once whether the output can be written.

        Args:
            store: the rows to embed or to complete.
            config: where, what and when.

        Raises:
            OSError: if the folder cannot be written.
        """
        self.store, self.config = store, config
        check_writable(output_path(config, None))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """At the interval."""
        if due(self.config, trainer):
            self._write(trainer, pl_module, trainer.current_epoch + 1)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Once more at the end, also when there were no epochs to train."""
        self._write(trainer, pl_module, None)

    def _write(self, trainer: Trainer, module: LightningModule, epoch: int | None) -> None:
        assert isinstance(module, TrainingModule)
        model, share = module.ready_model(), (trainer.global_rank, trainer.world_size)
        if trainer.world_size == 1:
            path = write_output(model, self.store, self.config, module.strategy, epoch)
        else:
            write_part(model, self.store, self.config, module.strategy, epoch, share)
            trainer.strategy.barrier()
            if trainer.is_global_zero:
                path = join_parts(model, self.store, self.config, epoch, trainer.world_size)
            trainer.strategy.barrier()
        if trainer.is_global_zero:
            log.info("%s of %d rows written to %s", self.config.kind.value, len(self.store), path)


def due(config: OutputConfig, trainer: Trainer) -> bool:
    """Whether the epoch that ends is one at which outputs are written."""
    every = config.every_n_epochs
    return bool(every) and (trainer.current_epoch + 1) % every == 0
