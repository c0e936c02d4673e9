"""Tells of trainings that fail in silence: targets out of reach, and identical outputs."""

import logging
from typing import Any

import numpy as np
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from torch import Tensor

from bidnn.data.datamodule import PairDataModule
from bidnn.data.store import PairStore
from bidnn.doctor.scale import outside
from bidnn.model.model import Model
from bidnn.training.advice import SETTINGS, Words, offer
from bidnn.training.module import TrainingModule

log = logging.getLogger(__name__)

SAMPLE, SAMPLE_BYTES = 4096, 64 * 2**20


class CollapseCheck(Callback):
    """Warns of targets that the output activation cannot reach, and of collapsed translations.

    The first before training; the second, identical outputs for all rows (v-v/BiDNN#3), in it.
    """

    def __init__(self, rows: int = 256, relative_spread: float = 1e-4) -> None:
        """Sets how closely it looks.

        Args:
            rows: complete rows that are translated for the check in training.
            relative_spread: outputs whose deviation over rows is less than this share of the
                targets' count as identical.
        """
        self.rows, self.relative_spread = rows, relative_spread
        self._sample: tuple[Tensor, Tensor] | None = None
        self._told: set[str] = set()

    def state_dict(self) -> dict[str, Any]:
        """What it has told."""
        return {"told": sorted(self._told)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Does not tell it again."""
        self._told = set(state_dict["told"])

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks at the targets."""
        assert isinstance(pl_module, TrainingModule)
        data = PairDataModule.of(trainer)
        if not len(data.complete_rows):
            return
        self._sample = _sample(pl_module.model, data.store, data.complete_rows[: self.rows])
        if trainer.is_global_zero:
            words = pl_module.words
            for line in unreachable(pl_module.model, data.store, data.complete_rows, words):
                log.warning(line)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks at outputs after epochs 1, 2, 4, 8 … and every hundredth."""
        epoch = trainer.current_epoch + 1
        if (epoch & (epoch - 1) and epoch % 100) or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, TrainingModule)
        assert self._sample is not None
        for name in self._identical(pl_module.model, *self._sample):
            if name in self._told:
                continue
            self._told.add(name)
            both = offer(pl_module.model, pl_module.words, "scaling", "output")
            rate = f"a smaller {pl_module.words('optimizer.lr', None)}"
            log.warning(
                "epoch %d: every row gets the same %s modality by translation; usually helps: %s",
                epoch,
                name,
                ", or ".join([" with ".join(both), rate] if both else [rate]),
            )

    def _identical(self, model: Model, first: Tensor, second: Tensor) -> list[str]:
        if len(first) < 2:
            return []
        model.eval()
        with torch.no_grad():
            to_second, to_first = (
                model.network.translate(first=first),
                model.network.translate(second=second),
            )
        model.train()
        pairs = {"second": (to_second, second), "first": (to_first, first)}
        return [
            name
            for name, (output, target) in pairs.items()
            if output.std(dim=0).max() < self.relative_spread * target.std(dim=0).max()
        ]


def unreachable(
    model: Model, store: PairStore, rows: NDArray[np.int64], words: Words = SETTINGS
) -> list[str]:
    """One line for each modality whose scaled targets lie outside the output activation's range.

    Args:
        model: with its scaling fitted.
        store: the rows.
        rows: numbers of the training rows; 4096 of them at most, or 64 MiB, evenly spread.
        words: how the caller writes a setting.
    """
    activation = model.network.config.output
    low, high = activation.reach
    sample = min(SAMPLE, store.rows_in(SAMPLE_BYTES))
    chosen = rows[:: -(-len(rows) // sample)]
    lines = []
    for name, values in zip(("first", "second"), _sample(model, store, chosen), strict=True):
        found = outside(values.float().cpu().numpy(), activation)
        if found.share:
            lines.append(
                f"{found.share:.1%} of the {name} modality's values lie outside what "
                f"{activation.value} can output, {low:g} to {high:g} (they range from "
                f"{found.low:.4g} to {found.high:.4g}), and can never be learned: set "
                f"{words('model.output_activation', 'linear')}, or {words('scaling', 'minmax')}"
            )
    return lines


def _sample(model: Model, store: PairStore, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    first, second = (
        torch.from_numpy(part).to(model.device, model.first_scaler.shift.dtype)
        for part in store.take(rows)
    )
    with torch.no_grad():
        return model.scale(first, second)
