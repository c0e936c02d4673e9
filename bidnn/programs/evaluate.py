"""scripts/evaluate.py: what the vectors in a file are worth, whoever wrote it."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import sparse

from bidnn.data.vectors import Vectors, read_vectors
from bidnn.errors import UserError
from bidnn.evaluation.classification import knn_accuracy, linear_probe_accuracy
from bidnn.evaluation.clustering import kmeans_scores
from bidnn.evaluation.comparability import comparability
from bidnn.evaluation.retrieval import Relevance, by_label, by_pair, retrieve
from bidnn.evaluation.trec import Named, rank_targets, read_qrels, score_by_qrels, write_run


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluates as the command line says; the last line printed is a JSON object of the figures."""
    given = _parse(arguments)
    try:
        figures = evaluate(given)
    except (UserError, OSError) as error:
        sys.stderr.write(f"evaluate: error: {error}\n")
        sys.exit(1)
    width = max(map(len, figures))
    lines = [f"{name:{width}}  {value:.4f}" for name, value in figures.items()]
    sys.stdout.write("\n".join([*lines, json.dumps(figures)]) + "\n")


def evaluate(given: argparse.Namespace) -> dict[str, float]:
    """The figures that the command line asks for.

    Raises:
        ValueError, OSError: naming what is wrong with a file.
    """
    queries = read_vectors(Path(given.file), given.array)
    documents = queries
    if given.documents is not None:
        documents = read_vectors(Path(given.documents), given.array)
    if given.qrels is not None:
        return _by_qrels(given, queries, documents)
    figures = _retrieval(given, queries, documents)
    if queries.labels is not None:
        if "clustering" in given.measures:
            scores = kmeans_scores(queries.values, queries.labels, given.clusters)
            figures |= {"accuracy": scores.accuracy.mean, "nmi": scores.nmi.mean}
            figures["ari"] = scores.ari.mean
        if "classification" in given.measures:
            figures["knn"] = knn_accuracy(queries.values, queries.labels)
            figures["probe"] = linear_probe_accuracy(queries.values, queries.labels).mean
    if "comparability" in given.measures:
        if queries.present is None:
            raise UserError(f"{given.file}: no array `present`, which comparability needs")
        report = comparability(queries.values, queries.present)
        for pair, spread in report.spreads.items():
            figures |= {f"cosine {pair}": spread.mean, f"deviation {pair}": spread.deviation}
        figures |= {f"favour {kind}": value for kind, value in report.favour.items()}
    return figures


def _retrieval(given: argparse.Namespace, queries: Vectors, documents: Vectors) -> dict[str, float]:
    same = documents is queries
    if given.by == "pair":
        if same:
            raise UserError("--by pair needs --documents: row i of both files is a pair")
        relevance: Relevance = by_pair(len(queries.values))
    elif queries.labels is None or documents.labels is None:
        raise UserError(f"{given.file}: no labels; --by pair or --qrels need none")
    else:
        relevance = by_label(*_label_forms(queries.labels, documents.labels))
    scores = retrieve(
        queries.values, documents.values, relevance, exclude_self=same, cutoffs=given.k
    )
    return {name: float(value) for name, value in scores.figures().items()}


def _label_forms(
    queries: np.ndarray, documents: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | tuple[sparse.csr_array, sparse.csr_array]:
    """Labels as they are, or as indicator matrices if tokens such as `3,7` name several."""
    both = np.concatenate([queries, documents])
    if not any("," in token for token in both):
        return queries, documents
    sets = [[label for label in token.split(",") if label] for token in both]
    names = {name: column for column, name in enumerate(sorted({n for s in sets for n in s}))}
    rows = np.repeat(np.arange(len(sets)), [len(labels) for labels in sets])
    columns = [names[label] for labels in sets for label in labels]
    shape = (len(sets), len(names))
    matrix = sparse.csr_array((np.ones(len(columns), bool), (rows, columns)), shape=shape)
    return matrix[: len(queries)], matrix[len(queries) :]


def _by_qrels(given: argparse.Namespace, anchors: Vectors, targets: Vectors) -> dict[str, float]:
    if given.documents is None or given.names is None or given.document_names is None:
        raise UserError("--qrels needs --documents, --names and --document-names")
    one = Named(_names(given.names), anchors.values)
    other = Named(_names(given.document_names), targets.values)
    if given.run is not None:
        write_run(Path(given.run), rank_targets(one, other))
    scores = score_by_qrels(one, other, read_qrels(Path(given.qrels)), given.k)
    return {name: float(value) for name, value in scores.figures().items()}


def _names(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").split()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="evaluate.py",
        description="Retrieval, clustering and classification figures of a file of vectors "
        "(.npz, .npy or libsvm). Every row is a query by cosine, against all others or against "
        "--documents. The last line is a JSON object, which scripts/train.py logs if this is its "
        "output.command.",
    )
    add = parser.add_argument
    add("file", help="vectors of the queries")
    add("--documents", metavar="FILE", help="vectors that are searched, if not the same")
    add("--array", default="embedding", help="name of the vectors in an npz file (embedding)")
    add(
        "--by", choices=["label", "pair"], default="label", help="what is relevant; 3,7: two labels"
    )
    add("--k", type=int, nargs="+", default=[1, 5, 10], help="cutoffs of precision, recall, nDCG")
    add(
        "--measures",
        nargs="*",
        default=[],
        choices=["clustering", "classification", "comparability"],
        help="beyond retrieval: k-means, k-NN and linear probe, complete against incomplete rows",
    )
    add("--clusters", type=int, help="for k-means; as many as labels unless given")
    trec = parser.add_argument_group("TREC")
    trec.add_argument("--qrels", metavar="FILE", help="judgements: topic iteration document grade")
    trec.add_argument("--names", metavar="FILE", help="name of each query, one a line")
    trec.add_argument("--document-names", metavar="FILE", help="name of each document")
    trec.add_argument("--run", metavar="FILE", help="write the ranking as a TREC run file")
    return parser.parse_args(arguments)
