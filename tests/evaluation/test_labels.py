"""Rows without a label are left out of what labels measure, as scikit-learn's users drop them."""

import json

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import average_precision_score, normalized_mutual_info_score
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from bidnn.data.store import PairStore
from bidnn.evaluation import (
    by_label,
    kmeans_scores,
    knn_accuracy,
    labelled,
    linear_probe_accuracy,
    mean_average_precision,
)
from bidnn.evaluation.mixed import KINDS, mixed_pool
from bidnn.original.config import Config
from bidnn.original.rows import read_rows
from bidnn.programs.compare import Mask, measure
from bidnn.programs.evaluate import main
from bidnn.report.closeness import nearest
from bidnn.report.embedded import points


@pytest.fixture
def rows():
    """Vectors of three kinds, a third of which have lost the label; and those that have one."""
    generator = np.random.default_rng(0)
    kinds = generator.integers(0, 3, 60)
    vectors = (generator.normal(size=(60, 5)) + 2 * np.eye(5)[kinds]).astype("f4")
    labels = np.where(np.arange(60) % 3 == 1, np.nan, kinds)
    return vectors, labels, ~np.isnan(labels)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([1.0, np.nan], [True, False]),
        (["a", "", "nan", "<NA>", "None"], [True, False, False, False, True]),
        (np.array(["a", None, np.nan, 3], object), [True, False, False, True]),
        ([0, 1], [True, True]),
    ],
)
def test_what_is_no_label(labels, expected):
    assert labelled(labels).tolist() == expected


def test_metrics_are_those_of_scikit_learn_without_the_rows(rows):
    vectors, labels, known = rows
    kept, names = vectors[known], labels[known].astype(int)
    cosines = cosine_similarity(kept)
    precision = np.mean(
        [
            average_precision_score(np.delete(names == own, i), np.delete(cosines[i], i))
            for i, own in enumerate(names)
        ]
    )
    judge = KNeighborsClassifier(5, metric="cosine", algorithm="brute")
    nearest_names = cross_val_score(judge, kept, names, cv=LeaveOneOut()).mean()
    clusters = KMeans(3, n_init=10, random_state=0).fit_predict(kept)
    nmi = normalized_mutual_info_score(names, clusters)
    for given in (labels, labels.astype(str), np.where(known, labels.astype(str), "")):
        assert mean_average_precision(vectors, given) == pytest.approx(precision)
        # scikit-learn breaks the ties of five votes by the lowest label
        assert knn_accuracy(vectors, given) == pytest.approx(nearest_names, abs=0.03)
        assert knn_accuracy(vectors, given) == knn_accuracy(kept, names)
        assert kmeans_scores(vectors, given, seeds=(0,)).nmi.mean == pytest.approx(nmi)
        assert linear_probe_accuracy(vectors, given) == linear_probe_accuracy(kept, names)


def test_a_row_without_a_label_finds_nothing_and_is_found_by_nothing():
    relevance = by_label(["a", "nan", "b"], ["nan", "a", ""])
    assert relevance.block(slice(None)).tolist() == [[False, True, False], [False] * 3, [False] * 3]


def test_a_mixed_pool_is_searched_by_label_among_the_rows_that_have_one(rows):
    vectors, labels, known = rows
    present = np.repeat(list(KINDS.values()), 20, axis=0)
    found = mixed_pool(vectors, present, labels)
    near = cosine_similarity(vectors[known])
    np.fill_diagonal(near, -2)
    places, names = np.argsort(-near, axis=1)[:, :10], labels[known]
    weights = 1 / np.log2(np.arange(2, 12))
    gains = ((names[places] == names[:, None]) * weights).sum(axis=1) / weights.sum()
    kinds = np.repeat(np.arange(3), 20)[known]
    for kind, name in enumerate(KINDS):
        assert found[name].ndcg == pytest.approx(gains[kinds == kind].mean())
        assert found[name].shares == mixed_pool(vectors, present)[name].shares
    assert np.isnan(mixed_pool(vectors, present, np.full(60, ""))["complete"].ndcg)


def test_evaluate_and_compare_leave_them_out_and_evaluate_says_how_many(rows, tmp_path, capsys):
    vectors, labels, known = rows
    texts = labels.astype(str)
    np.savez(tmp_path / "all.npz", embedding=vectors, label=texts)
    np.savez(tmp_path / "known.npz", embedding=vectors[known], label=texts[known])
    measured = []
    for name in ("all.npz", "known.npz"):
        main([str(tmp_path / name), "--measures", "clustering", "classification"])
        said = capsys.readouterr()
        measured.append(json.loads(said.out.splitlines()[-1]))
        assert ("20 of 60 rows have no label" in said.err) == (name == "all.npz")
    assert measured[0] == measured[1]
    assert measured[0]["map"] == pytest.approx(mean_average_precision(vectors, labels))
    assert measured[0]["queries"] == known.sum()
    store = PairStore(vectors, vectors, np.ones((60, 2), bool), texts)
    found = measure(vectors, None, Mask(0.0, 0, store, store))
    assert found["map"] == pytest.approx(measured[0]["map"])
    assert found["nmi"] == kmeans_scores(vectors[known], labels[known], seeds=(0,)).nmi.mean
    np.savez(tmp_path / "none.npz", embedding=vectors, label=np.full(60, "nan"))
    with pytest.raises(SystemExit):
        main([str(tmp_path / "none.npz")])
    assert "none.npz: no labels" in capsys.readouterr().err


def test_the_page_counts_neighbours_among_rows_with_a_label(rows):
    vectors, labels, known = rows
    store = PairStore(vectors, vectors, np.ones((60, 2), bool), labels.astype(str))
    found = nearest(vectors, store, np.arange(60), np.random.default_rng(0))
    near = cosine_similarity(vectors[known])
    np.fill_diagonal(near, -2)
    names = labels[known]
    same = names[np.argsort(-near, axis=1)[:, :10]] == names[:, None]
    assert found["same"] == pytest.approx(same.mean())
    shown = {int(row["id"].split()[1]): row["label"] for row in found["examples"]}
    assert all((label is not None) == known[row] for row, label in shown.items())
    assert set(points(vectors, store, umap=False)["labels"]) == {"0.0", "1.0", "2.0", "no label"}
    none = PairStore(vectors, vectors, np.ones((60, 2), bool), np.full(60, ""))
    assert points(vectors, none, umap=False)["labels"] is None
    assert "same" not in nearest(vectors, none, np.arange(60), np.random.default_rng(0))


def test_none_among_labels_given_in_python_is_written_as_nan():
    rows = np.ones((3, 2), "f4")
    config = Config(mod1size=1, mod2size=1)
    for labels in ([1, None, 2], np.array(["1", None, "2"], object)):
        assert read_rows(config, rows, labels).labels.tolist() == ["1", "nan", "2"]
