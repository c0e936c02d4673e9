"""What a diffusion head learns from."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Taught(NamedTuple):
    """Rows of a store, and where they lie among their neighbours.

    Attributes:
        rows: numbers of the rows that train.
        coordinates: (rows of the store, size) float32, what is to be predicted; zeros where there
            are none.
        held: numbers of rows with both modalities that have coordinates, but train nothing.
    """

    rows: NDArray[np.int64]
    coordinates: NDArray[np.float32]
    held: NDArray[np.int64] = np.empty(0, dtype=np.int64)
