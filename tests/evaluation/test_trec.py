import gzip
import os
import subprocess
import sys

import ir_measures
import numpy as np
import pytest
from ir_measures import AP, P
from sklearn.metrics.pairwise import cosine_similarity

from bidnn.evaluation import (
    Named,
    rank_targets,
    read_names,
    read_qrels,
    read_run,
    score_by_qrels,
    write_run,
)

SURROGATE = b"caf\xe9".decode("utf-8", "surrogateescape")


def written(path, text):
    path.write_bytes(text)
    return path


def collection(seed=0):
    rng = np.random.default_rng(seed)
    anchors = Named([f"q{i}" for i in range(8)], rng.normal(size=(8, 4)))
    targets = Named([f"v{i}" for i in range(40)], rng.normal(size=(40, 4)))
    names = [*targets.names, "lost1", "lost2"]
    qrels = {
        anchor: {
            str(name): int(rng.integers(-1, 3))
            for name in rng.choice(names, size=15, replace=False)
        }
        for anchor in anchors.names[:7]
    }
    return anchors, targets, qrels


def test_qrels_are_grades_by_topic_and_document(tmp_path):
    path = written(tmp_path / "qrels", b"1 0 v1 1\n1\t0  v2 0\r\n\n2 Q0 v1 -1\n2 0 caf\xe9 2")
    assert read_qrels(path) == {"1": {"v1": 1, "v2": 0}, "2": {"v1": -1, SURROGATE: 2}}


def test_text_is_read_as_utf8_whatever_the_locale_without_its_mark_and_through_gzip(tmp_path):
    path = tmp_path / "qrels"
    for text in (
        b"\xef\xbb\xbf1 0 caf\xc3\xa9 1\n",
        gzip.compress(b"1 0 caf\xc3\xa9 1\n", mtime=0),
    ):
        assert read_qrels(written(path, text)) == {"1": {"caf\u00e9": 1}}
    assert read_names(written(path, b"\xef\xbb\xbfn1\nn2")) == ["n1", "n2"]


def test_names_are_one_word_a_line(tmp_path):
    assert read_names(written(tmp_path / "names", b"a\r\n caf\xe9 \nb\n\n")) == [
        "a",
        SURROGATE,
        "b",
    ]
    for text, line in ((b"a\nb c\n", 2), (b"a\n\nb\n", 2)):
        with pytest.raises(ValueError, match=f"names, line {line}: . words"):
            read_names(written(tmp_path / "names", text))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            b"1 0 v1 1\n1 0 v2\n",
            "qrels, line 2: not a line 'topic iteration document grade'.*got 3",
        ),
        (b"\n1 0 v1 yes\n", "qrels, line 2: not a line .*'yes'"),
        ("1 0 v1 1\n1 0 v\xa02\n".encode(), "qrels, line 2: not a line .*not ASCII"),
        ("1 Q0 v1 1".encode("utf-16"), "qrels, line 1: not a line"),
        (gzip.compress(b"1 0 v1 1\n", mtime=0)[:-9], "qrels: the gzip file is cut off or damaged"),
        (b"1 0 v1 1\n2 0 v1 1\n1 0 v1 0\n", "qrels, line 3: topic 1 has document v1 already"),
    ],
)
def test_a_malformed_qrels_line_is_named(tmp_path, text, complaint):
    with pytest.raises(ValueError, match=complaint):
        read_qrels(written(tmp_path / "qrels", text))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"1 Q0 v1 1 0.5\n", "run, line 1: not a line 'topic Q0 document rank score tag'.*got 5"),
        (b"1 Q0 v1 1 high x\n", "run, line 1: not a line .*'high'"),
        ("1 Q0 v\u30001 2 3\n".encode(), "run, line 1: not a line .*not ASCII"),
        (b"1 Q0 v1 1 nan x\n", "run, line 1: score nan has no rank"),
        (b"1 Q0 v1 1 2 x\n1 Q0 v1 2 1 x\n", "run, line 2: topic 1 has document v1 already"),
    ],
)
def test_a_malformed_run_line_is_named(tmp_path, text, complaint):
    with pytest.raises(ValueError, match=complaint):
        read_run(written(tmp_path / "run", text))


def test_a_run_is_written_by_falling_score_then_name(tmp_path):
    path = tmp_path / "run"
    write_run(path, {"9": {"b": 0.1, "c": 0.25, "a": 0.1}, "1": {SURROGATE: np.float32(-2)}}, "me")
    assert path.read_bytes() == (
        b"9 Q0 c 1 0.25 me\n9 Q0 a 2 0.1 me\n9 Q0 b 3 0.1 me\n1 Q0 caf\xe9 1 -2.0 me\n"
    )


def test_a_run_comes_back_from_its_file_as_it_was(tmp_path):
    anchors, targets, _ = collection()
    run = rank_targets(anchors, targets, depth=7)
    write_run(tmp_path / "run", run)
    assert read_run(tmp_path / "run") == run


def test_a_run_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = written(tmp_path / "run", b"before")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_run(path, {"1": {"v": 1.0}})
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_ir_measures_is_imported_only_where_a_file_is_read():
    code = "import sys, bidnn.evaluation.trec; sys.exit('ir_measures' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ["two words", "", "line\n", "tab\t"])
def test_a_name_that_a_run_file_cannot_hold_is_refused(tmp_path, name):
    for run, tag in [({name: {"v": 1.0}}, "t"), ({"1": {name: 1.0}}, "t"), ({}, name)]:
        with pytest.raises(ValueError, match="one word without white space"):
            write_run(tmp_path / "run", run, tag)
    assert not (tmp_path / "run").exists()


def test_the_nearest_targets_are_listed_equal_ones_by_name():
    targets = Named(["d", "c", "b", "a"], np.array([[1, 0], [0, 1], [2, 0], [3, 4]]))
    anchors = Named(["east"], np.array([[5.0, 0.0]]))
    assert list(rank_targets(anchors, targets, depth=1)["east"]) == ["b"]
    full = rank_targets(anchors, targets)["east"]
    assert list(full) == ["b", "d", "a", "c"]
    assert list(full.values()) == pytest.approx([1.0, 1.0, 0.6, 0.0], abs=1e-6)
    assert list(rank_targets(anchors, targets, similarity="dot")["east"]) == ["a", "b", "d", "c"]


def test_listed_similarities_are_the_highest_cosines():
    anchors, targets, _ = collection()
    cosines = cosine_similarity(anchors.vectors, targets.vectors)
    run = rank_targets(anchors, targets, depth=5)
    for row, name in enumerate(anchors.names):
        best = np.argsort(-cosines[row])[:5]
        assert list(run[name]) == [targets.names[i] for i in best]
        assert list(run[name].values()) == pytest.approx(cosines[row, best], abs=1e-6)


def test_scores_by_qrels_are_those_of_trec_eval_on_the_whole_run(tmp_path):
    anchors, targets, qrels = collection()
    write_run(tmp_path / "run", rank_targets(anchors, targets))
    (tmp_path / "qrels").write_text(
        "".join(f"{q} 0 {d} {grade}\n" for q, own in qrels.items() for d, grade in own.items())
    )
    expected = ir_measures.calc_aggregate(
        [AP, P @ 5, P @ 10],
        ir_measures.read_trec_qrels(str(tmp_path / "qrels")),
        ir_measures.read_trec_run(str(tmp_path / "run")),
    )
    figures = score_by_qrels(anchors, targets, read_qrels(tmp_path / "qrels")).metrics()
    assert any(max(own.get("lost1", 0), own.get("lost2", 0)) > 0 for own in qrels.values())
    assert (figures["queries"], figures["left_out"]) == (7, 1)
    assert figures["map"] == pytest.approx(expected[AP])
    assert figures["precision@5"] == pytest.approx(expected[P @ 5])
    assert figures["precision@10"] == pytest.approx(expected[P @ 10])


def test_judged_irrelevant_and_unjudged_targets_are_equally_not_relevant():
    anchors = Named(["1"], [[1.0, 0.0]])
    targets = Named(["x", "y", "z"], [[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    for judged in ({"x": 0, "y": 1}, {"y": 1}, {"x": -2, "y": 3}):
        assert score_by_qrels(anchors, targets, {"1": judged}).mean_average_precision == 0.5


def test_relevant_documents_that_are_no_targets_lower_the_average_precision():
    anchors = Named(["1", "2"], np.eye(2))
    targets = Named(["x", "y"], np.eye(2))
    qrels = {"1": {"x": 1, "gone": 1}, "2": {"gone": 1}, "unused": {"x": 0}}
    assert score_by_qrels(anchors, targets, qrels).average_precision.tolist() == [0.5, 0.0]


def test_names_that_do_not_fit_are_refused():
    two = Named(["1", "2"], np.eye(2))
    with pytest.raises(ValueError, match=r"1 judged topics are not among the anchors.*'3'"):
        score_by_qrels(two, two, {"3": {"1": 1}})
    with pytest.raises(ValueError, match="no judged document is among the targets"):
        score_by_qrels(two, two, {"1": {"v": 1}})
    with pytest.raises(ValueError, match="anchors: 2 vectors, 2 names, 1 of them different"):
        score_by_qrels(Named(["1", "1"], np.eye(2)), two, {"1": {"1": 1}})
    with pytest.raises(ValueError, match="targets: 2 vectors, 3 names"):
        rank_targets(two, Named(["1", "2", "3"], np.eye(2)))
    with pytest.raises(ValueError, match="depth=0"):
        rank_targets(two, two, depth=0)
