"""NumPy files, read whole and closed again."""

import numpy as np


def arrays(path):
    """The array of an npy file, or a dictionary of those of an npz file."""
    found = np.load(path)
    if isinstance(found, np.ndarray):
        return found
    with found:
        return dict(found)
