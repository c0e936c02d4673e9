"""Scores of rankings with ties: each is the expected value over all orders of the tied documents.

A tie group stands after `before` documents, `found` of them relevant, and has `size` documents,
`relevant` of them relevant. In a random order each of its places holds a relevant document with
probability relevant / size, which gives precision, recall and nDCG at once (McSherry and Najork,
Computing information retrieval performance measures efficiently in the presence of tied scores,
ECIR 2008). At place i of the group, if it is relevant, found + 1 + (i - 1) · (relevant - 1) /
(size - 1) relevant documents are expected up to there; summed over places, with H the harmonic
numbers and h = H(before + size) - H(before), the group adds to the average precision

    relevant / size · [(found + 1) · h + (relevant - 1) / (size - 1) · (size - (before + 1) · h)].

Its first relevant document is expected at place (size + 1) / (relevant + 1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidnn.errors import UserError

CUTOFFS = (1, 5, 10)


@dataclass(frozen=True, slots=True, eq=False)
class RetrievalScores:
    """Scores of each query, NaN for queries without any relevant document, and their means.

    Attributes:
        cutoffs: the k of the metrics at k.
        average_precision: (queries,) in [0, 1].
        first_rank: (queries,) expected rank of the first relevant document, from 1; infinite where
            no relevant document is in the collection.
        precision: (queries, cutoffs) in [0, 1]; divided by k even where fewer documents exist.
        recall: (queries, cutoffs) in [0, 1].
        ndcg: (queries, cutoffs) in [0, 1]; gain 1 for relevant, discount log2(1 + rank).
    """

    cutoffs: tuple[int, ...]
    average_precision: NDArray[np.float64]
    first_rank: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    ndcg: NDArray[np.float64]

    @property
    def counted(self) -> NDArray[np.bool_]:
        """(queries,) whether a query has a relevant document; the others are left out of means."""
        return ~np.isnan(self.average_precision)

    @property
    def mean_average_precision(self) -> float:
        """In [0, 1]; NaN if no query has a relevant document."""
        counted = self.average_precision[self.counted]
        return float(counted.mean()) if len(counted) else float("nan")

    def metrics(self) -> dict[str, float]:
        """Means by name: map, median_rank, precision@k, recall@k, ndcg@k, queries, left_out.

        `queries` counts those that have a relevant document, `left_out` those that have none; where
        there are no queries, all other metrics are NaN.
        """
        counted = self.counted
        queries = int(counted.sum())
        ranks = self.first_rank[counted]
        metrics = {
            "map": self.mean_average_precision,
            "median_rank": float(np.median(ranks)) if queries else float("nan"),
        }
        for name in ("precision", "recall", "ndcg"):
            values = getattr(self, name)[counted]
            for column, k in enumerate(self.cutoffs):
                mean = float(values[:, column].mean()) if queries else float("nan")
                metrics[f"{name}@{k}"] = mean
        return metrics | {"queries": queries, "left_out": len(counted) - queries}


def score_rows(
    scores: ArrayLike, relevant: ArrayLike, cutoffs: Sequence[int] = CUTOFFS
) -> RetrievalScores:
    """Scores rankings that are given as one score for each query and document.

    Args:
        scores: (queries, documents) numbers, larger for better; equal ones are tied.
        relevant: (queries, documents) bool.
        cutoffs: the k of precision, recall and nDCG at k.

    Raises:
        ValueError: if the shapes differ, a score is NaN or a cutoff is below 1.
    """
    values, marks = np.asarray(scores), np.asarray(relevant, dtype=bool)
    if values.ndim != 2 or values.shape != marks.shape:
        raise UserError(f"scores of shape {values.shape}, relevance of shape {marks.shape}")
    if np.isnan(values).any():
        raise UserError("scores: a NaN has no rank")
    codes = np.unique(values, return_inverse=True)[1].reshape(values.shape)
    ranker = Ranker(values.shape[1], cutoffs)
    return ranker.scores([ranker.measure(codes.astype(np.int32), marks)])


def average_precision(scores: ArrayLike, relevant: ArrayLike) -> float:
    """The mean, over relevant documents, of the precision at their ranks.

    Args:
        scores: (documents,) numbers, larger for better; equal ones are tied.
        relevant: (documents,) bool.

    Returns:
        In [0, 1]; NaN if nothing is relevant.

    Raises:
        ValueError: if the shapes differ or a score is NaN.
    """
    return score_rows(np.asarray(scores)[None], np.asarray(relevant)[None]).mean_average_precision


class Ranker:
    """Measures rankings of a number of documents; holds the tables that all queries share."""

    def __init__(self, documents: int, cutoffs: Sequence[int]) -> None:
        """Prepares the tables.

        Args:
            documents: how many are ranked for each query.
            cutoffs: the k of precision, recall and nDCG at k.

        Raises:
            ValueError: if a cutoff is below 1.
        """
        if any(k < 1 for k in cutoffs):
            raise UserError(f"cutoffs={tuple(cutoffs)}: must be at least 1")
        self.cutoffs = tuple(cutoffs)
        ranks = np.arange(1, documents + 1)
        self._harmonic = np.concatenate([[0.0], np.cumsum(1.0 / ranks)])
        self._discount = _discounts(min(documents, max(cutoffs, default=0)))

    def measure(
        self,
        similarity: NDArray[np.int32],
        relevant: NDArray[np.bool_],
        outside: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]:
        """Scores of a block of queries.

        Args:
            similarity: (queries, documents) integers within ±2²⁹, larger for better.
            relevant: (queries, documents).
            outside: (queries,) relevant documents that are not among the documents.

        Returns:
            (queries, 2 + 3 · cutoffs) columns for `scores`, NaN where nothing is relevant.
        """
        # Similarity and relevance in one integer: sorting it is several times as fast as sorting
        # an order of documents, and leaves the relevant ones of a tie side by side.
        keys = -2 * similarity
        keys |= relevant
        keys.sort(axis=1)
        query, before, size, found, hits = _tie_groups(keys)

        def summed(values: NDArray[Any]) -> NDArray[np.float64]:
            sums = np.bincount(query, weights=values, minlength=len(keys))
            return np.asarray(sums, dtype=np.float64)

        total = summed(hits) + (0 if outside is None else outside)
        counts = np.maximum(total, 1)
        share = hits / size
        h = self._harmonic[before + size] - self._harmonic[before]
        spread = (hits - 1) / np.maximum(size - 1, 1)
        precisions = share * ((found + 1) * h + spread * (size - (before + 1) * h))
        first = np.full(len(keys), np.inf)
        leads = found == 0
        first[query[leads]] = (before + (size + 1) / (hits + 1))[leads]

        needed = min(int(counts.max(initial=1)), max(self.cutoffs, default=0))
        if needed >= len(self._discount):  # with relevant ones that are not among the documents
            self._discount = _discounts(needed)
        at_cutoffs: list[tuple[NDArray[np.float64], ...]] = []
        for k in self.cutoffs:
            start, last = np.minimum(before, k), np.minimum(before + size, k)
            expected = summed(share * (last - start))
            gain = summed(share * (self._discount[last] - self._discount[start]))
            ideal = self._discount[np.minimum(counts, k).astype(np.int64)]
            at_cutoffs.append((expected / k, expected / counts, gain / ideal))
        columns = [column for kind in zip(*at_cutoffs, strict=True) for column in kind]
        measured = np.stack([summed(precisions) / counts, first, *columns], axis=1)
        measured[total == 0] = np.nan
        return measured

    def scores(self, measured: Sequence[NDArray[np.float64]]) -> RetrievalScores:
        """All blocks that `measure` returned, in order."""
        many = len(self.cutoffs)
        table = np.concatenate([np.empty((0, 2 + 3 * many)), *measured])
        precision, recall, ndcg = (table[:, 2 + i * many : 2 + (i + 1) * many] for i in range(3))
        return RetrievalScores(self.cutoffs, table[:, 0], table[:, 1], precision, recall, ndcg)


def _discounts(ranks: int) -> NDArray[np.float64]:
    """Sums of 1 / log2(1 + rank) over the first 0, 1, … ranks."""
    steps = 1.0 / np.log2(np.arange(1, ranks + 1) + 1.0)
    return np.concatenate([[0.0], np.cumsum(steps)])


class _TieGroups(NamedTuple):
    """Tie groups that hold a relevant document, in order of their query and rank."""

    query: NDArray[np.int64]
    before: NDArray[np.int64]
    size: NDArray[np.int64]
    found: NDArray[np.int64]
    relevant: NDArray[np.int64]


def _tie_groups(keys: NDArray[np.int32]) -> _TieGroups:
    """The groups of sorted keys (queries, documents), whose lowest bit is the relevance."""
    queries, documents = keys.shape
    row_starts = np.arange(queries) * documents
    flat = keys.ravel()
    marked = np.flatnonzero(flat & 1)
    query = np.repeat(
        np.arange(queries), np.diff(np.searchsorted(marked, row_starts), append=len(marked))
    )
    key = flat[marked]
    leads = np.ones(len(marked), bool)
    leads[1:] = (key[1:] != key[:-1]) | (query[1:] != query[:-1])
    lead = np.flatnonzero(leads)
    relevant = np.diff(lead, append=len(marked))
    found = lead - np.searchsorted(marked, row_starts)[query[lead]]
    query, key, place = query[lead], key[lead], marked[lead]
    start = place.copy()
    # The irrelevant documents of a tie stand just before its relevant ones, their key less by one.
    # What stands before the first of a row is of another row, and the search does not go there.
    tied = np.flatnonzero(flat[place - 1] == key - 1)
    if len(tied):
        row_keys = (keys + (np.arange(queries)[:, None] << 32)).ravel()
        start[tied] = np.searchsorted(row_keys, key[tied] - 1 + (query[tied] << 32))
    return _TieGroups(query, start - row_starts[query], place + relevant - start, found, relevant)
