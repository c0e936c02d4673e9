"""scripts/evaluate.py: what the vectors in a file are worth, whoever wrote it."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import sparse

from bidnn.data.formats.kinds import is_table
from bidnn.data.vectors import Vectors, read_vectors
from bidnn.errors import UserError
from bidnn.evaluation.classification import knn_accuracy, linear_probe_accuracy
from bidnn.evaluation.clustering import kmeans_scores
from bidnn.evaluation.comparability import comparability
from bidnn.evaluation.labels import NO_LABEL, labelled
from bidnn.evaluation.mixed import KINDS, mixed_pool
from bidnn.evaluation.retrieval import Relevance, by_label, by_pair, retrieve
from bidnn.evaluation.trec import (
    Named,
    rank_targets,
    read_names,
    read_qrels,
    score_by_qrels,
    write_run,
)
from bidnn.files import as_json, check_not_read, check_writable


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluates as the command line says; the last line printed is a JSON object of the metrics."""
    given = _parse(arguments)
    try:
        metrics = evaluate(given)
    except (UserError, OSError) as error:
        sys.stderr.write(f"evaluate: error: {error}\n")
        sys.exit(1)
    plain = {name: value for name, value in metrics.items() if not name.startswith("mixed ")}
    width = max(map(len, plain), default=0)
    lines = [f"{name:{width}}  {value:.4f}" for name, value in plain.items()]
    lines += _mixed_table(metrics)
    sys.stdout.write("\n".join([*lines, as_json(metrics)]) + "\n")


def evaluate(given: argparse.Namespace) -> dict[str, float]:
    """The metrics that the command line asks for.

    Raises:
        ValueError, OSError: naming what is wrong with a file, or what cannot be done.
    """
    _check(given)
    queries = documents = _read(given, given.file)
    if given.documents is not None:
        documents = _read(given, given.documents)
    elif len(queries.values) < 2:
        raise UserError(f"{given.file}: one row, and no other to compare it with")
    wanted = [name for name in ("clustering", "classification") if name in given.measures]
    if wanted and queries.labels is None:
        raise UserError(f"{given.file}: no labels, which --measures {wanted[0]} needs")
    by_presence = [name for name in ("comparability", "mixed") if name in given.measures]
    if by_presence and queries.present is None:
        raise UserError(
            f"{given.file}: no array `present`, which --measures {by_presence[0]} needs; "
            "scripts/embed.py writes it to npz and parquet files"
        )
    metrics = _retrieval(given, queries, documents)
    if wanted:
        metrics |= _by_classes(given, queries)
    if "comparability" in given.measures:
        metrics |= _comparability(queries)
    if "mixed" in given.measures:
        metrics |= _mixed(given, queries)
    return metrics


def _check(given: argparse.Namespace) -> None:
    """Refuses options that do not go together, before anything is read.

    Raises:
        ValueError, OSError: naming them.
    """
    if min(given.k) < 1:
        raise UserError(f"--k {min(given.k)}: must be at least 1")
    if given.clusters is not None and "clustering" not in given.measures:
        raise UserError("--clusters has no meaning without --measures clustering")
    if given.clusters is not None and given.clusters < 1:
        raise UserError(f"--clusters {given.clusters}: must be at least 1")
    files = [file for file in (given.file, given.documents) if file is not None]
    several = any(Path(f).suffix.lower() == ".npz" or is_table(Path(f)) for f in files)
    if given.array is not None and not several:
        raise UserError(
            f"--array {given.array}: names an array of an npz file or a column of a table, and "
            "none is given"
        )
    if given.items is not None and "mixed" not in given.measures:
        raise UserError("--items has no meaning without --measures mixed")
    if given.by is not None and given.qrels is not None:
        raise UserError("--by and --qrels both say what is relevant; leave one of them out")
    if given.by == "pair" and given.documents is None:
        raise UserError("--by pair needs --documents: row i of both files is a pair")
    named = {"--names": given.names, "--document-names": given.document_names}
    if given.qrels is None and given.run is None:
        for option, value in named.items():
            if value is not None:
                raise UserError(f"{option} has no meaning without --qrels or --run")
        return
    if given.documents is None:
        option = "--run" if given.qrels is None else "--qrels"
        raise UserError(f"{option} needs --documents")
    if given.run is not None:
        read = [*files, *named.values(), given.qrels, given.items]
        check_not_read(Path(given.run), [file for file in read if file], "--run")
        check_writable(Path(given.run))


def _read(given: argparse.Namespace, file: str) -> Vectors:
    """The vectors of a file, without labels if no row has one; says how many have none."""
    found = read_vectors(Path(file), "embedding" if given.array is None else given.array)
    if found.labels is None:
        return found
    without = int((~labelled(found.labels)).sum())
    by_label = given.by != "pair" and given.qrels is None
    if without and (by_label or {"clustering", "classification", "mixed"} & set(given.measures)):
        sys.stderr.write(
            f"evaluate: {file}: {without} of {len(found.labels)} rows have no label, and are left "
            "out of what labels measure\n"
        )
    return found if without < len(found.labels) else replace(found, labels=None)


def _labelled(vectors: Vectors) -> Vectors:
    """The rows that have a label."""
    if vectors.labels is None or (known := labelled(vectors.labels)).all():
        return vectors
    present = None if vectors.present is None else vectors.present[known]
    ids = None if vectors.ids is None else vectors.ids[known]
    return Vectors(vectors.values[known], vectors.labels[known], present, ids)


def _retrieval(given: argparse.Namespace, queries: Vectors, documents: Vectors) -> dict[str, float]:
    """Metrics by qrels, by pair or by label; none if only other things can be done, and are."""
    if given.qrels is not None or given.run is not None:
        one = _named(given.file, queries, given.names, "--names")
        other = _named(given.documents, documents, given.document_names, "--document-names")
        if given.qrels is not None:
            scores = score_by_qrels(one, other, read_qrels(Path(given.qrels)), given.k)
        if given.run is not None:
            write_run(Path(given.run), rank_targets(one, other))
        if given.qrels is not None:
            return {name: float(value) for name, value in scores.metrics().items()}
    labelled = queries.labels is not None and documents.labels is not None
    if given.by is None and not labelled and (given.run or given.measures):
        return {}
    same = documents is queries
    if given.by != "pair":
        queries = _labelled(queries)
        documents = queries if same else _labelled(documents)
    relevance = _relevance(given, queries, documents)
    scores = retrieve(
        queries.values, documents.values, relevance, exclude_self=same, cutoffs=given.k
    )
    if not scores.counted.any():
        raise UserError(f"{given.file}: no label is on two rows, so nothing is there to be found")
    return {name: float(value) for name, value in scores.metrics().items()}


def _named(file: str, vectors: Vectors, names: str | None, option: str) -> Named:
    """Vectors by the names in a file, else by their own ids."""
    if names is not None:
        return Named(read_names(Path(names)), vectors.values)
    if vectors.ids is None:
        raise UserError(f"{file}: no ids in it to name its rows by; give {option} FILE, one a line")
    return Named([str(name) for name in vectors.ids.tolist()], vectors.values)


def _relevance(given: argparse.Namespace, queries: Vectors, documents: Vectors) -> Relevance:
    if given.by == "pair":
        if len(queries.values) != len(documents.values):
            raise UserError(
                f"--by pair: {given.file} has {len(queries.values)} rows and {given.documents} has "
                f"{len(documents.values)}; row i of both is a pair"
            )
        return by_pair(len(queries.values))
    for file, vectors in ((given.file, queries), (given.documents, documents)):
        if vectors.labels is None:
            raise UserError(f"{file}: no labels; --by pair or --qrels need none")
    assert queries.labels is not None
    assert documents.labels is not None
    _check_classes(given.file, np.concatenate([queries.labels, documents.labels]))
    return by_label(*_label_forms(queries.labels, documents.labels))


def _check_classes(file: str, labels: np.ndarray) -> None:
    if len(np.unique(labels)) < 2:
        raise UserError(
            f"{file}: every row has the label {str(labels[0])!r}, so there is nothing to tell "
            "apart; --by pair or --qrels need no labels"
        )


def _label_forms(
    queries: np.ndarray, documents: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | tuple[sparse.csr_array, sparse.csr_array]:
    """Labels as they are, or as indicator matrices if tokens such as `3,7` name several."""
    both = np.concatenate([queries, documents])
    if not any("," in token for token in both):
        return queries, documents
    sets = [[label for label in token.split(",") if label not in NO_LABEL] for token in both]
    names = {name: column for column, name in enumerate(sorted({n for s in sets for n in s}))}
    rows = np.repeat(np.arange(len(sets)), [len(labels) for labels in sets])
    columns = [names[label] for labels in sets for label in labels]
    shape = (len(sets), len(names))
    matrix = sparse.csr_array((np.ones(len(columns), bool), (rows, columns)), shape=shape)
    return matrix[: len(queries)], matrix[len(queries) :]


def _by_classes(given: argparse.Namespace, queries: Vectors) -> dict[str, float]:
    queries = _labelled(queries)
    assert queries.labels is not None
    _check_classes(given.file, queries.labels)
    metrics: dict[str, float] = {}
    if "clustering" in given.measures:
        clusters = kmeans_scores(queries.values, queries.labels, given.clusters)
        metrics |= {"accuracy": clusters.accuracy.mean, "nmi": clusters.nmi.mean}
        metrics["ari"] = clusters.ari.mean
    if "classification" in given.measures:
        metrics["knn"] = knn_accuracy(queries.values, queries.labels)
        metrics["probe"] = linear_probe_accuracy(queries.values, queries.labels).mean
    return metrics


def _comparability(queries: Vectors) -> dict[str, float]:
    assert queries.present is not None
    metrics: dict[str, float] = {}
    found = comparability(queries.values, queries.present)
    for pair, spread in found.spreads.items():
        metrics |= {f"cosine {pair}": spread.mean, f"deviation {pair}": spread.deviation}
    return metrics | {f"favour {kind}": value for kind, value in found.favour.items()}


def _mixed(given: argparse.Namespace, queries: Vectors) -> dict[str, float]:
    """Metrics by kind of query; without labels, or pairs, those that need them are left out."""
    assert queries.present is not None
    labels = None if queries.labels is None else _label_forms(queries.labels, queries.labels)[0]
    items = None if given.items is None else read_names(Path(given.items))
    metrics: dict[str, float] = {}
    for kind, found in mixed_pool(queries.values, queries.present, labels, items).items():
        metrics |= {f"mixed {kind} {name}": value for name, value in found.metrics().items()}
    return metrics


def _mixed_table(metrics: dict[str, float]) -> list[str]:
    """Lines of the mixed pool, a kind of query each; none if it was not measured."""
    rows = [kind for kind in KINDS if any(name.startswith(f"mixed {kind} ") for name in metrics)]
    if not rows:
        return []
    names = ["ndcg@10", "pair_recall@10", *(f"share {kind}" for kind in rows)]
    lines = ["mixed pool, by query; shares of the ten nearest, 1 is the pool's own"]
    lines.append("  ".join(["query".ljust(11), *names]))
    for kind in rows:
        values = [metrics.get(f"mixed {kind} {name}") for name in names]
        cells = ["–" if value is None else f"{value:.4f}" for value in values]
        padded = [cell.rjust(len(name)) for cell, name in zip(cells, names, strict=True)]
        lines.append("  ".join([kind.ljust(11), *padded]))
    return lines


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bidnn evaluate",
        description="Retrieval, clustering and classification metrics of a file of vectors "
        "(.npz, .npy, parquet or libsvm). Every row is a query by cosine, against all others or "
        "against --documents. The last line is a JSON object, which scripts/train.py logs if this "
        "is its output.command.",
    )
    add = parser.add_argument
    add("file", help="vectors of the queries")
    add("--documents", metavar="FILE", help="vectors that are searched, if not the same")
    add("--array", help="name of the vectors in an npz file or a table (embedding)")
    add("--by", choices=["label", "pair"], help="what is relevant (label); 3,7: two labels")
    add("--k", type=int, nargs="+", default=[1, 5, 10], help="cutoffs of precision, recall, nDCG")
    add(
        "--measures",
        nargs="+",
        default=[],
        choices=["clustering", "classification", "comparability", "mixed"],
        help="beyond retrieval: k-means, k-NN and linear probe, complete against incomplete rows, "
        "one pool with a third each of complete, first-only and second-only rows",
    )
    add("--clusters", type=int, help="for k-means; as many as labels unless given")
    add("--items", metavar="FILE", help="for mixed: the item that each row shows, one a line")
    trec = parser.add_argument_group("TREC")
    trec.add_argument("--qrels", metavar="FILE", help="judgements: topic iteration document grade")
    trec.add_argument("--names", metavar="FILE", help="name of each query, one a line (its id)")
    trec.add_argument("--document-names", metavar="FILE", help="name of each document (its id)")
    trec.add_argument(
        "--run", metavar="FILE", help="write the ranking as a TREC run file, with or without qrels"
    )
    return parser.parse_args(arguments)
