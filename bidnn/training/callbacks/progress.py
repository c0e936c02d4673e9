"""One progress bar over the whole training, with loss and time left."""

import math
import sys

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from tqdm.auto import tqdm

from bidnn.data.datamodule import PairDataModule

KERNEL = "ipykernel.zmqshell"
"""A module that a notebook's kernel has imported; tqdm, too, knows one by it."""


class Progress(Callback):
    """Counts epochs, because a short epoch takes less time than drawing a bar."""

    by_chunks = True

    def __init__(self, refresh_s: float = 0.5) -> None:
        """Draws nothing yet.

        Args:
            refresh_s: seconds between updates on a terminal, or of the widget in a notebook;
                elsewhere a line every 30 seconds.
        """
        drawn_over = sys.stderr.isatty() or KERNEL in sys.modules
        self.interval = refresh_s if drawn_over else 30.0
        self._bar: tqdm[None] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the bar at the epoch where the training starts."""
        if not trainer.is_global_zero:
            return
        ends: list[float] = []
        if trainer.max_epochs is not None and trainer.max_epochs > 0:
            ends.append(trainer.max_epochs)
        if trainer.max_steps > 0:
            data = PairDataModule.of(trainer)
            ends.append(math.ceil(trainer.max_steps / data.batches))
        total = min(ends, default=None)
        self._bar = tqdm(
            total=total,
            initial=trainer.current_epoch,
            unit="epoch",
            mininterval=self.interval,
            dynamic_ncols=True,
            bar_format="{l_bar}{bar}| {n:.4g}/{total_fmt} epochs [{elapsed}<{remaining}{postfix}]",
        )

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Moves on to the end of the chunk, or of the batch; sums of parts would pass the whole."""
        if self._bar is not None:
            self._bar.n = trainer.current_epoch + (batch_idx + 1) / trainer.num_training_batches
            self._bar.update(0)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shows the newest losses, when it draws next."""
        bar = self._bar
        if bar is not None and bar._time() - bar.last_print_t >= self.interval:
            losses = {k: v for k, v in trainer.callback_metrics.items() if k.endswith("/loss")}
            bar.set_postfix({k: f"{float(v):.4g}" for k, v in losses.items()}, refresh=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Closes the bar, before outputs and reports are logged."""
        bar = self._bar
        if bar is not None and hasattr(bar, "container"):  # a widget, red if it stops short
            bar.total = bar.n
        self.teardown(trainer, pl_module, "fit")

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Closes the bar, before anything is said of the failure."""
        self.teardown(trainer, pl_module, "fit")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Closes the bar, however the training ended."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
