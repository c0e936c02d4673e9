"""Early stopping by a metric that need not be new after every epoch."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor

from bidnn.errors import UserError


class StopEarly(EarlyStopping):
    """Lightning's early stopping, its patience counted in new values of the metric.

    A metric of `output.command` is there at its interval only; Lightning would count the epochs
    between as epochs without improvement.
    """

    def __init__(
        self,
        monitor: str,
        *,
        first_epoch: int = 0,
        **settings: Any,  # noqa: ANN401 — Lightning's
    ) -> None:
        """Takes Lightning's settings.

        Args:
            monitor: the metric.
            first_epoch: after which it must be there, from 1; before, it may still be missing.
            **settings: of lightning.pytorch.callbacks.EarlyStopping.
        """
        super().__init__(monitor, check_on_train_epoch_end=True, **settings)
        self.first_epoch = first_epoch
        self._last: Tensor | None = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks at the metric if it is new.

        Raises:
            ValueError: if it should be there by now and is not.
        """
        found = trainer.callback_metrics.get(self.monitor)
        if found is None and trainer.current_epoch + 1 >= self.first_epoch:
            known = ", ".join(sorted(trainer.callback_metrics))
            raise UserError(f"early stopping by {self.monitor}: no such metric; there are {known}")
        if found is None or found is self._last:
            return
        self._last = found
        super().on_train_epoch_end(trainer, pl_module)
