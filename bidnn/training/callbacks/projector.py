"""The embedding for TensorBoard's projector: a sample of its rows, with ids and labels."""

import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray

from bidnn.data.datamodule import PairDataModule
from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.files import whole_file
from bidnn.model.inference import infer
from bidnn.model.model import Model
from bidnn.training.module import TrainingModule
from bidnn.training.tensorboard import TensorBoard

log = logging.getLogger(__name__)

CONFIG = "projector_config.pbtxt"
VECTORS, ROWS = "projector/embedding.tsv", "projector/rows.tsv"
VALUES = 2**20
"""Of the vectors that are written, at the most: of very wide ones there are fewer."""
MISSING = ("none", "second", "first", "both")


class Projector(Callback):
    """Writes at the end what TensorBoard's projector shows in three dimensions."""

    def __init__(self, max_rows: int = 2000) -> None:
        """Writes nothing yet.

        Args:
            max_rows: a sample of so many rows, by the run's seed, of more, and of fewer where
                vectors are wider than some 500 values; 0: none.

        Raises:
            UserError: if it is negative.
        """
        if max_rows < 0:
            raise UserError(f"callbacks.projector.max_rows={max_rows}: must be at least 0")
        self.max_rows = max_rows

    def on_result(self, trainer: Trainer, module: TrainingModule) -> None:
        """Writes the files; if it cannot, says so, and the training ends as it would."""
        boards = TensorBoard.of(trainer)
        if not self.max_rows or not boards:
            return
        data, model = PairDataModule.of(trainer), module.ready_model()
        count = min(self.max_rows, max(1, VALUES // sum(model.halves)))
        rows, vectors = embedded_sample(model, data.store, count, data.seed)
        for board in boards:
            folder = Path(board.log_dir)
            try:
                write_projection(folder, vectors, data.store, rows)
            except OSError as error:
                reason = error.strerror or str(error)
                log.error("%s: the projector's files could not be written (%s)", folder, reason)


def embedded_sample(
    model: Model, store: PairStore, count: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Numbers of rows in their order, a sample if there are more than `count`; their vectors."""
    if len(store) > count:
        generator = np.random.default_rng([seed, 0x726F7773])
        rows = np.sort(generator.choice(len(store), count, replace=False))
    else:
        rows = np.arange(len(store))
    blocks = infer(model, store, rows=rows)
    vectors = [np.concatenate([block.left, block.right], axis=1) for block in blocks]
    width = sum(model.halves)
    return rows, np.concatenate([np.empty((0, width), dtype=np.float32), *vectors])


def write_projection(
    folder: Path, vectors: NDArray[np.float32], store: PairStore, rows: NDArray[np.int64]
) -> None:
    """Writes what the projector reads.

    Args:
        folder: of the run's events.
        vectors: (rows, columns).
        store: where the rows are of.
        rows: their numbers.

    Raises:
        OSError: if the folder cannot be written.
    """
    one = "\t".join(["%.6g"] * vectors.shape[1])
    _write(folder / VECTORS, (one % tuple(vector) for vector in vectors.tolist()))
    present = store.present[rows]
    missing = [MISSING[2 * (not first) + (not second)] for first, second in present.tolist()]
    columns = {
        **({} if store.labels is None else {"label": store.labels[rows].tolist()}),
        "id": (rows if store.ids is None else store.ids[rows]).tolist(),
        "missing": missing,
    }
    lines = zip(*columns.values(), strict=True)
    table = ("\t".join(" ".join(str(v).split()) or "-" for v in line) for line in lines)
    _write(folder / ROWS, ("\t".join(columns), *table))
    config = (
        "embeddings {",
        '  tensor_name: "embedding"',
        f'  tensor_path: "{VECTORS}"',
        f'  metadata_path: "{ROWS}"',
        "}",
    )
    _write(folder / CONFIG, config)


def _write(path: Path, lines: Iterable[str]) -> None:
    with whole_file(path) as file:
        file.write("".join(f"{line}\n" for line in lines).encode())
