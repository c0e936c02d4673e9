"""How many nearest rows are of a row's kind, by what both modalities say of it."""

import logging

import numpy as np
from numpy.typing import NDArray

from bidnn.evaluation.agreement import NEIGHBOURS, agreement
from bidnn.training.diffusion.graphs import Rows, nearest

TRIED = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 17, 20)
"""Neighbours of a complete row, from which the number in which modalities agree most is chosen."""
LEAST = 5
"""Neighbours that rows of a graph have at least."""
LOOKED_AT = 2000
"""Complete rows at most, spread evenly."""
CLEAR = 5.0
"""Standard deviations above chance from which an agreement tells anything."""
AS_GOOD = 0.98
"""Share of the best agreement from which a larger number is as good: copies agree on any number."""

log = logging.getLogger(__name__)


def neighbours_of_a_kind(prepared: list[Rows], there: NDArray[np.bool_]) -> int:
    """How many nearest rows a row is joined to, so that these are of its kind, mostly.

    At most half the root of the rows, and half of a kind, if both modalities tell it: the share
    of a row's nearest complete rows by one modality that are among its nearest by the other, less
    chance, grows with their number up to that of the rows of a kind, and falls beyond. Where rows
    miss a modality, a kind has as many more rows than complete ones as all rows that have a
    modality are more.

    Args:
        prepared: both modalities, (rows, size) of unit length.
        there: (rows, 2) bool.

    Returns:
        5 to 10; 10 for 361 rows and more, of kinds that are large or not told.
    """
    most = int(np.clip(round(len(there) ** 0.5 / 2), LEAST, NEIGHBOURS))
    whole = np.flatnonzero(there.all(axis=1))
    rows = whole[:: -(-len(whole) // LOOKED_AT)] if len(whole) else whole
    tried = [count for count in TRIED if count < len(rows) - 1]
    if not tried:
        return most
    first, second = (nearest(part[rows], None, tried[-1])[1] for part in prepared)
    shares = np.array([agreement(first[:, :count], second[:, :count]) for count in tried])
    chance = np.array(tried) / (len(rows) - 1)
    beyond = (shares - chance) / (1 - chance)
    best = int(np.argmax(beyond))
    deviation = np.sqrt(chance[best] / (len(rows) * tried[best]))
    if shares[best] < chance[best] + CLEAR * deviation:
        return most
    agreed = tried[int(np.flatnonzero(beyond >= AS_GOOD * beyond[best])[-1])]
    of_a_kind = agreed * int(there.sum()) / (2 * len(rows))
    count = max(LEAST, round(of_a_kind / 2))
    if count < most:
        log.info("neighbours: modalities agree most on the nearest %d", agreed)
    return min(count, most)
