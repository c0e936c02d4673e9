"""How well vectors find relevant vectors: mAP, precision, recall, nDCG and rank, block by block."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from bidnn.errors import UserError
from bidnn.evaluation.labels import labelled, labelled_rows
from bidnn.evaluation.ranking import CUTOFFS, Ranker, RetrievalScores
from bidnn.evaluation.similarity import Similarity, similarities

SparseMatrix: TypeAlias = sparse.sparray | sparse.spmatrix

PART_ELEMENTS = 2**18


@dataclass(frozen=True, slots=True, eq=False)
class Relevance:
    """Which documents are relevant to which query; made by `by_label`, `by_pair`, `by_judgement`.

    Attributes:
        shape: numbers of queries and documents.
        block: from a slice of the queries to a new bool array (queries of the slice, documents).
        outside: for each query, how many relevant documents are not among the documents, and so
            are never found; None for none.
    """

    shape: tuple[int, int]
    block: Callable[[slice], NDArray[np.bool_]]
    outside: NDArray[np.int64] | None = None


def by_label(queries: ArrayLike | SparseMatrix, documents: ArrayLike | SparseMatrix) -> Relevance:
    """Relevant is what has the query's label, or shares at least one label with it.

    A row without a label (see `labelled`) finds nothing, and is found by nothing.

    Args:
        queries: one label for each query, or a SciPy sparse indicator matrix (queries, labels).
        documents: the same for the documents.

    Raises:
        ValueError: if the two do not go together.
    """
    if sparse.issparse(queries) and sparse.issparse(documents):
        return _by_shared_label(queries, documents)
    if sparse.issparse(queries) or sparse.issparse(documents):
        raise UserError("labels: one side is a sparse matrix and the other is not")
    labels = [np.asarray(queries), np.asarray(documents)]
    if any(part.ndim != 1 for part in labels):
        raise UserError(
            f"labels of shapes {labels[0].shape} and {labels[1].shape}: an array holds one label "
            "for each row; for several give SciPy sparse indicator matrices"
        )
    both = np.concatenate(labels)
    known, codes = labelled(both), np.full(len(both), -1, np.int32)
    codes[known] = np.unique(both[known], return_inverse=True)[1]
    of_queries, of_documents = codes[: len(labels[0])], codes[len(labels[0]) :]
    of_documents[of_documents < 0] = -2  # nobody's
    return Relevance(
        (len(of_queries), len(of_documents)),
        lambda rows: of_queries[rows, None] == of_documents,
    )


def _by_shared_label(queries: SparseMatrix, documents: SparseMatrix) -> Relevance:
    if queries.shape[1] != documents.shape[1]:
        raise UserError(
            f"indicator matrices of {queries.shape[1]} labels for queries and {documents.shape[1]} "
            "for documents: both need the same columns"
        )
    of_queries = sparse.csr_array(queries, dtype=bool)
    of_labels = sparse.csr_array(sparse.csr_array(documents, dtype=bool).T)  # (labels, documents)
    return Relevance(
        (queries.shape[0], documents.shape[0]),
        lambda rows: (of_queries[rows] @ of_labels).toarray(),
    )


def by_pair(rows: int) -> Relevance:
    """Relevant to query i is document i alone, out of `rows` queries and documents."""
    return by_judgement(sparse.eye_array(rows, dtype=bool, format="csr"))


def by_judgement(
    matrix: ArrayLike | SparseMatrix, outside: NDArray[np.int64] | None = None
) -> Relevance:
    """Relevant is what a matrix marks.

    Args:
        matrix: SciPy sparse, or an array, (queries, documents); what is not zero is relevant.
        outside: see `Relevance`.
    """
    judged = sparse.csr_array(matrix, dtype=bool)
    return Relevance(judged.shape, lambda rows: judged[rows].toarray(), outside)


def retrieve(
    queries: ArrayLike,
    documents: ArrayLike,
    relevance: Relevance,
    *,
    exclude_self: bool,
    cutoffs: Sequence[int] = CUTOFFS,
    block_rows: int | None = None,
    similarity: Similarity = "cosine",
) -> RetrievalScores:
    """Ranks all documents for each query, and scores the rankings.

    Tied documents count with the expected value over the orders of the tie (see `ranking`), and
    what differs by less than float32 noise is tied (see `similarity`): vectors that are all equal
    score what chance scores. Time grows with queries · documents · (columns + log documents).

    Args:
        queries: (queries, columns) numbers; a zero vector has similarity 0 with everything.
        documents: (documents, columns) numbers.
        relevance: of the documents to the queries.
        exclude_self: queries and documents are the same rows, and none is to find itself.
        cutoffs: the k of precision, recall and nDCG at k.
        block_rows: queries compared at a time; None for as many as 256 MB hold. That, and a float32
            copy of the vectors, is the memory it takes. Changes no score.
        similarity: the cosine, or the dot product.

    Raises:
        ValueError: if shapes do not go together, a number is not finite, or a cutoff is below 1.
    """
    blocks = similarities(
        queries, documents, exclude_self=exclude_self, block_rows=block_rows, similarity=similarity
    )
    sizes = len(np.asarray(queries)), len(np.asarray(documents))
    if relevance.shape != sizes:
        raise UserError(
            f"relevance of {relevance.shape[0]} queries and {relevance.shape[1]} documents, but "
            f"there are {sizes[0]} and {sizes[1]} vectors"
        )
    ranker = Ranker(sizes[1], cutoffs)
    step = max(1, PART_ELEMENTS // max(1, sizes[1]))
    measured = []
    for rows, values in blocks:
        for start in range(rows.start, rows.stop, step):
            part = slice(start, min(start + step, rows.stop))
            relevant = relevance.block(part)
            if exclude_self:
                # The row itself stays, last and irrelevant, which changes no score.
                relevant[np.arange(len(relevant)), np.arange(part.start, part.stop)] = False
            outside = None if relevance.outside is None else relevance.outside[part]
            block = values[part.start - rows.start : part.stop - rows.start]
            measured.append(ranker.measure(block, relevant, outside))
    return ranker.scores(measured)


def mean_average_precision(vectors: ArrayLike, labels: ArrayLike) -> float:
    """Each row is a query by cosine against all others; rows with its label are relevant.

    Args:
        vectors: (rows, columns) numbers.
        labels: (rows,); rows without one (see `labelled`) are left out.

    Returns:
        In [0, 1]; NaN if no two rows have the same label.

    Raises:
        ValueError: as `retrieve`.
    """
    vectors, labels = labelled_rows(vectors, labels)
    relevance = by_label(labels, labels)
    return retrieve(vectors, vectors, relevance, exclude_self=True).mean_average_precision
