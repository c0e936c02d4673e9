"""scripts/evaluate.py, and the methods of scripts/compare.py."""

import json

import numpy as np
import pytest
import torch
from sklearn.datasets import dump_svmlight_file

from bidnn.architecture import NetworkConfig
from bidnn.data.store import PairStore
from bidnn.data.vectors import read_vectors
from bidnn.evaluation.retrieval import mean_average_precision
from bidnn.model.model import Model
from bidnn.programs.compare import Result, translation_error, write_results
from bidnn.programs.evaluate import main
from bidnn.programs.methods import UNTRAINED


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


def test_mistakes_are_one_line(vectors, tmp_path, capsys):
    (tmp_path / "empty.npz").write_bytes(b"")
    for arguments, match in (
        ([tmp_path / "none.npz"], "no such file"),
        ([tmp_path / "empty.npz"], "the file is empty"),
        ([tmp_path / "v.npz", "--array", "first"], "no array first"),
        ([tmp_path / "v.npy"], "no labels"),
        ([tmp_path / "v.npz", "--by", "pair"], "--documents"),
    ):
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        assert caught.value.code == 1
        error = capsys.readouterr().err
        assert match in error
        assert error.count("\n") == 1


@pytest.fixture
def store():
    generator = np.random.default_rng(0)
    hidden = generator.normal(size=(200, 2))
    first = (hidden @ generator.normal(size=(2, 4)) * 5 + 3).astype(np.float32)
    second = (hidden @ generator.normal(size=(2, 6))).astype(np.float32)
    return PairStore(first, second, np.ones((200, 2), dtype=bool))


def test_untrained_methods_do_what_they_are_called(store):
    masked = store.drop(0.5, 0)
    mean = [
        part[there].mean(axis=0)
        for part, there in zip((store.first, store.second), masked.present.T, strict=True)
    ]
    spread = [
        part[there].std(axis=0)
        for part, there in zip((store.first, store.second), masked.present.T, strict=True)
    ]
    first = (store.first - mean[0]) / spread[0] * masked.present[:, [0]]
    second = (store.second - mean[1]) / spread[1] * masked.present[:, [1]]
    np.testing.assert_allclose(UNTRAINED["first"](masked), first, atol=1e-4)
    np.testing.assert_allclose(UNTRAINED["second"](masked), second, atol=1e-4)
    np.testing.assert_allclose(UNTRAINED["zeros"](masked), np.hstack([first, second]), atol=1e-4)
    scores = UNTRAINED["scores"](masked)
    lengths = masked.present.sum(axis=1)
    np.testing.assert_allclose((scores**2).sum(axis=1), lengths, atol=1e-4)


def test_cca_puts_both_views_of_a_row_in_the_same_place(store):
    masked = store.drop(0.5, 0)
    complete, seen = UNTRAINED["cca"](store)[:, :2], UNTRAINED["cca"](masked)
    only = masked.present.sum(axis=1) == 1
    size = seen.shape[1] // 2
    np.testing.assert_array_equal(seen[only, :size], seen[only, size:])
    for column in range(2):
        one = np.abs(np.corrcoef(complete[:, column], seen[:, column])[0, 1])
        assert one > 0.99


def test_the_translation_error_of_predicting_means_is_one(store):
    torch.manual_seed(0)
    model = Model(4, 6, NetworkConfig(hdn=4, rep=4)).eval()
    masked = store.drop(1.0, 0)
    for direction in (model.network.first_to_second, model.network.second_to_first):
        direction.output.weight.data.zero_()
    model.network._activate_output = lambda values: values
    model.network.first_to_second.output.bias.data = torch.from_numpy(store.second.mean(axis=0))
    model.network.second_to_first.output.bias.data = torch.from_numpy(store.first.mean(axis=0))
    assert translation_error(model, store, masked) == pytest.approx(1, abs=0.1)
    assert np.isnan(translation_error(model, store, store))


def test_results_are_written_as_means_and_deviations(tmp_path):
    results = [
        Result("a", 0.0, 0, {"map": 0.2}),
        Result("a", 0.0, 1, {"map": 0.4}),
        Result("b", 0.5, 0, {"map": 0.1, "error": 1.0}),
    ]
    write_results(tmp_path, results)
    assert (tmp_path / "table.md").read_text().splitlines() == [
        "| method | missing | map | error |",
        "|---|---|---|---|",
        "| a | 0 | 0.300 ± 0.100 |  |",
        "| b | 0.5 | 0.100 ± 0.000 | 1.000 ± 0.000 |",
    ]
    assert (tmp_path / "runs.csv").read_text().splitlines()[1:] == [
        "a,0.0,0,0.2,",
        "a,0.0,1,0.4,",
        "b,0.5,0,0.1,1.0",
    ]
