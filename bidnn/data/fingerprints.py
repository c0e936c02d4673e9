"""What tells whether a row is still the same: a number made of all that was read of it."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from bidnn.data.store import PairStore


def fingerprints(store: PairStore, rows: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """BLAKE2b, of 64 bits, of which modalities a row has and of their values as float32.

    Equal rows have equal ones in whichever file, format or order they are; of two rows that differ
    one in 2^64 pairs has.

    Args:
        store: where the rows are.
        rows: their numbers; None: all.

    Returns:
        (rows,) int64.
    """
    count = len(store) if rows is None else len(rows)
    found = np.empty(count, np.int64)
    for part in store.cut(count):
        numbers: NDArray[np.int64] | slice = part if rows is None else rows[part]
        first, second = store.take(numbers)
        flags = np.ascontiguousarray(store.present[numbers])
        for place, row in enumerate(zip(flags, first + 0.0, second + 0.0, strict=True), part.start):
            digest = hashlib.blake2b(digest_size=8)
            for values in row:
                digest.update(values.data)
            found[place] = int.from_bytes(digest.digest(), "little", signed=True)
    return found
