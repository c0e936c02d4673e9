"""Pictures of translations, for modalities that are pictures: given, true and translated half."""

import logging
from pathlib import Path

import numpy as np
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray

from bidnn.data.datamodule import PairDataModule
from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.files import whole_file
from bidnn.model.inference import OutputKind, infer
from bidnn.model.model import Model
from bidnn.training.callbacks.explained import DIRECTIONS, looked_at
from bidnn.training.module import TrainingModule
from bidnn.training.tensorboard import TensorBoard

log = logging.getLogger(__name__)

Shapes = tuple[list[int] | None, list[int] | None]
FILE = "translations.png"
SMALLEST = 48
"""Pixels that the shorter side of a part is drawn with, at least."""
GAP, PAPER = 4, 255


class Pictures(Callback):
    """Draws some rows, both ways: the half that is given, the true other half, the translated one.

    Held-out rows where there are any; only where `data.first_shape` or `data.second_shape` says
    how a modality is a picture.
    """

    def __init__(self, folder: str | Path | None, rows: int = 8, every_n_epochs: int = 0) -> None:
        """Draws nothing yet.

        Args:
            folder: of the run, for `translations.png`; None keeps no file.
            rows: that are drawn; 0: none.
            every_n_epochs: also in the training, for TensorBoard; 0: only in the end.

        Raises:
            UserError: if a number is negative.
        """
        for key, value in (("rows", rows), ("every_n_epochs", every_n_epochs)):
            if value < 0:
                raise UserError(f"callbacks.pictures.{key}={value}: must be at least 0")
        self.folder = None if folder is None else Path(folder)
        self.rows, self.every_n_epochs = rows, every_n_epochs

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """At the interval."""
        every, last = self.every_n_epochs, trainer.current_epoch + 1 == trainer.max_epochs
        if every and (trainer.current_epoch + 1) % every == 0 and not last:
            assert isinstance(pl_module, TrainingModule)
            self._show(trainer, pl_module.ready_model())

    def on_result(self, trainer: Trainer, module: TrainingModule) -> None:
        """At the end, also as a file."""
        drawn = self._show(trainer, module.ready_model())
        if not drawn or self.folder is None:
            return
        from PIL import Image

        path = self.folder / FILE
        try:
            with whole_file(path) as file:
                Image.fromarray(_beside(list(drawn.values()), 4 * GAP)).save(file, format="png")
        except OSError as error:
            log.error("%s: could not be written (%s)", path, error.strerror or error)
            return
        log.info("given, true and translated, %s: %s", " and ".join(drawn), path)

    def _show(self, trainer: Trainer, model: Model) -> dict[str, NDArray[np.uint8]]:
        data = PairDataModule.of(trainer)
        store, rows, _ = looked_at(data)
        if not trainer.is_global_zero or not self.rows or not len(rows) or not any(data.shapes):
            return {}
        spread = np.linspace(0, len(rows) - 1, min(self.rows, len(rows))).round().astype(int)
        drawn = draw(model, store, rows[spread], data.shapes)
        for board in TensorBoard.of(trainer):
            for name, picture in drawn.items():
                board.picture(f"translations/{name}", picture, trainer.global_step)
        return drawn


def draw(
    model: Model, store: PairStore, rows: NDArray[np.int64], shapes: Shapes
) -> dict[str, NDArray[np.uint8]]:
    """A grid for each direction, a row of the data in each of its rows.

    Args:
        model: trained.
        store: where the rows are.
        rows: numbers of complete rows.
        shapes: of both modalities as pictures; None: not one.

    Returns:
        (height, width, 3) by direction; its columns are the given modality if that is a picture,
        the true other one, and the translated other one. A direction whose target is no picture is
        left out. Black is the least and white the largest value of the modality in these rows.
    """
    true = store.take(rows)
    drawn = {}
    for source, name in enumerate(DIRECTIONS):
        target = 1 - source
        shape = shapes[target]
        if shape is None:
            continue
        present = np.zeros((len(rows), 2), dtype=bool)
        present[:, source] = True
        alone = PairStore(*true, present, name=store.name)
        blocks = list(infer(model, alone, OutputKind.crossmodal))
        made = np.concatenate([(b.left, b.right)[target] for b in blocks])
        low, high = float(true[target].min()), float(true[target].max())
        columns = [as_pictures(part, shape, low, high) for part in (true[target], made)]
        given = shapes[source]
        if given is not None:
            ends = float(true[source].min()), float(true[source].max())
            columns.insert(0, as_pictures(true[source], given, *ends))
        drawn[name] = _below([_beside([column[n] for column in columns]) for n in range(len(rows))])
    return drawn


def as_pictures(
    values: NDArray[np.float32], shape: list[int], low: float, high: float
) -> NDArray[np.uint8]:
    """Rows as pictures, whose pixels are squares.

    Args:
        values: (rows, height · width · channels).
        shape: (height, width) or (height, width, channels).
        low: what is black.
        high: what is white.

    Returns:
        (rows, height · k, width · k, 3).
    """
    pixels = values.reshape(len(values), *[*shape, 1][:3])
    grey = np.clip((pixels - low) / (high - low or 1.0), 0.0, 1.0)
    coloured = np.broadcast_to((255 * grey).round().astype(np.uint8), (*grey.shape[:3], 3))
    k = -(-SMALLEST // min(shape[:2]))
    return coloured.repeat(k, axis=1).repeat(k, axis=2)


def _beside(pictures: list[NDArray[np.uint8]], gap: int = GAP) -> NDArray[np.uint8]:
    """Pictures in a line with a gap between them, in the middle of its height."""
    height = max(len(picture) for picture in pictures)
    parts: list[NDArray[np.uint8]] = []
    for picture in pictures:
        spare = height - len(picture)
        edges = ((spare // 2, spare - spare // 2), (gap if parts else 0, 0), (0, 0))
        parts.append(np.pad(picture, edges, constant_values=PAPER))
    return np.concatenate(parts, axis=1)


def _below(lines: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    edges = ((0, GAP), (0, 0), (0, 0))
    padded = [np.pad(line, edges, constant_values=PAPER) for line in lines[:-1]]
    return np.concatenate([*padded, lines[-1]])
