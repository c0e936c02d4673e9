"""Tells whoever tunes a training what it is worth so far."""

from collections.abc import Callable

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from bidnn.data.datamodule import PairDataModule
from bidnn.training.callbacks.explained import explained_variance, found_again, looked_at
from bidnn.training.module import TrainingModule

PARTS = 10
"""Of a training: after each but the last it is told."""


class TellObjective(Callback):
    """Measures the objective after every tenth of the training, and tells it.

    Parts, not epochs, so that trainings of other batch sizes can be compared. Without an end in
    epochs or steps there are none; nor is what a training knows only at its end (`map/…`) told. Of
    the training's own losses, those of the epoch before are.
    """

    by_chunks = True

    def __init__(self, objective: str, tell: Callable[[int, float], None]) -> None:
        """Has told nothing yet.

        Args:
            objective: the metric.
            tell: gets the number of the part, from 1, and the value; what it raises ends the
                training.
        """
        self.objective, self.tell = objective, tell
        self._told = 0

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tells, if a further part is done."""
        assert isinstance(pl_module, TrainingModule)
        part = int(PARTS * share_done(trainer) + 1e-9)
        if not self._told < part < PARTS:
            return
        self._told = part
        value = self._value(trainer, pl_module)
        if value is not None:
            self.tell(part, value)

    def _value(self, trainer: Trainer, module: TrainingModule) -> float | None:
        group, _, name = self.objective.rpartition("/")
        if self.objective == "agreement" or group == "explained":
            store, rows, _held = looked_at(PairDataModule.of(trainer))
            if group == "explained":
                return explained_variance(module.ready_model(), store, rows).get(name)
            near = found_again(module.ready_model(), store, rows)
            return None if near is None else near[0]
        found = trainer.callback_metrics.get(self.objective)
        return None if found is None else float(found)


def share_done(trainer: Trainer) -> float:
    """How much of a training is done at the end of an epoch; 0 if it has no end that is known."""
    epochs, steps = trainer.max_epochs or 0, trainer.max_steps
    by_epochs = (trainer.current_epoch + 1) / epochs if epochs > 0 else 0.0
    by_steps = trainer.global_step / steps if steps > 0 else 0.0
    return max(by_epochs, by_steps)
