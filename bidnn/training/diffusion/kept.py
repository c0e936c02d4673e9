"""What the diffusion head learns, kept in the run's folder: finding it takes its time."""

import hashlib
import logging
import time
from pathlib import Path

import numpy as np
from lightning.fabric.utilities.rank_zero import rank_zero_only
from numpy.typing import NDArray

from bidnn.data.datamodule import PairDataModule
from bidnn.files import readable, whole_file
from bidnn.training.diffusion.coordinates import diffusion_coordinates

log = logging.getLogger(__name__)

FILE = "checkpoints/coordinates.npy"


def kept_coordinates(
    size: int, data: PairDataModule, folder: Path | None, begun_with: str | None
) -> NDArray[np.float32]:
    """Finds coordinates and keeps them; those of a run that is resumed are read.

    Args:
        size: numbers of a row, the model's `rep`.
        data: the rows.
        folder: of the run; None keeps nothing.
        begun_with: the digest of those that the run was begun with, None for a run that begins;
            another run may have written its own in this folder since.

    Returns:
        (rows of the store, size).
    """
    kept = None if folder is None else folder / FILE
    if kept is not None and begun_with is not None and kept.is_file():
        with readable(kept, "npy file"):
            read = np.asarray(np.load(kept, mmap_mode="r"))
        if digest(read) == begun_with:
            return read
    started = time.perf_counter()
    # Rows that are held out lie on the graph, too, so that they can say how well it is predicted.
    found = diffusion_coordinates(data.store, data.scaling_rows, size, data.held_rows)
    log.info("neighbours found in %.1f s", time.perf_counter() - started)
    if kept is not None and getattr(rank_zero_only, "rank", 0) == 0:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(kept) as file:
            np.save(file, found)
        return np.asarray(np.load(kept, mmap_mode="r"))
    return found


def digest(coordinates: NDArray[np.float32]) -> str:
    """SHA-256 of all of them."""
    return hashlib.sha256(np.ascontiguousarray(coordinates).data).hexdigest()
