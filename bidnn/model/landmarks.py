"""How near a row is to landmarks: inputs of a solved head that smooths over neighbourhoods.

A ridge regression on them is a kernel ridge regression, in the span of the landmarks (Williams and
Seeger, Using the Nyström method to speed up kernel machines, NIPS 2000); the landmarks are means of
clusters (Zhang, Tsang and Kwok, ICML 2008), so that no training row is kept.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bidnn.model.scaling import at_least_float32

LARGEST = 8192
"""Landmarks of a modality at most: solving takes their number to the third power."""
SHARPNESS = 3.0
"""The kernel of two rows is exp(SHARPNESS · (cosine − 1))."""
STRENGTH = 0.1
"""Of the ridge. What a row's neighbours say holds the row itself, so that cross-validation on
training rows would choose too little."""
JITTER = 1e-3
"""Added to the kernel's eigenvalues, 1 being the kernel of a row with itself."""
ROWS = 16384
"""Rows at most that the landmarks are found from."""
ROUNDS = 3
"""Of k-means."""


class Landmarks(nn.Module):
    """Landmarks of one modality; they say nothing until they are fitted."""

    points: Tensor
    basis: Tensor

    def __init__(self, count: int, size: int) -> None:
        """No landmarks yet.

        Args:
            count: how many there will be; fewer where rows are fewer.
            size: columns of the modality.
        """
        super().__init__()
        self.register_buffer("points", torch.zeros(count, size))
        self.register_buffer("basis", torch.zeros(count, count))

    def forward(self, values: Tensor) -> Tensor:
        """Coordinates whose inner products are the kernel's, as far as the landmarks can tell.

        Args:
            values: (rows, size), scaled.

        Returns:
            (rows, count), float32 at least.
        """
        rows = nn.functional.normalize(at_least_float32(values), dim=1)
        near = torch.exp(SHARPNESS * (rows @ self.points.to(rows.dtype).T - 1))
        return near @ self.basis.to(rows.dtype)

    def fit(self, values: NDArray[np.float32]) -> None:
        """Finds landmarks: directions of the means of clusters of rows.

        Args:
            values: (rows, size), scaled; all of them are landmarks if they are not more than those.
        """
        self.points.zero_()
        self.basis.zero_()
        lengths = np.linalg.norm(values, axis=1, keepdims=True)
        rows = (values / np.maximum(lengths, 1e-12))[lengths[:, 0] > 0]
        if not len(rows):
            return
        points = torch.from_numpy(_clustered(rows, len(self.points))).double()
        points = nn.functional.normalize(points, dim=1)
        near = torch.exp(SHARPNESS * (points @ points.T - 1))
        variances, axes = torch.linalg.eigh(near)
        count = len(points)
        self.points[:count].copy_(points)
        self.basis[:count, :count].copy_(axes / (variances.clamp_min(0.0) + JITTER).sqrt())


def _clustered(rows: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Means of as many clusters; the rows themselves if there are not more."""
    if len(rows) <= count:
        return rows
    from sklearn.cluster import MiniBatchKMeans

    kmeans = MiniBatchKMeans(
        count,
        init="random",
        max_iter=ROUNDS,
        n_init=1,
        batch_size=max(1024, 2 * count),
        random_state=0,
    )
    means: NDArray[np.float32] = kmeans.fit(rows).cluster_centers_.astype(np.float32)
    return means
