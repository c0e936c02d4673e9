"""scripts/evaluate.py."""

import gzip
import json

import numpy as np
import pytest
from sklearn.datasets import dump_svmlight_file

from bidnn.data.vectors import read_vectors
from bidnn.evaluation.mixed import mixed_pool
from bidnn.evaluation.retrieval import mean_average_precision
from bidnn.evaluation.trec import read_run
from bidnn.programs.evaluate import main


def figures(capsys, *arguments):
    main([str(argument) for argument in arguments])
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.fixture
def vectors(tmp_path):
    generator = np.random.default_rng(0)
    values = generator.normal(size=(30, 4)).astype(np.float32)
    label = np.array([str(i % 3) for i in range(30)])
    np.savez(tmp_path / "v.npz", embedding=values, label=label, present=np.ones((30, 2), bool))
    np.save(tmp_path / "v.npy", values)
    for base in (0, 1):
        with (tmp_path / f"v{base}.txt").open("wb") as file:
            dump_svmlight_file(values, np.arange(30) % 3, file, zero_based=base == 0)
    return values, label


def test_every_format_is_read_alike_whoever_wrote_it(vectors, tmp_path, capsys):
    values, label = vectors
    expected = mean_average_precision(values, label)
    for name in ("v.npz", "v0.txt", "v1.txt"):
        assert figures(capsys, tmp_path / name)["map"] == pytest.approx(expected, abs=1e-6)
    np.testing.assert_array_equal(read_vectors(tmp_path / "v.npy").values, values)


def test_rows_with_ids_need_no_files_of_names(vectors, tmp_path, capsys):
    values, _ = vectors
    for name, ids in (("q.npz", np.arange(30)), ("d.npz", np.array([f"d{i}" for i in range(30)]))):
        np.savez(tmp_path / name, embedding=values, id=ids)
    (tmp_path / "qrels").write_text("7 0 d7 1\n8 0 d8 1\n")
    more = ("--documents", tmp_path / "d.npz", "--run", tmp_path / "run")
    assert figures(capsys, tmp_path / "q.npz", "--qrels", tmp_path / "qrels", *more)["map"] == 1
    run = read_run(tmp_path / "run")
    assert [max(run[str(i)], key=run[str(i)].get) for i in range(30)] == [
        f"d{i}" for i in range(30)
    ]


def test_pairs_labels_of_several_and_qrels(vectors, tmp_path, capsys):
    values, _ = vectors
    np.save(tmp_path / "same.npy", values)
    pair = ("--documents", tmp_path / "same.npy", "--by", "pair")
    found = figures(capsys, tmp_path / "v.npy", *pair)
    assert found["map"] == 1
    assert found["median_rank"] == 1
    several = np.array(["1,2", "2", "3", "3,1"])
    axes = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]], dtype=np.float32)
    np.savez(tmp_path / "s.npz", embedding=axes, label=several)
    # Relevant: 0 to 1 and 3, 1 to 0, 2 to 3, 3 to 0 and 2.
    found = figures(capsys, tmp_path / "s.npz", "--k", "1")
    expected = np.mean([(1 + 2 / 2) / 2, 1, 1, (1 + 2 / 3) / 2])
    assert found["map"] == pytest.approx(expected)
    (tmp_path / "names").write_text("\n".join(f"n{i}" for i in range(30)))
    (tmp_path / "qrels").write_text("n0 0 n0 1\nn1 0 n1 1\nn1 0 n2 0\n")
    trec = ("--qrels", tmp_path / "qrels", "--names", tmp_path / "names")
    more = ("--document-names", tmp_path / "names", "--run", tmp_path / "run")
    found = figures(capsys, tmp_path / "v.npy", "--documents", tmp_path / "same.npy", *trec, *more)
    assert found["map"] == 1
    first = (tmp_path / "run").read_text().splitlines()[0].split()
    assert first[:4] == ["n0", "Q0", "n0", "1"]


def test_gzipped_libsvm_is_read_by_its_text(vectors, tmp_path, capsys):
    values, label = vectors
    text = gzip.compress((tmp_path / "v1.txt").read_bytes())
    (tmp_path / "v.txt.gz").write_bytes(text)
    np.testing.assert_array_equal(read_vectors(tmp_path / "v.txt.gz").values, values)
    expected = mean_average_precision(values, label)
    assert figures(capsys, tmp_path / "v.txt.gz")["map"] == pytest.approx(expected)


def test_a_run_is_written_without_qrels_too(vectors, tmp_path, capsys):
    values, label = vectors
    (tmp_path / "names").write_text("\n".join(f"n{i}" for i in range(30)))
    names = ("--names", tmp_path / "names", "--document-names", tmp_path / "names")
    more = ("--documents", tmp_path / "v.npy", *names, "--run", tmp_path / "run")
    assert figures(capsys, tmp_path / "v.npy", *more) == {}
    run = read_run(tmp_path / "run")
    assert max(run["n3"], key=run["n3"].get) == "n3"
    np.savez(tmp_path / "w.npz", embedding=values, label=label)
    more = ("--documents", tmp_path / "w.npz", *names, "--run", tmp_path / "run2")
    found = figures(capsys, tmp_path / "v.npz", *more)
    assert read_run(tmp_path / "run2") == run
    alone = figures(capsys, tmp_path / "v.npz", "--documents", tmp_path / "w.npz")
    assert found == alone
    assert found["queries"] == 30


def test_measures_are_taken_with_qrels_and_without_labels_where_they_need_none(
    vectors, tmp_path, capsys
):
    values, _ = vectors
    present = np.ones((60, 2), bool)
    present[30:, 0] = False
    np.savez(tmp_path / "p.npz", embedding=np.concatenate([values, values]), present=present)
    found = figures(capsys, tmp_path / "p.npz", "--measures", "comparability")
    assert "map" not in found
    assert found["cosine complete–incomplete"] == pytest.approx(0, abs=0.2)
    (tmp_path / "names").write_text("\n".join(f"n{i}" for i in range(30)))
    (tmp_path / "qrels").write_text("n0 0 n0 1\n")
    trec = ("--qrels", tmp_path / "qrels", "--names", tmp_path / "names")
    more = ("--document-names", tmp_path / "names", "--documents", tmp_path / "v.npy")
    found = figures(capsys, tmp_path / "v.npz", *trec, *more, "--measures", "classification")
    assert found["map"] == 1
    assert 0 <= found["knn"] <= 1


def test_a_mixed_pool_is_a_table_and_metrics(tmp_path, capsys):
    values = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    values[20:40] = values[40:]
    present = np.repeat([[True, True], [True, False], [False, True]], 20, axis=0)
    label = np.arange(60) % 4
    np.savez(tmp_path / "m.npz", embedding=values, present=present, label=label)
    items = [*range(20), *range(20, 40), *range(20, 40)]
    (tmp_path / "items").write_text("\n".join(map(str, items)))
    main([str(tmp_path / "m.npz"), "--measures", "mixed", "--items", str(tmp_path / "items")])
    *lines, last = capsys.readouterr().out.splitlines()
    found = json.loads(last)
    expected = mixed_pool(values, present, label, items)
    for query, scores in expected.items():
        assert found[f"mixed {query} ndcg@10"] == pytest.approx(scores.ndcg)
        for kind, share in scores.shares.items():
            assert found[f"mixed {query} share {kind}"] == pytest.approx(share)
    assert found["mixed first-only pair_recall@10"] == 1
    assert "mixed complete pair_recall@10" not in found
    row = next(line for line in lines if line.startswith("complete"))
    assert row.split()[1:3] == [f"{expected['complete'].ndcg:.4f}", "–"]
    assert "map" in found


@pytest.fixture
def odd(vectors, tmp_path):
    """Files that something is wrong with."""
    values, label = vectors
    broken = values.copy()
    broken[3, 1] = np.nan
    half = np.arange(30) / 2
    for name, arrays in {
        "nan": {"embedding": broken, "label": label},
        "text": {"embedding": label[:, None]},
        "none": {"embedding": values[:0], "label": label[:0]},
        "one": {"embedding": values[:1], "label": label[:1]},
        "constant": {"embedding": values, "label": np.zeros(30)},
        "different": {"embedding": values, "label": half},
        "nanlabel": {"embedding": values, "label": np.where(half == 2, np.nan, 1)},
        "few": {"embedding": values, "label": label[:9]},
        "bytes": {"embedding": values, "label": np.array([b"\xe9"] * 30)},
        "mask": {"embedding": values, "present": np.ones(30)},
    }.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "comments.txt").write_text("# nothing\n")
    np.save(tmp_path / "fewer.npy", values[:9])
    np.savez(tmp_path / "renamed.npz", embedding=values)
    (tmp_path / "renamed.npz").rename(tmp_path / "npz.npy")
    (tmp_path / "names").write_bytes(b"".join(b"caf\xe9%d\n" % i for i in range(30)))
    (tmp_path / "spaces").write_text("a b\n" * 15)
    return tmp_path


NAMED = "--documents v.npz --names names --document-names names"


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("missing.npz", "no such file"),
        ("empty.npz", "the file is empty"),
        ("empty.txt", "the file is empty"),
        ("comments.txt", "no row in the file"),
        ("v.npz --array first", "no array first"),
        ("v.npy --array first", "--array first: names an array of an npz file"),
        ("npz.npy", "npz.npy: no readable npy file"),
        ("v.npy", "no labels"),
        ("nan.npz", "nan.npz, row 3 counted from 0: NaN"),
        ("text.npz", "a matrix of numbers is needed"),
        ("none.npz", "none.npz: 0 vectors"),
        ("one.npz", "one.npz: one row"),
        ("constant.npz", "constant.npz: every row has the label '0.0'"),
        (
            "constant.npz --by pair --documents v.npy --measures clustering",
            "every row has the label",
        ),
        ("different.npz", "no label is on two rows"),
        ("nanlabel.npz", "nanlabel.npz, row 4 counted from 0: its label is NaN"),
        ("few.npz", "few.npz: label has shape (9,), not (30,)"),
        ("bytes.npz", "bytes.npz: a label is not UTF-8"),
        ("mask.npz --measures comparability", "mask.npz: present has shape (30,)"),
        ("v.npz --k 0", "--k 0: must be at least 1"),
        ("v.npz --clusters 2", "--clusters has no meaning without"),
        ("v.npz --clusters 0 --measures clustering", "--clusters 0: must be at least 1"),
        ("v.npz --clusters 31 --measures clustering", "31 clusters of 30 rows"),
        ("v.npz --by pair", "--by pair needs --documents"),
        ("v.npz --by pair --documents fewer.npy", "fewer.npy has 9"),
        ("v.npy --by pair --documents v.npy --measures clustering", "v.npy: no labels, which"),
        ("v.npy --measures classification", "v.npy: no labels, which --measures classification"),
        ("v.npy --measures comparability", "v.npy: no array `present`"),
        ("v.npz --run run", "--run needs --documents"),
        ("v.npz --qrels q --names names", "--qrels needs --documents"),
        (
            "v.npz --run run --documents v.npz",
            "v.npz: no ids in it to name its rows by; give --names",
        ),
        ("v.npz --names names", "--names has no meaning without --qrels or --run"),
        (f"v.npz {NAMED} --qrels names --by label", "--by and --qrels"),
        (f"v.npz {NAMED} --run v.npz", "--run=v.npz: is what is read"),
        (f"v.npz {NAMED} --run names/run", "names/run: its folder"),
        (f"v.npz {NAMED} --qrels missing", "No such file or directory: 'missing'"),
        (f"v.npz {NAMED} --qrels names", "names, line 1: not a line 'topic"),
        ("v.npz --documents v.npz --names spaces --document-names names --run r", "spaces, line 1"),
        ("v.npz --documents v.npz --names . --document-names names --run r", "Is a directory"),
    ],
)
def test_mistakes_are_one_line(odd, capsys, monkeypatch, line, match):
    monkeypatch.chdir(odd)
    with pytest.raises(SystemExit) as caught:
        main(line.split())
    assert caught.value.code == 1
    error = capsys.readouterr().err
    assert match in error
    assert error.count("\n") == 1
