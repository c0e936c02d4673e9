"""The embedded example: scikit-learn's digits, upper and lower half as two modalities."""

import numpy as np

from bidnn.data.store import PairStore


def load_halves() -> PairStore:
    """1797 digits of 8 × 8 pixels, cut into two halves of 32 pixels each, in [0, 1].

    Labels are the digits 0 to 9.
    """
    from sklearn.datasets import load_digits  # here, because importing it takes long

    pixels, digits = load_digits(return_X_y=True)
    halves = (pixels / 16).astype(np.float32)
    present = np.ones((len(halves), 2), dtype=bool)
    return PairStore(halves[:, :32], halves[:, 32:], present, digits.astype(np.str_), "digits")
