"""The parts of a page by themselves: baselines, principal components, advice, history."""

import logging
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.report import comparison
from bidnn.report.advice import warnings
from bidnn.report.embedded import points, principal
from bidnn.report.folder import Run, runs_in
from bidnn.report.translation import baselines, relative_error
from bidnn.training.advice import PYTHON
from bidnn.training.diffusion.completion import RIDGES
from bidnn.training.history import MOST, History, due, noted_warnings, read_history


@pytest.fixture
def pairs():
    generator = np.random.default_rng(1)
    source = generator.normal(size=(70, 6)) + 3
    target = source @ generator.normal(size=(6, 4)) + generator.normal(size=(70, 4)) - 2
    return source.astype("f4"), target.astype("f4")


def test_ridge_is_that_of_the_normal_equations_with_the_least_leave_one_out_error(pairs):
    (source, target), known = pairs, slice(0, 50)
    x, y = source[known].astype("f8"), target[known].astype("f8")
    centred, shift = x - x.mean(axis=0), y.mean(axis=0)
    scale = (centred**2).sum() / min(x.shape)
    tried = []
    for strength in (scale * share for share in RIDGES):
        inverse = np.linalg.inv(centred.T @ centred + strength * np.eye(6))
        weights = inverse @ centred.T @ (y - shift)
        hat = centred @ inverse @ centred.T + 1 / len(x)
        left = (y - shift - centred @ weights) / (1 - np.diag(hat))[:, None]
        guess = (source[50:] - x.mean(axis=0)) @ weights + shift
        tried.append(((left**2).sum(), guess))
    best = min(tried, key=lambda entry: entry[0])[1]
    found = baselines(source[known], target[known], source[50:])
    np.testing.assert_allclose(found["ridge"], best, rtol=1e-3, atol=1e-3)
    error = ((best - target[50:]) ** 2).sum() / (
        (target[50:] - target[50:].mean(axis=0)) ** 2
    ).sum()
    assert relative_error(found["ridge"], target[50:]) == pytest.approx(error, rel=1e-3)
    assert error < 0.5


def test_the_other_baselines_are_means_of_what_belongs_to_near_rows(pairs):
    source, target = pairs
    found = baselines(source[:50], target[:50], source[50:])
    centre = source[:50].mean(axis=0)
    for row in range(20):
        cosines = [
            np.dot(source[50 + row] - centre, one - centre) / np.linalg.norm(one - centre)
            for one in source[:50]
        ]
        order = np.argsort(cosines)[::-1]
        np.testing.assert_allclose(found["nearest"][row], target[order[0]])
        np.testing.assert_allclose(
            found["nearest10"][row], target[order[:10]].mean(axis=0), rtol=1e-5
        )
    np.testing.assert_allclose(found["mean"], np.tile(target[:50].mean(axis=0), (20, 1)))
    assert relative_error(target[:50] * 0 + target[:50].mean(axis=0), target[:50]) == pytest.approx(
        1
    )
    assert np.isnan(relative_error(np.ones((3, 2), "f4"), np.ones((3, 2), "f4")))


@pytest.mark.parametrize("shape", [(40, 7), (7, 40), (2, 5), (30, 1)])
def test_principal_components_are_those_of_a_whole_decomposition(shape):
    rows = np.random.default_rng(2).normal(size=shape).astype("f4")
    centred = rows - rows.mean(axis=0)
    values = np.linalg.svd(centred, compute_uv=False)
    places, shares = principal(rows)
    assert places.shape == (shape[0], 2)
    if min(shape) > 2:
        np.testing.assert_allclose(np.linalg.norm(places, axis=0), values[:2], rtol=1e-4)
        np.testing.assert_allclose(shares, values[:2] ** 2 / (values**2).sum(), rtol=1e-4)
    same = np.ones((5, 4), "f4")
    np.testing.assert_array_equal(principal(same)[0], np.zeros((5, 2)))


def test_umap_is_drawn_where_it_is_installed(monkeypatch):
    told = {}

    class Umap:
        def __init__(self, **settings):
            told.update(settings)

        def fit_transform(self, units):
            np.testing.assert_allclose(np.linalg.norm(units, axis=1), 1, rtol=1e-5)
            return np.stack([np.arange(len(units)), 0 * units[:, 0]], axis=1).astype("f4")

    vectors = np.random.default_rng(0).normal(size=(21, 4)).astype("f4")
    rows = PairStore(vectors, vectors, np.ones((21, 2), bool))
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Umap))
    drawn = points(vectors, rows, umap=True)["projections"]
    assert drawn["UMAP"]["x"] == [500 * n for n in range(21)]
    assert drawn["UMAP"]["y"] == [5000] * 21
    assert (told["metric"], told["random_state"]) == ("cosine", 0)
    assert list(points(vectors, rows, umap=False)["projections"]) == ["PCA"]
    monkeypatch.setitem(sys.modules, "umap", None)
    assert list(points(vectors, rows, umap=True)["projections"]) == ["PCA"]


def test_a_long_history_is_thinned_evenly_and_keeps_its_end_and_what_is_seldom():
    history, resumed = History(), History()
    for epoch in range(1, 3001):
        numbers = {"train/loss": 1 / epoch, **({"agreement": epoch / 3000} if due(epoch) else {})}
        history.note(epoch, {"val/loss": 2 / epoch})
        history.note(epoch, numbers)
        if epoch == 1701:
            resumed.restore(history.state())
        if epoch > 1701:
            resumed.note(epoch, {"val/loss": 2 / epoch})
            resumed.note(epoch, numbers)
    assert resumed.state() == history.state()
    assert len(history.epochs) <= MOST + 1
    epochs = [entry["epoch"] for entry in history.epochs]
    assert epochs == sorted(set(epochs))
    assert epochs[-1] == 3000
    assert set(range(8, 3000, 8)) <= set(epochs)
    assert {1, 2, 3, 5, 7, 10} <= set(epochs)
    assert all(entry["val/loss"] == 2 / entry["epoch"] for entry in history.epochs)
    moments = [epoch for epoch in range(1, 41) if due(epoch)]
    assert moments == [*range(1, 9), *range(10, 17, 2), *range(20, 33, 4), 40]


def test_warnings_are_kept_once_and_come_back_from_the_folder(tmp_path):
    history = History()
    with noted_warnings(history):
        for _ in range(2):
            logging.getLogger("bidnn.training.fit").warning("too %s", "few")
            logging.getLogger("bidnn.training.fit").info("all is well")
    logging.getLogger("bidnn").warning("later")
    history.note(1, {"train/loss": float("nan")})
    history.write(tmp_path)
    assert read_history(tmp_path).warnings == ["too few"]
    assert np.isnan(read_history(tmp_path).epochs[0]["train/loss"])
    (tmp_path / "history.json").write_text("{")
    with pytest.raises(UserError, match="no readable history"):
        read_history(tmp_path)


def described(settings=None, epochs=(), metrics=None, folder="run", **record):
    return Run(comparison.Path(folder), settings or {}, record, metrics or {}, list(epochs), [])


def falling(values, name="train/loss"):
    return [{"epoch": n, name: value} for n, value in enumerate(values, start=1)]


def said(run, facts=(), words=None):
    facts = {"rows": {"counts": {"without any": 0}}, **dict(facts)}
    found = warnings(run, facts, words) if words else warnings(run, facts)
    return [(entry["text"], entry["fix"]) for entry in found]


def test_a_loss_that_still_falls_asks_for_twice_the_training_that_is_set():
    epochs = falling([100 - n for n in range(50)])
    (text, fix), *rest = said(described({"trainer": {"max_epochs": 50}}, epochs))
    assert "by 8.6% in the last tenth" in text
    assert fix == "trainer.max_epochs=100"
    assert not rest
    steps = {"trainer": {"max_epochs": -1, "max_steps": 700}}
    assert said(described(steps, epochs), words=PYTHON)[0][1] == 'trainer__max_steps="1400"'
    assert not said(described({**steps, "optimizer": {"schedule": "cosine"}}, epochs))
    assert not said(described(steps, falling([1.0] * 50)))


def test_a_held_out_loss_that_rises_asks_for_an_early_stop_unless_the_best_is_kept():
    epochs = falling([5, 4, 3, 2, 1, *(1 + 0.1 * n for n in range(1, 11))], "val/loss")
    ((text, fix),) = said(described({}, epochs))
    assert "lowest after epoch 5 of 15 (1), and rose to 2" in text
    assert fix == "callbacks=early_stopping"
    assert said(described({"callbacks": {"best": {"monitor": "val/loss"}}}, epochs))[0][1] == ""
    assert said(described({"embedding": {"space": "diffusion"}}, epochs))[0][1] == ""


def test_a_better_baseline_and_buried_rows_are_told_with_what_is_not_set():
    errors = {"network": 0.6, "mean": 1.0, "ridge": 0.4, "nearest": 0.9, "nearest10": 0.7}
    facts = {
        "translation": {"held_out": True, "errors": {"first_to_second": errors}},
        "comparable": {
            "hidden": False,
            "shares": {"complete": {"complete": 1.0, "first-only": 0.2}},
            "cosines": {"complete–complete": {"mean": 0.95}},
        },
    }
    settings = {"model": {"dropout": 0.2}, "embedding": {"centring": "none", "whitening": 0.4}}
    better, buried, alike = said(described(settings), facts)
    assert "ridge regression leaves 0.400 of the variance, the model 0.600" in better[0]
    assert better[1] == "embedding.stacked=true"
    assert "0.20 times" in buried[0]
    assert buried[1] == ("embedding.centring=presence embedding.whitening=0 embedding.shared=1.5")
    assert alike[1] == "embedding=even"
    settings["embedding"]["stacked"] = True
    assert said(described(settings), facts)[0][1] == "model.dropout=0"
    settings = {
        "embedding": {"centring": "presence", "whitening": 0.0, "shared": 1.5, "stacked": True}
    }
    assert [fix for _, fix in said(described(settings), facts)] == ["", "", ""]
    facts["comparable"] |= {"hidden": True, "cosines": {"complete–complete": {"mean": 0.1}}}
    errors["network"] = 0.39
    assert not said(described(settings), facts)


def test_a_share_is_the_adjusted_one_of_an_analysis_of_variance():
    generator = np.random.default_rng(3)
    rates, sizes = np.repeat([1, 2, 3], 6), np.tile([1, 2], 9)
    scores = rates + 0.3 * generator.normal(size=18)
    told = {"lr": rates.astype(str).tolist(), "rep": sizes.astype(str).tolist()}
    found = comparison.shares(told, scores.tolist(), lower=True)
    assert [entry["key"] for entry in found] == ["lr", "rep"]
    for entry, codes in zip(found, (rates, sizes), strict=True):
        groups = [scores[codes == code] for code in np.unique(codes)]
        f, between = stats.f_oneway(*groups).statistic, len(groups) - 1
        share = (f - 1) * between / (f * between + 18 - len(groups))
        assert entry["share"] == pytest.approx(max(0, share))
        assert entry["how"] == "value"
    best = found[0]["values"][0]
    assert (best["value"], best["runs"]) == ("1", 6)
    assert best["mean"] == pytest.approx(scores[:6].mean())
    assert best["best"] == scores[:6].min()


def test_numbers_that_do_not_recur_are_judged_by_rank_and_nothing_is_said_of_few_runs():
    values = [0.1, 0.4, 0.2, 0.9, 0.5, 0.7, 0.3]
    scores = [1.0, 4.5, 2.0, 81.0, 4.0, 49.0, float("nan")]
    told = {"lr": [str(value) for value in values], "name": list("abcdefg")}
    lr, name = comparison.shares(told, scores, lower=False)
    rho = stats.spearmanr(values[:6], scores[:6]).statistic
    assert lr["share"] == pytest.approx(1 - (1 - rho**2) * 5 / 4)
    assert (lr["how"], name["share"]) == ("rank", None)
    assert comparison.shares({"lr": ["1", "1", "2"]}, [1, 1, 2], lower=True)[0]["share"] is None
    assert comparison.shares({"lr": list("1122")}, [1.0] * 4, lower=True)[0]["share"] is None


def test_runs_are_ranked_and_told_apart_by_the_settings_that_differ():
    def one(number, loss, **settings):
        told = {"run_dir": f"sweep/{number}", "objective": "val/loss", "seed": 0, **settings}
        told["output"] = {"path": f"sweep/{number}/out.npz"}
        metrics = {} if loss is None else {"val/loss": loss, "agreement": loss / 2}
        return described(told, falling([9, loss or 1], "val/loss"), metrics, f"sweep/{number}")

    runs = [
        one(0, 2.0, model={"rep": 4, "hdn": 8}),
        one(1, 1.0, model={"rep": 6, "hdn": 12}),
        one(2, None, model={"rep": 6, "hdn": 12}),
    ]
    found = comparison.facts(runs)
    assert found["keys"] == ["model.rep"]
    assert found["also"] == {"model.rep": ["model.hdn"]}
    assert [run["name"] for run in found["runs"]] == ["1", "0", "2"]
    assert [run["settings"] for run in found["runs"]] == [["6"], ["4"], ["6"]]
    assert found["runs"][2]["failure"] == "not finished"
    assert found["lower"]
    assert found["curves"][0] == ["1", [1, 2], [9, 1.0]]
    assert [run["name"] for run in comparison.facts(runs, "agreement")["runs"]] == ["0", "1", "2"]
    with pytest.raises(UserError, match="objective=map: no run has this metric; there are agree"):
        comparison.facts(runs, "map")
    other = described({"objective": "agreement"}, metrics={"agreement": 1.0})
    with pytest.raises(UserError, match="different objectives"):
        comparison.facts([*runs, other])


def test_numbers_that_a_random_search_drew_do_not_count_as_one_setting():
    drawn = [0.1, 0.4, 0.2, 0.9, 0.5, 1 / 3]
    runs = [
        described(
            {"objective": "agreement", "lr": lr, "dropout": 1 - lr, "same": lr, "batch": n % 2},
            metrics={"agreement": lr},
            folder=f"search/{n}",
        )
        for n, lr in enumerate(drawn)
    ]
    assert comparison.facts(runs[:4])["keys"] == ["lr", "dropout", "batch"]
    found = comparison.facts(runs)
    assert found["keys"] == ["lr", "dropout", "batch"]
    assert found["also"] == {"lr": ["same"], "dropout": [], "batch": []}
    assert [run["settings"][0] for run in found["runs"]][-3:] == ["0.333333", "0.2", "0.1"]
    assert [entry["key"] for entry in found["matters"]][:2] == ["lr", "dropout"]


def test_the_runs_of_a_sweep_are_found_in_the_order_of_their_numbers(tmp_path):
    for name in ("10", "9", "empty"):
        (tmp_path / name).mkdir()
        if name != "empty":
            (tmp_path / name / "config.yaml").write_text("seed: 0\n")
    assert [path.name for path in runs_in(tmp_path)] == ["9", "10"]
    assert runs_in(tmp_path / "9") == [tmp_path / "9"]
    with pytest.raises(UserError, match="neither a run's folder"):
        runs_in(tmp_path / "empty")
    (tmp_path / "empty" / "trials").symlink_to(tmp_path)  # as a search has them
    assert runs_in(tmp_path / "empty")[0].name == "9"
    with pytest.raises(UserError, match="no run's folder"):
        Run.read(tmp_path)
