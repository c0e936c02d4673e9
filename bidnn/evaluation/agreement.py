"""How far two representations of the same rows agree on who is near to whom."""

import numpy as np
from numpy.typing import NDArray


def agreement(near: NDArray[np.int64], others: NDArray[np.int64]) -> float:
    """The mean share of each row's neighbours in one that are its neighbours in the other too.

    The mutual k-nearest-neighbour alignment of Huh et al., The Platonic Representation Hypothesis,
    2024. No labels are needed; k / (rows − 1) is chance.

    Args:
        near: (rows, k) numbers of each row's neighbours, by one representation.
        others: (rows, k) likewise, by another.

    Returns:
        In [0, 1].
    """
    both = np.sort(np.concatenate([near, others], axis=1), axis=1)
    return float((both[:, 1:] == both[:, :-1]).sum() / near.size)
