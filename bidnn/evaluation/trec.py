"""Evaluation as at TREC and TRECVID: qrels files, run files, and scores of vectors with names."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from bidnn.errors import UserError
from bidnn.evaluation.ranking import RetrievalScores
from bidnn.evaluation.retrieval import by_judgement, retrieve
from bidnn.evaluation.similarity import STEPS, Similarity, similarities

Number = TypeVar("Number", int, float)

QRELS_LINE = "topic iteration document grade"
RUN_LINE = "topic Q0 document rank score tag"


class Named(NamedTuple):
    """Vectors (rows, columns) and a name for each."""

    names: Sequence[str]
    vectors: ArrayLike


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Grades by topic and document; above 0 is relevant.

    Args:
        path: a text file of lines `topic iteration document grade`.

    Raises:
        ValueError: naming file and line, if a line is malformed or judges a document again.
    """
    grades: dict[str, dict[str, int]] = {}
    for place, (topic, _, document, grade) in _lines(path, QRELS_LINE):
        _enter(grades, place, topic, document, _number(int, grade, f"{place}: grade"))
    return grades


def read_run(path: Path) -> dict[str, dict[str, float]]:
    """Scores by topic and document; as in trec_eval, the ranks in the file do not count.

    Args:
        path: a text file of lines `topic Q0 document rank score tag`.

    Raises:
        ValueError: naming file and line, if a line is malformed or lists a document again.
    """
    run: dict[str, dict[str, float]] = {}
    for place, (topic, _, document, _, score, _) in _lines(path, RUN_LINE):
        value = _number(float, score, f"{place}: score")
        if math.isnan(value):
            raise UserError(f"{place}: score {score} has no rank")
        _enter(run, place, topic, document, value)
    return run


def write_run(path: Path, run: Mapping[str, Mapping[str, float]], tag: str = "bidnn") -> None:
    """Writes a run file that trec_eval reads; equal scores are listed by name.

    Args:
        path: where to.
        run: scores by topic and document.
        tag: name of the run.

    Raises:
        ValueError: if a name is empty or holds white space, which the format has no way to write.
    """
    names = {tag, *run, *(document for scores in run.values() for document in scores)}
    for name in names:
        if len(name.split()) != 1 or name != name.strip():
            raise UserError(f"{name!r}: a name in a run file is one word without white space")
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        for topic, scores in run.items():
            ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
            for rank, (document, score) in enumerate(ranked, start=1):
                file.write(f"{topic} Q0 {document} {rank} {float(score)!r} {tag}\n")


def rank_targets(
    anchors: Named, targets: Named, depth: int = 1000, similarity: Similarity = "cosine"
) -> dict[str, dict[str, float]]:
    """The targets nearest to each anchor, for `write_run`.

    Args:
        anchors: what is searched with.
        targets: what is searched.
        depth: targets listed for an anchor; of equal ones at the end, those first by name.
        similarity: the cosine, or the dot product in the units of `similarities`.

    Returns:
        Similarities by anchor and target.

    Raises:
        ValueError: if names are not unique or not one for each vector, depth is below 1, or the
            vectors cannot be compared.
    """
    if depth < 1:
        raise UserError(f"depth={depth}: must be at least 1")
    anchor_rows, target_rows = _rows_by_name(anchors, "anchors"), _rows_by_name(targets, "targets")
    anchor_names, target_names = list(anchor_rows), list(target_rows)
    name_order = np.argsort(np.argsort(target_names))
    run = {}
    for rows, values in similarities(anchors.vectors, targets.vectors, similarity=similarity):
        for name, steps in zip(anchor_names[rows], values, strict=True):
            order = np.lexsort((name_order, -steps))[:depth]
            run[name] = {target_names[i]: float(steps[i] / STEPS) for i in order}
    return run


def score_by_qrels(
    anchors: Named,
    targets: Named,
    qrels: Mapping[str, Mapping[str, int]],
    cutoffs: Sequence[int] = (5, 10),
    similarity: Similarity = "cosine",
) -> RetrievalScores:
    """Ranks all targets for each anchor and scores the rankings by judgements.

    As in trec_eval, what was judged not relevant or not judged at all counts as not relevant, and
    relevant documents that are not among the targets count as not found. Unlike in trec_eval, the
    ranking has no end, ties count with their expected value, nDCG does not use grades, and anchors
    without a relevant judgement are left out of means.

    Args:
        anchors: their names are topics of the qrels.
        targets: their names are documents of the qrels.
        qrels: from `read_qrels`.
        cutoffs: the k of precision, recall and nDCG at k.
        similarity: the cosine, or the dot product.

    Raises:
        ValueError: if a topic that has relevant documents is not among the anchors, no judged
            document is among the targets, names are not unique or not one for each vector, or the
            vectors cannot be compared.
    """
    anchor_rows, target_rows = _rows_by_name(anchors, "anchors"), _rows_by_name(targets, "targets")
    relevant = {
        topic: [document for document, grade in grades.items() if grade > 0]
        for topic, grades in qrels.items()
    }
    lost = [
        topic for topic, documents in relevant.items() if documents and topic not in anchor_rows
    ]
    if lost:
        raise UserError(
            f"{len(lost)} judged topics are not among the anchors, the first of them {lost[0]!r}; "
            "check the names, or leave those topics out of the qrels"
        )
    if not any(document in target_rows for grades in qrels.values() for document in grades):
        raise UserError("no judged document is among the targets; check the names")
    outside = np.zeros(len(anchor_rows), np.int64)
    pairs = []
    for topic, documents in relevant.items():
        found = [target_rows[document] for document in documents if document in target_rows]
        pairs += [(anchor_rows[topic], target) for target in found]
        if documents:
            outside[anchor_rows[topic]] = len(documents) - len(found)
    rows, columns = np.array(pairs, np.int64).reshape(-1, 2).T
    shape = len(anchor_rows), len(target_rows)
    judged = sparse.coo_array((np.ones(len(pairs), bool), (rows, columns)), shape=shape)
    return retrieve(
        anchors.vectors,
        targets.vectors,
        by_judgement(judged, outside),
        exclude_self=False,
        cutoffs=cutoffs,
        similarity=similarity,
    )


def _lines(path: Path, form: str) -> Iterator[tuple[str, list[str]]]:
    """Place and columns of each line that is not blank; bytes that are not UTF-8 are kept."""
    with path.open(encoding="utf-8", errors="surrogateescape") as file:
        for number, line in enumerate(file, start=1):
            columns = line.split()
            if columns and len(columns) != len(form.split()):
                raise UserError(
                    f"{path}, line {number}: {len(columns)} columns; a line is '{form}'"
                )
            if columns:
                yield f"{path}, line {number}", columns


def _number(kind: Callable[[str], Number], text: str, place: str) -> Number:
    try:
        return kind(text)
    except ValueError:
        raise UserError(f"{place} {text!r} is not a number of type {kind.__name__}") from None


def _enter(
    table: dict[str, dict[str, Number]], place: str, topic: str, document: str, value: Number
) -> None:
    entries = table.setdefault(topic, {})
    if document in entries:
        raise UserError(f"{place}: topic {topic} has document {document} already")
    entries[document] = value


def _rows_by_name(named: Named, what: str) -> dict[str, int]:
    rows = {str(name): row for row, name in enumerate(named.names)}
    vectors = len(np.asarray(named.vectors))
    if len(named.names) != vectors or len(rows) != vectors:
        raise UserError(
            f"{what}: {vectors} vectors, {len(named.names)} names, {len(rows)} of them different; "
            "each vector needs a name of its own"
        )
    return rows
