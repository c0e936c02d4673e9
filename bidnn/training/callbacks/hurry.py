"""A word on compiled steps, where what they save is worth their compiling."""

import logging
import time

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from bidnn.data.datamodule import PairDataModule
from bidnn.training.compiled import has_compiler
from bidnn.training.module import TrainingModule
from bidnn.training.speed import SMALL_STEP, WORTH_S, Bf16, SpeedConfig

log = logging.getLogger(__name__)

SHARE = 0.4
"""Of a plain step's time that `speed=fast` saves at least (`make bench`: 0.5 to 0.6)."""
COMPILING_S = WORTH_S
"""What compiling takes, on a slow machine."""
WORTH_A_WORD_S = 120.0
"""What must be saved for a word."""


class Hurry(Callback):
    """Measures the first seconds of a training, once.

    Nothing is changed by what it measures: compiled steps round otherwise, and the same settings
    would give other bytes on a faster machine (`speed.compile` says what is chosen without it).
    """

    by_chunks = True

    def __init__(self, after_s: float = 10.0) -> None:
        """Measures nothing yet.

        Args:
            after_s: seconds to measure.
        """
        self.after_s = after_s
        self._said = False
        self._begun: tuple[float, int] | None = None

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """From the end of the first chunk, which is slower, to a later one."""
        if self._said or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, TrainingModule)
        if pl_module.stepper.compiles:
            self._said = True
            return
        now = time.monotonic()
        if self._begun is None:
            self._begun = now, trainer.global_step
        seconds, steps = now - self._begun[0], trainer.global_step - self._begun[1]
        if seconds < self.after_s or not steps:
            return
        self._said = True
        left = (pl_module.steps() - trainer.global_step) * seconds / steps
        if SHARE * left - COMPILING_S >= WORTH_A_WORD_S and _gains(pl_module):
            log.info(
                "%.3g ms a step, %d minutes of them left; %s takes 0.4 to 0.6 of that, after "
                "half a minute of compiling, and rounds otherwise",
                1000 * seconds / steps,
                round(left / 60),
                pl_module.words("speed", "fast"),
            )


def _gains(module: TrainingModule) -> bool:
    """Whether `speed=fast` saves that share: a large step gains by products in bf16, if at all."""
    operations = module.stepper.operations(PairDataModule.of(module.trainer).batch_size)
    small = operations < SMALL_STEP
    fast = SpeedConfig(bf16=Bf16.auto).takes_bf16(operations, module.device)
    return has_compiler(module.device) and (small or fast)
