"""Whether rows with one modality and rows with two find each other in one pool."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from bidnn.errors import UserError
from bidnn.evaluation.labels import labelled
from bidnn.evaluation.retrieval import (
    Relevance,
    SparseMatrix,
    by_judgement,
    by_label,
    retrieve,
)

KINDS: Mapping[str, tuple[bool, bool]] = {
    "complete": (True, True),
    "first-only": (True, False),
    "second-only": (False, True),
}
"""Which modalities a row of each kind has."""
SAMPLE = 2000
LEAST = 20
DEPTH = 10


@dataclass(frozen=True, slots=True)
class Found:
    """What queries of one kind find among their ten nearest.

    Attributes:
        shares: by kind of row, its share of the ten nearest as a multiple of its share of the pool
            without the query: 1 is fair, below 1 the kind is buried.
        ndcg: nDCG@10 by label; NaN without labels.
        pair_recall: of a query with one modality, how often the same item with the other one is
            among the ten nearest; NaN where no item is there in both ways.
    """

    shares: dict[str, float]
    ndcg: float
    pair_recall: float

    def metrics(self) -> dict[str, float]:
        """What is known, by name: `ndcg@10`, `pair_recall@10`, `share KIND`."""
        own = {"ndcg@10": self.ndcg, "pair_recall@10": self.pair_recall}
        own |= {f"share {kind}": share for kind, share in self.shares.items()}
        return {name: value for name, value in own.items() if not math.isnan(value)}


def mixed_pool(
    vectors: ArrayLike,
    present: ArrayLike,
    labels: ArrayLike | SparseMatrix | None = None,
    items: ArrayLike | None = None,
    seed: int = 0,
) -> dict[str, Found]:
    """Searches one pool with as many rows of each kind by cosine, each row a query.

    Without equal numbers, a kind could be found often for being common. Tied rows count with the
    expected value over the orders of the tie, as in `retrieve`.

    Args:
        vectors: (rows, size) finite.
        present: (rows, 2) bool; rows without any modality are left out.
        labels: one for each row, or a sparse indicator matrix (rows, labels); None for none. Rows
            without one (see `labelled`) are no queries of nDCG, nor among what is searched for it.
        items: (rows,), the same for rows that show the same item in different ways; None: all
            rows are different items.
        seed: of the sample; at most 2000 of each kind, the same items of each where they are there.

    Returns:
        By kind of query, those that there are rows of.

    Raises:
        ValueError: if there are rows of one kind only, or fewer than 20 of a kind.
    """
    values, there = np.asarray(vectors), np.asarray(present, dtype=bool)
    items = np.arange(len(values)) if items is None else np.asarray(items)
    for name, given in (("present", there), ("items", items)):
        if len(given) != len(values):
            raise UserError(f"{name}: {len(given)} rows, but there are {len(values)} vectors")
    if reason := no_pool(there):
        raise UserError(reason)
    kinds = _kinds(there)
    pool, kind = _thirds(kinds, items, seed)
    names, values, items = list(kinds), values[pool], items[pool]
    shares = {name: _at_ten(values, _of_kind(kind == k))[0] for k, name in enumerate(names)}
    ndcg, pairs = np.full((2, len(pool)), np.nan)
    if labels is not None:
        own: Any
        if sparse.issparse(labels):
            own = sparse.csr_array(labels)[pool]
            known = np.diff(own.indptr) > 0
        else:
            own = np.asarray(labels)[pool]
            known = labelled(own)
        if known.any():
            ndcg[known] = _at_ten(values[known], by_label(own[known], own[known]))[1]
    halves = _other_halves(items, there[pool])
    if halves.nnz:
        pairs = _at_ten(values, by_judgement(halves))[2]
    found = {}
    for k, name in enumerate(names):
        rest = {other: np.sum(kind == o) - (o == k) for o, other in enumerate(names)}
        found[name] = Found(
            {
                other: float(shares[other][kind == k].mean() * (len(pool) - 1) / rest[other])
                for other in names
            },
            _mean(ndcg[kind == k]),
            _mean(pairs[kind == k]),
        )
    return found


def no_pool(present: NDArray[np.bool_]) -> str:
    """Why `mixed_pool` refuses rows with these modalities, (rows, 2); empty if it does not."""
    kinds = _kinds(present)
    if len(kinds) < 2:
        return (
            f"all rows are {next(iter(kinds), 'without any modality')}; a mixed pool needs rows of "
            "two kinds at least: complete, first-only, second-only"
        )
    few = [f"{len(rows)} {name}" for name, rows in kinds.items() if len(rows) < LEAST]
    return f"{few[0]} rows are too few to say how they are found" if few else ""


def _kinds(present: NDArray[np.bool_]) -> dict[str, NDArray[np.int64]]:
    """The numbers of the rows of each kind that there is."""
    kinds = {name: np.flatnonzero((present == has).all(axis=1)) for name, has in KINDS.items()}
    return {name: rows for name, rows in kinds.items() if len(rows)}


def _thirds(
    kinds: Mapping[str, NDArray[np.int64]], items: NDArray[np.generic], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Equally many rows of each kind, and the number of each row's kind.

    Items are taken in one random order for all kinds, so that what shows the same item stays.
    """
    count = min(SAMPLE, *map(len, kinds.values()))
    codes = np.unique(items, return_inverse=True)[1].ravel()
    order = np.random.default_rng(seed).permutation(codes.max() + 1)[codes]
    chosen = [rows[np.argsort(order[rows], kind="stable")[:count]] for rows in kinds.values()]
    return np.concatenate(chosen), np.repeat(np.arange(len(kinds)), count)


def _of_kind(kind: NDArray[np.bool_]) -> Relevance:
    """Relevant to every query is what is of a kind."""
    size = len(kind)
    return Relevance((size, size), lambda rows: np.tile(kind, (len(range(size)[rows]), 1)))


def _other_halves(items: NDArray[np.generic], there: NDArray[np.bool_]) -> sparse.csr_array:
    """(rows, rows): relevant to a row with one modality is its item with only the other one."""
    codes = np.unique(items, return_inverse=True)[1].ravel()
    place = (np.arange(len(items)), codes)
    shape = (len(items), int(codes.max()) + 1)
    first, second = (
        sparse.csr_array(((there == has).all(axis=1), place), shape=shape)
        for has in (KINDS["first-only"], KINDS["second-only"])
    )
    halves = sparse.csr_array(first @ second.T + second @ first.T)
    halves.eliminate_zeros()
    return halves


def _at_ten(
    vectors: NDArray[np.generic], relevance: Relevance
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Precision, nDCG and recall at ten of each query, NaN where nothing is relevant."""
    scores = retrieve(vectors, vectors, relevance, exclude_self=True, cutoffs=(DEPTH,))
    return scores.precision[:, 0], scores.ndcg[:, 0], scores.recall[:, 0]


def _mean(values: NDArray[np.float64]) -> float:
    """Over the queries that have something to find."""
    counted = values[~np.isnan(values)]
    return float(counted.mean()) if len(counted) else float("nan")
