"""Early stopping by a metric that need not be new after every epoch."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor

from bidnn.errors import UserError


class StopEarly(EarlyStopping):
    """Lightning's early stopping, its patience counted in new values of the metric.

    A metric of `output.command` is there at its interval only, and one of held-out rows after every
    `trainer.check_val_every_n_epoch`; Lightning would count the epochs between as epochs without
    improvement.
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
        self._seen = False  # whether the metric of the checkpoint was looked at

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As Lightning's, but for the patience, which is the one that is set now."""
        patience = self.patience
        super().load_state_dict(state_dict)
        self.patience, self._seen = patience, state_dict.get("seen", False)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds whether the metric there is has been counted."""
        found = trainer.callback_metrics.get(self.monitor)
        seen = found is not None and found is self._last
        checkpoint["callbacks"][self.state_key]["seen"] = seen

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Counts no metric twice that a checkpoint brought."""
        if self._seen:
            self._last = trainer.callback_metrics.get(self.monitor)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks at the metric if it is new.

        Raises:
            ValueError: if it should be there by now and is not.
        """
        found = trainer.callback_metrics.get(self.monitor)
        due = max(self.first_epoch, trainer.check_val_every_n_epoch or 1)
        if found is None and trainer.current_epoch + 1 >= due:
            known = ", ".join(sorted(trainer.callback_metrics))
            raise UserError(f"early stopping by {self.monitor}: no such metric; there are {known}")
        if found is None or found is self._last:
            return
        self._last = found
        super().on_train_epoch_end(trainer, pl_module)
