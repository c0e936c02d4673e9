"""Evaluation as at TREC and TRECVID: qrels files, run files, and scores of vectors with names."""

import gzip
import io
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, TextIO, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from bidnn.errors import UserError
from bidnn.evaluation.ranking import RetrievalScores
from bidnn.evaluation.retrieval import by_judgement, retrieve
from bidnn.evaluation.similarity import STEPS, Similarity, similarities
from bidnn.files import whole_file

Number = TypeVar("Number", int, float)

LINE = 2**20
QRELS_LINE = "topic iteration document grade"
RUN_LINE = "topic Q0 document rank score tag"


class Named(NamedTuple):
    """Vectors (rows, columns) and a name for each."""

    names: Sequence[str]
    vectors: ArrayLike


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Grades by topic and document; above 0 is relevant.

    Args:
        path: a text file, plain or .gz, of lines `topic iteration document grade`.

    Raises:
        ValueError: naming file and line, if a line is malformed or judges a document again.
        OSError: if it cannot be read.
    """
    from ir_measures import read_trec_qrels  # here, because only those who read such files need it

    grades: dict[str, dict[str, int]] = {}
    for place, judged in _entries(path, read_trec_qrels, QRELS_LINE):
        _enter(grades, place, judged.query_id, judged.doc_id, judged.relevance)
    return grades


def read_run(path: Path) -> dict[str, dict[str, float]]:
    """Scores by topic and document; as in trec_eval, the ranks in the file do not count.

    Args:
        path: a text file, plain or .gz, of lines `topic Q0 document rank score tag`.

    Raises:
        ValueError: naming file and line, if a line is malformed or lists a document again.
        OSError: if it cannot be read.
    """
    from ir_measures import read_trec_run  # as above

    run: dict[str, dict[str, float]] = {}
    for place, found in _entries(path, read_trec_run, RUN_LINE):
        if math.isnan(found.score):
            raise UserError(f"{place}: score {found.score} has no rank")
        _enter(run, place, found.query_id, found.doc_id, found.score)
    return run


def read_names(path: Path) -> list[str]:
    """Names of rows, in their order: one a line, as they stand in qrels.

    Args:
        path: a text file, plain or .gz.

    Raises:
        ValueError: naming file and line, if a line holds no name or more than one word.
        OSError: if it cannot be read.
    """
    names: list[str] = []
    with _open_text(path) as file:
        lines = [line.split() for line in _bounded(file, path)]
    while lines and not lines[-1]:
        lines.pop()
    for number, words in enumerate(lines, start=1):
        if len(words) != 1:
            raise UserError(
                f"{path}, line {number}: {len(words)} words; a line is the name of one row, "
                "without white space"
            )
        names += words
    return names


def write_run(path: Path, run: Mapping[str, Mapping[str, float]], tag: str = "bidnn") -> None:
    """Writes a run file that trec_eval reads; equal scores are listed by name.

    Args:
        path: where to.
        run: scores by topic and document.
        tag: name of the run.

    Raises:
        ValueError: if a name is empty or holds white space, which the format has no way to write.
        OSError: if the file cannot be written; nothing is left behind then.
    """
    names = {tag, *run, *(document for scores in run.values() for document in scores)}
    for name in names:
        if len(name.split()) != 1 or name != name.strip():
            raise UserError(f"{name!r}: a name in a run file is one word without white space")
    with whole_file(path) as file:
        for topic, scores in run.items():
            ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
            for rank, (document, score) in enumerate(ranked, start=1):
                line = f"{topic} Q0 {document} {rank} {float(score)!r} {tag}\n"
                file.write(line.encode("utf-8", "surrogateescape"))


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


class _Lines:
    """Lines of an open file, counted; ir_measures knows a file by its `read`."""

    def __init__(self, file: TextIO, path: Path) -> None:
        self.file, self.path, self.read, self.number = file, path, file.read, 0

    def __iter__(self) -> Iterator[str]:
        for line in _bounded(self.file, self.path):
            self.number += 1
            # To Python such a character ends a word, to trec_eval it is a part of it.
            if not line.isascii() and any(c.isspace() for c in line if not c.isascii()):
                raise ValueError("white space that is not ASCII")
            yield line


def _bounded(file: TextIO, path: Path) -> Iterator[str]:
    """The lines of a file, none of which may be so long that a packed file fills the memory."""
    for number in count(1):
        line = file.readline(LINE)
        if len(line) == LINE:
            raise UserError(f"{path}, line {number}: longer than {LINE} characters")
        if not line:
            return
        yield line


def _entries(
    path: Path, read: Callable[[_Lines], Iterator[Any]], form: str
) -> Iterator[tuple[str, Any]]:
    """What ir_measures finds, and the place of each; it names no line itself."""
    with _open_text(path) as file:
        lines = _Lines(file, path)
        try:
            for entry in read(lines):
                yield f"{path}, line {lines.number}", entry
        except UserError:
            raise
        except ValueError as error:
            place = f"{path}, line {lines.number}"
            raise UserError(f"{place}: not a line '{form}' ({error})") from error


@contextmanager
def _open_text(path: Path) -> Iterator[TextIO]:
    """Opens text in UTF-8, whatever the locale; other bytes are kept, a byte order mark is not.

    Raises:
        ValueError: if it is a gzip file that is damaged.
        OSError: if it cannot be read.
    """
    with path.open("rb") as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        stream = gzip.GzipFile(fileobj=raw) if compressed else raw
        with io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape") as text:
            try:
                yield text
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise UserError(f"{path}: the gzip file is cut off or damaged ({error})") from error


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
