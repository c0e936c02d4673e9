"""Candidates among very many rows: faiss's inverted lists of product-quantised vectors.

Jégou, Douze, Schmid: Product quantization for nearest neighbor search. IEEE TPAMI 33(1), 2011.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bidnn.errors import UserError
from bidnn.search.nearest import nearest_among

CANDIDATES = 20
"""Candidates for each row that is asked for, which are then compared exactly."""
SHARE = 16
"""One in so many lists is looked at."""
LEAST = 8
"""Lists that are looked at, at least."""
POINTS = 39
"""Vectors for each centre that faiss wants to be trained on, at least."""
TAUGHT = 64
"""Vectors for each centre that it is trained on; more find no more, and take as much longer."""
PRODUCT = 2**16
"""Vectors that the quantiser of products is trained on, at most."""
BLOCK = 2**17


@dataclass(frozen=True, slots=True)
class Lists:
    """Inverted lists.

    Attributes:
        index: faiss's.
        path: the file that it is mapped from; None: it is in memory.
    """

    index: Any
    path: Path | None = None

    def __len__(self) -> int:
        """How many rows are in them."""
        return int(self.index.ntotal)

    def nearest(
        self,
        queries: NDArray[np.float32],
        vectors: NDArray[np.float32],
        k: int,
        allowed: NDArray[np.bool_] | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """As `bidnn.search.nearest.nearest`, among what the lists find."""
        wanted = min(len(self), CANDIDATES * k)
        params = None
        if allowed is not None:
            faiss = import_faiss()
            selected = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
            params = faiss.SearchParametersIVF(sel=selected, nprobe=self.index.nprobe)
        _, found = self.index.search(np.ascontiguousarray(queries), wanted, params=params)
        return nearest_among(queries, vectors, found, k)

    def grown(self, vectors: NDArray[np.float32], places: NDArray[np.int64] | range) -> Self:
        """With further rows.

        Args:
            vectors: of all rows.
            places: (further rows,) their numbers; those that are there already are replaced.
        """
        faiss = import_faiss()
        if self.path is not None:
            index = faiss.read_index(str(self.path))
        else:
            index = faiss.clone_index(self.index)
        if not isinstance(places, range):
            index.remove_ids(places[places < len(self)])
        for start in range(0, len(places), BLOCK):
            part = np.asarray(places[start : start + BLOCK])
            index.add_with_ids(np.array(vectors[part], np.float32), part)
        return type(self)(index)

    def write(self, path: Path) -> None:
        """Writes them, for `open_lists`."""
        import_faiss().write_index(self.index, str(path))


def build_lists(vectors: NDArray[np.float32]) -> Lists:
    """Makes lists of rows of unit length: some four times the square root of their number."""
    faiss = import_faiss()
    rows, size = vectors.shape
    count = max(1, min(int(4 * rows**0.5), rows // POINTS))
    parts = next(n for n in range(max(1, size // 4), 0, -1) if size % n == 0)
    bits = max(4, min(8, int(np.log2(max(16, rows // POINTS)))))
    index = faiss.index_factory(size, f"IVF{count},PQ{parts}x{bits}", faiss.METRIC_INNER_PRODUCT)
    taught = np.random.default_rng(0).permutation(rows)[: max(TAUGHT * count, PRODUCT)]
    index.train(np.array(vectors[np.sort(taught)], np.float32))
    _add(index, vectors)
    index.nprobe = max(LEAST, count // SHARE)
    return Lists(index)


def open_lists(path: Path) -> Lists:
    """Maps lists that `Lists.write` wrote."""
    faiss = import_faiss()
    index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
    return Lists(index, path)


def import_faiss() -> Any:  # noqa: ANN401 — a module
    """faiss, which only indexes of very many rows need.

    Raises:
        UserError: if it is not installed.
    """
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # it tells what it tries to load
    try:
        import faiss
    except ImportError as error:
        raise UserError(
            f"an index of so many rows needs faiss, and it cannot be imported ({error}); "
            "pip install 'bidnn[search]'"
        ) from error
    return faiss


def _add(index: Any, vectors: NDArray[np.float32]) -> None:  # noqa: ANN401 — faiss's
    for start in range(0, len(vectors), BLOCK):
        index.add(np.array(vectors[start : start + BLOCK], np.float32))
