"""scripts/compare.py, its baselines and its metrics, against second computations."""

import csv
import logging

import numpy as np
import pytest
import torch

from bidnn.architecture import NetworkConfig
from bidnn.data.store import Modality, PairStore
from bidnn.evaluation.mixed import KINDS, mixed_pool
from bidnn.model.model import Model
from bidnn.programs.compare import (
    Mask,
    hidden_agreement,
    mixed_metrics,
    shown_three_ways,
    translation_error,
)
from bidnn.programs.methods import UNTRAINED
from bidnn.programs.tables import Result, log_best, read_results, write_tables
from tests.programs.running import refused, run, succeed

COMPARE = "scripts/compare.py"


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
    write_tables(tmp_path, results)
    assert (tmp_path / "table.md").read_text().splitlines() == [
        "| method | missing | map | error |",
        "|---|---|---|---|",
        "| a | 0 | 0.300 ± 0.100 |  |",
        "| b | 0.5 | 0.100 ± 0.000 | 1.000 ± 0.000 |",
    ]
    assert (tmp_path / "runs.csv").read_text().splitlines()[1:] == [
        "a,0.0,0,0.2,,",
        "a,0.0,1,0.4,,",
        "b,0.5,0,0.1,1.0,",
    ]


def test_of_one_seed_no_deviation_is_told(tmp_path):
    write_tables(tmp_path, [Result("a", 0.0, 3, {"map": 0.2}), Result("b", 0.0, 3, {"map": 0.4})])
    assert (tmp_path / "table.md").read_text().splitlines()[2:] == [
        "| a | 0 | 0.200 |",
        "| b | 0 | 0.400 |",
    ]
    assert "map deviation" in (tmp_path / "table.csv").read_text()


def test_mixed_pools_have_tables_of_their_own(tmp_path):
    def found(recall, share):
        return {"pair_recall@10": recall, "share complete": share}

    results = [
        Result("a", 0.5, 0, {"map": 0.2}, mixed={"first-only": found(0.2, 1.0)}),
        Result("a", 0.5, 1, {"map": 0.4}, mixed={"first-only": found(0.4, 2.0)}),
        Result("b", 0.5, 0, mixed={"complete": {"ndcg@10": 0.5, "share complete": 0.5}}),
        Result("b", 0.0, 0, {"map": 0.1}),
    ]
    write_tables(tmp_path, results[3:])
    assert not list(tmp_path.glob("mixed.*"))
    write_tables(tmp_path, results)
    assert (tmp_path / "mixed.md").read_text().splitlines() == [
        "| method | missing | query | ndcg@10 | pair_recall@10 | share complete |",
        "|---|---|---|---|---|---|",
        "| b | 0.5 | complete | 0.500 ± 0.000 |  | 0.500 ± 0.000 |",
        "| a | 0.5 | first-only |  | 0.300 ± 0.100 | 1.500 ± 0.500 |",
    ]
    assert (tmp_path / "mixed.csv").read_text().splitlines() == [
        "method,rate,seed,query,ndcg@10,pair_recall@10,share complete",
        "b,0.5,0,complete,0.5,,0.5",
        "a,0.5,0,first-only,,0.2,1.0",
        "a,0.5,1,first-only,,0.4,2.0",
    ]
    assert (tmp_path / "table.md").read_text().splitlines()[0] == "| method | missing | map |"


def test_a_failure_stands_in_the_tables_with_its_reason(tmp_path):
    results = [
        Result("a", 0.0, 0, {"map": 0.2}),
        Result("a", 0.0, 1, failure="no | rows"),
        Result("b", 0.0, 0, failure="no rows"),
        Result("b", 0.0, 1, failure="no rows"),
    ]
    write_tables(tmp_path, results)
    assert (tmp_path / "table.md").read_text().splitlines()[2:] == [
        "| a | 0 | 0.200 ± 0.000 | 1 of 2 failed: no \\| rows |",
        "| b | 0 |  | 2 of 2 failed: no rows |",
    ]
    with (tmp_path / "table.csv").open() as file:
        assert [row["failure"] for row in csv.DictReader(file)] == [
            "1 of 2 failed: no | rows",
            "2 of 2 failed: no rows",
        ]
    with (tmp_path / "runs.csv").open() as file:
        assert [row["failure"] for row in csv.DictReader(file)] == [r.failure for r in results]


def test_the_best_is_named_by_rate_and_metric_unless_a_run_of_it_failed(caplog):
    caplog.set_level(logging.INFO)
    log_best(
        [
            Result("a", 0.0, 0, {"agreement": 0.2, "map": 0.5}),
            Result("b", 0.0, 0, {"agreement": 0.4, "map": 0.3}),
            Result("c", 0.0, 0, {"agreement": 0.9, "map": 0.9}),
            Result("c", 0.0, 1, failure="no rows"),
            Result("a", 0.5, 0, {"agreement": 0.1}),
        ]
    )
    assert caplog.messages == [
        "best by agreement at rate 0.5: a 0.100",
        "best by mAP at rate 0: a 0.500, then b 0.300",
    ]


def by_counting(vectors, values):
    """Agreement as it is defined, one row after the other."""
    values = values - values.mean(axis=0)
    shares = []
    for row in range(len(vectors)):
        near = []
        for one in (vectors, values):
            cosines = one @ one[row] / np.linalg.norm(one, axis=1)
            cosines[row] = -np.inf
            near.append(set(np.argsort(-cosines)[:10]))
        shares.append(len(near[0] & near[1]) / 10)
    return np.mean(shares)


def test_agreement_counts_neighbours_in_what_was_hidden(store):
    vectors = np.random.default_rng(1).normal(size=(200, 3)) + 10 * store.first[:, :3]
    masked = store.drop(0.5, 0)
    expected = []
    for side, values in enumerate((store.first, store.second)):
        lost = ~masked.present[:, side]
        expected.append(by_counting(vectors[lost], values[lost].astype(np.float64)))
    assert hidden_agreement(vectors, store, masked) == pytest.approx(np.mean(expected), abs=1e-3)
    both = [by_counting(vectors, v.astype(np.float64)) for v in (store.first, store.second)]
    assert hidden_agreement(vectors, store, store) == pytest.approx(np.mean(both), abs=1e-3)
    assert hidden_agreement(store.first - store.first.mean(axis=0), store, store) > 0.5
    assert np.isnan(hidden_agreement(vectors, store, store.drop(0.1, 0)))


@pytest.fixture
def labelled(store):
    labels = np.array(["plus", "minus"])[(store.first[:, 0] > 3).astype(int)]
    return PairStore(store.first, store.second, store.present, labels)


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_a_model_is_shown_three_ways_what_the_mask_hid(labelled, rate):
    torch.manual_seed(0)
    model = Model(4, 6, NetworkConfig(hdn=4, rep=4)).eval()
    masked = labelled.drop(rate, 0)
    mask = Mask(rate, 0, labelled, masked)
    rows = np.flatnonzero(~masked.present.all(axis=1)) if rate else np.arange(200)
    pool, items = shown_three_ways(mask)
    np.testing.assert_array_equal(items, np.tile(rows, 3))
    vectors = []
    for shown in KINDS.values():
        present = torch.tensor(shown).expand(len(rows), 2)
        parts = (torch.from_numpy(part[rows]) for part in (labelled.first, labelled.second))
        with torch.no_grad():
            vectors.append(model.embed(*parts, present).numpy())
    present = np.repeat(list(KINDS.values()), len(rows), axis=0)
    np.testing.assert_array_equal(pool.present, present)
    expected = mixed_pool(
        np.concatenate(vectors), present, np.tile(labelled.labels[rows], 3), items
    )
    found = mixed_metrics(np.full((200, 4), np.nan), model, mask)
    for kind, scores in expected.items():
        assert found[kind]["ndcg@10"] == pytest.approx(scores.ndcg, abs=1e-3)
        for other, share in scores.shares.items():
            assert found[kind][f"share {other}"] == pytest.approx(share, abs=1e-2)
    for kind in ("first-only", "second-only"):
        recall = expected[kind].pair_recall
        assert found[kind]["pair_recall@10"] == pytest.approx(recall, abs=1e-2)
    assert "pair_recall@10" not in found["complete"]
    mask = Mask(rate, 0, *(PairStore(s.first, s.second, s.present) for s in (labelled, masked)))
    without = mixed_metrics(np.empty((200, 4)), model, mask)
    assert without == {k: {n: v for n, v in m.items() if n != "ndcg@10"} for k, m in found.items()}


def test_what_is_not_trained_is_compared_in_the_rows_of_the_mask(labelled):
    vectors = np.random.default_rng(2).normal(size=(200, 3))
    masked = labelled.drop(0.5, 0)
    found = mixed_metrics(vectors, None, Mask(0.5, 0, labelled, masked))
    expected = mixed_pool(vectors, masked.present, labelled.labels)
    assert found == {kind: scores.metrics() for kind, scores in expected.items()}
    assert all("pair_recall@10" not in scores for scores in found.values())
    assert set(found) == set(KINDS)
    first = labelled.drop(0.5, 0, Modality.first)
    assert set(mixed_metrics(vectors, None, Mask(0.5, 0, labelled, first))) == {
        "complete",
        "second-only",
    }


def test_where_no_pool_can_be_made_nothing_is_measured(labelled):
    model = Model(4, 6, NetworkConfig(hdn=4, rep=4))
    few = labelled.drop(0.05, 0)
    vectors = np.zeros((200, 4), dtype=np.float32)
    for trained, masked in ((None, labelled), (None, few), (model, few)):
        assert mixed_metrics(vectors, trained, Mask(0.05, 0, labelled, masked)) == {}


@pytest.fixture
def features(tmp_path):
    generator = np.random.default_rng(0)
    first = generator.normal(size=(90, 5)).astype(np.float32)
    second = (first @ generator.normal(size=(5, 7))).astype(np.float32)
    np.savez(tmp_path / "features.npz", first=first, second=second)
    return tmp_path


def arguments(features, methods, *more):
    return (
        *("data=npz", f"data.path={features / 'features.npz'}", "rates=[0.0,0.6]", "seeds=[0]"),
        *("~methods", f"+methods={methods}", f"hydra.run.dir={features / 'run'}", *more),
    )


def test_without_labels_methods_are_compared_by_agreement_and_translation_error(features):
    small = "{train: ['model.hdn=8', 'model.rep=4', 'trainer.max_epochs=1']}"
    ended = succeed(COMPARE, *arguments(features, f"{{knn: {{}}, small: {small}}}"))
    with (features / "run" / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert not {"map mean", "accuracy mean"} & set(rows[0])
    assert all(0 < float(row["agreement mean"]) <= 1 for row in rows)
    assert [bool(row["error mean"]) for row in rows] == [False, False, False, True]
    with (features / "run" / "mixed.csv").open() as file:
        pools = list(csv.DictReader(file))
    assert {(row["method"], row["rate"]): bool(row["pair_recall@10"]) for row in pools[-6:]} == {
        ("small", "0.0"): True,
        ("knn", "0.6"): False,
        ("small", "0.6"): True,
    }
    assert "ndcg@10" not in pools[0]
    last = (ended.out + ended.err).splitlines()[-2:]
    assert ["best by agreement at rate" in line for line in last] == [False, True]
    assert "best by agreement at rate 0.6" in last[1]  # at rate 0 nothing is hidden


def own_loss(folder, *lines):
    """A folder for --config-dir, with a loss `own` that does what the lines say."""
    own = folder / "own"
    (own / "loss").mkdir(parents=True)
    (own / "loss" / "own.yaml").write_text("_target_: owning.Own\n")
    head = ["import os, pathlib", "from bidnn.losses import LossConfig", "class Own:"]
    body = ["self_paths = incomplete_rows = False", "def __call__(self, *given):"]
    code = [*head, *(f"    {line}" for line in body), *(f"        {line}" for line in lines)]
    (own / "owning.py").write_text("\n".join(code) + "\n")
    return own


def test_a_method_that_fails_leaves_the_others_to_theirs(features):
    """An own loss, of a folder that only --config-dir names, fails in its first step."""
    own = own_loss(features, "raise ArithmeticError('no loss today')")
    methods = "{own: {train: ['loss=own']}, zeros: {}}"
    ended = run(COMPARE, "--config-dir", own, *arguments(features, methods))
    assert ended.status == 1
    table = (features / "run" / "table.md").read_text()
    assert table.count("1 of 1 failed: ArithmeticError: no loss today") == 2
    assert "best by agreement at rate 0.6: zeros" in ended.out + ended.err
    assert "2 of 4 runs failed" in (ended.out + ended.err).splitlines()[-1]


def test_a_comparison_that_was_killed_goes_on_with_what_it_has(features):
    """An own loss kills the program in the second method, for the first time."""
    small = "'model.hdn=8', 'model.rep=4', 'trainer.max_epochs=2'"
    own = own_loss(
        features,
        f"been = pathlib.Path({str(features / 'been')!r})",
        "if not been.exists():",
        "    been.touch()",
        "    os.kill(os.getpid(), 9)",
        "return LossConfig()(*given)",
    )
    killing = f"{{train: ['loss=own', {small}]}}"
    methods = f"{{one: {{train: [{small}]}}, two: {killing}, zeros: {{}}}}"
    given = ("--config-dir", own, *arguments(features, methods), "rates=[0.5]")
    ended = run(COMPARE, *given, "resume=true")
    assert (ended.status, "no comparison to resume" in ended.err) == (1, True)
    assert run(COMPARE, *given).status == -9
    runs = features / "run" / "runs.csv"
    (first,) = rows_of(runs)
    assert first["method"] == "one"
    said = succeed(COMPARE, *given, "resume=true").err
    assert "1 results are kept" in said
    assert [row["method"] for row in rows_of(runs)] == ["one", "two", "zeros"]
    assert rows_of(runs)[0] == first  # its seconds, too
    ended = run(COMPARE, *given, "resume=true", "common=[]")
    assert (ended.status, "to resume was begun with common=" in ended.err) == (1, True)
    other = [argument for argument in given if "methods=" not in str(argument)]
    other.append(
        f"+methods={{one: {{train: [{small}, 'seed=0', 'model.dropout=0']}}, zeros: {{}}}}"
    )
    said = succeed(COMPARE, *other, "resume=auto", "rates=[0.5,0.0]").err
    assert "2 results are kept" in said
    found = {(row["method"], row["rate"]): row for row in rows_of(runs)}
    assert set(found) == {(m, r) for m in ("one", "zeros") for r in ("0.5", "0.0")} | {
        ("two", "0.5")
    }
    assert found["one", "0.5"]["error"] != first["error"]


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("methods", "more", "said"),
    [
        ("{zeros: {}, knnn: {}}", (), "methods.knnn: give it"),
        ("{zeros: {}, knn: {tran: []}}", (), "methods.knn: give it"),
        ("{zeros: {}, own: {train: ['model.hdm=3']}}", (), "methods.own: "),
        ("{zeros: {}}", ("rates=[0.0,1.5]",), "rates: 1.5"),
        ("{zeros: {}}", ("seeds=[0,-1]",), "seeds: -1"),
        ("{zeros: {}}", ("seeds=[]",), "seeds: give at least one"),
    ],
)
def test_mistakes_are_found_before_the_first_method_runs(features, methods, more, said):
    assert said in refused(COMPARE, *arguments(features, methods, *more))
    assert not (features / "run" / "runs.csv").exists()


def test_results_are_read_as_they_were_written(tmp_path):
    mixed = {"complete": {"ndcg@10": 1 / 3, "share complete": 0.1}, "first-only": {"ndcg@10": 0.2}}
    results = [
        Result("knn", 0.5, 1, {"map": 2 / 3, "nmi": 0.25}, mixed=mixed),
        Result("mine", 0.0, 0, {"map": 0.1}),
    ]
    write_tables(tmp_path, [*results, Result("other", 0.5, 0, failure="it fell over")])
    assert read_results(tmp_path) == results
    assert read_results(tmp_path / "none") == []
