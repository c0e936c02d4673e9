"""Writes the model in the original's format, at the interval of the outputs and at the end."""

import logging
from pathlib import Path

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from bidnn.files import check_writable
from bidnn.model.outputs import OutputConfig, fill_epoch
from bidnn.original.model_file import original_network, write_model
from bidnn.training.callbacks.write_outputs import due
from bidnn.training.module import TrainingModule

log = logging.getLogger(__name__)


class WriteModel(Callback):
    """Comes after WriteOutputs and before RunCommand, as in the original."""

    def __init__(self, path: str, output: OutputConfig) -> None:
        """Finds out at once whether the model can be written.

        Args:
            path: of the npz file; `%e` in it is the epoch, or `final`.
            output: for its interval.

        Raises:
            OSError: if the folder cannot be written.
        """
        self.path, self.output = path, output
        check_writable(Path(fill_epoch(path, None)))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finds out at once whether the file can hold such a model.

        Raises:
            UserError: naming what it cannot hold.
        """
        assert isinstance(pl_module, TrainingModule)
        original_network(Path(fill_epoch(self.path, None)), pl_module.model)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """At the interval."""
        if due(self.output, trainer):
            self._write(trainer, pl_module, trainer.current_epoch + 1)

    def on_result(self, trainer: Trainer, module: TrainingModule) -> None:
        """Once more at the end."""
        self._write(trainer, module, None)

    def _write(self, trainer: Trainer, module: LightningModule, epoch: int | None) -> None:
        assert isinstance(module, TrainingModule)
        if trainer.is_global_zero:
            path = Path(fill_epoch(self.path, epoch))
            write_model(path, original_network(path, module.model))
            log.info("model written to %s", path)
