"""scikit-learn's conventions: parameters, clones, searches, pipelines, pickles, one input."""

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from lightning.pytorch.callbacks import LearningRateMonitor
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from bidnn import BiDNN, Config, pack
from bidnn.errors import UserError


@pytest.fixture
def pairs():
    generator = np.random.default_rng(0)
    hidden = generator.normal(size=(90, 2))
    first = np.tanh(hidden @ generator.normal(size=(2, 3))).astype(np.float32)
    second = np.tanh(hidden @ generator.normal(size=(2, 5))).astype(np.float32)
    return first, second


def quick(**more):
    return BiDNN(**{"hdn": 8, "rep": 4, "epochs": 3, "batch_size": 16, "verbosity": 0, **more})


def test_parameters_are_those_that_were_given_and_clones_have_them(pairs):
    config = Config(lr=0.05)
    net = BiDNN(config, recipe="paper", hdn=8, loss__self_weight=0.0, random_state=3, verbosity=0)
    given = net.get_params()
    assert given == {
        **{"config": config, "recipe": "paper", "config_dir": None, "random_state": 3},
        **{"hdn": 8, "loss__self_weight": 0.0, "verbosity": 0},
    }
    assert repr(quick(rep=6)) == "BiDNN(hdn=8, rep=6, epochs=3, batch_size=16, verbosity=0)"
    twin = clone(net)
    assert twin.get_params() == given
    assert (twin.config.seed, twin.config.lr, twin.config.hdn) == (3, 0.05, 8)
    twin.set_params(hdn=16, lr=0.2)
    assert (twin.config.hdn, twin.config.lr, net.config.hdn) == (16, 0.2, 8)
    with pytest.raises(ValueError, match="Invalid parameter: BiDNN has no setting hdm; did you"):
        twin.set_params(hdm=16)
    for typed, near in (("recpie", "recipe"), ("confg_dir", "config_dir")):
        with pytest.raises(TypeError, match=f"no setting {typed}; did you mean {near}"):
            BiDNN(**{typed: "x"})
    with pytest.raises(TypeError, match="did you mean random_state"):
        BiDNN(random_sate=1)
    with pytest.raises(TypeError, match="random_state and seed are the same"):
        BiDNN(random_state=1, seed=1)


def test_settings_can_change_without_forgetting_what_was_trained(pairs):
    net = quick()
    with pytest.raises(NotFittedError):
        check_is_fitted(net)
    expected = net.fit(*pairs).transform(*pairs)
    check_is_fitted(net)
    assert net.n_features_in_ == 8
    np.testing.assert_array_equal(net.set_params(lr=0.5).transform(*pairs), expected)
    assert not np.array_equal(net.fit(*pairs).transform(*pairs), expected)
    assert quick(random_state=5).config.seed == quick(seed=5).config.seed == 5
    one, other = (quick(random_state=np.random.RandomState(0)) for _ in range(2))
    assert one.config.seed == other.config.seed != 0


def test_packed_rows_are_the_two_modalities(pairs):
    first, second = (part.copy() for part in pairs)
    first[:5], second[5:10] = np.nan, np.nan
    both = pack(pd.DataFrame(first), np.ma.masked_invalid(second))
    expected = quick().fit(first, second).transform(first, second)
    net = quick()
    np.testing.assert_array_equal(net.fit_transform(both), expected)
    np.testing.assert_array_equal(net.transform(both[20:30]), expected[20:30])
    np.testing.assert_array_equal(quick().fit(both, np.arange(90) % 3).transform(both), expected)
    words = pd.Series(["a", "b", "c"] * 30, dtype=object)
    plain = np.hstack([first, second])
    labelled = quick(mod1size=3).fit(plain, words)
    np.testing.assert_array_equal(labelled.transform(plain), expected)
    np.testing.assert_array_equal(quick(mod1size=3).fit(plain).transform(plain), expected)
    assert pickle.loads(pickle.dumps(both[3:7])).mod1size == 3
    with pytest.raises(UserError, match=r"fit takes both modalities: .* BiDNN\(mod1size=…\)"):
        quick().fit(plain)
    with pytest.raises(UserError, match="pack: 90 and 89 rows; they are pairs"):
        pack(first, second[1:])


def test_a_search_finds_the_settings_that_translate_best(pairs):
    first, second = (part.copy() for part in pairs)
    first[::9] = np.nan
    net = quick(scaling="standard", output_act="linear")
    labels = np.arange(90) % 3
    search = GridSearchCV(net, {"epochs": [1, 100]}, cv=2).fit(pack(first, second), labels)
    assert search.best_params_ == {"epochs": 100}
    assert search.best_score_ > 0.3
    assert search.transform(pack(first, second)).shape == (90, 4)
    scores = cross_val_score(net.set_params(epochs=100), pack(first, second), cv=2)
    assert scores.mean() == pytest.approx(search.best_score_, abs=1e-6)


def test_the_score_is_the_share_of_variance_that_is_explained(pairs):
    first, second = pairs
    net = quick(epochs=60, scaling="standard", output_act="linear").fit(first, second)
    shares = []
    for part, found in (
        (first, net.translate(second=second)),
        (second, net.translate(first=first)),
    ):
        shares.append(1 - ((part - found) ** 2).sum() / ((part - part.mean(axis=0)) ** 2).sum())
    assert net.score(first, second) == pytest.approx(np.mean(shares), abs=1e-5)
    with_gap = first.copy()
    with_gap[:40] = np.nan
    expected = net.score(first[40:], second[40:])
    assert net.score(with_gap, second) == pytest.approx(expected, abs=1e-6)


def test_a_pipeline_scales_both_modalities_before(pairs):
    first, second = pairs
    both = pack(first * 100 + 7, second)
    pipeline = make_pipeline(StandardScaler(), quick(mod1size=3))
    found = pipeline.set_params(bidnn__rep=6).fit(both).transform(both)
    scaled = StandardScaler().fit_transform(np.asarray(both))
    expected = (
        quick(rep=6).fit(scaled[:, :3], scaled[:, 3:]).transform(scaled[:, :3], scaled[:, 3:])
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)
    with config_context(transform_output="pandas"):
        frame = pipeline.transform(both)
    assert frame.columns.tolist() == pipeline[-1].get_feature_names_out().tolist()


def test_a_trained_one_is_pickled_and_used_in_other_processes(pairs, tmp_path):
    net = quick().fit(*pairs)
    expected = net.transform(*pairs)
    twin = pickle.loads(pickle.dumps(net))
    np.testing.assert_array_equal(twin.transform(*pairs), expected)
    assert twin.get_params() == net.get_params()
    joblib.dump(net, tmp_path / "net.joblib")
    again = joblib.load(tmp_path / "net.joblib")
    (found,) = joblib.Parallel(n_jobs=2)([joblib.delayed(again.transform)(*pairs)])
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_labels_after_a_step_that_forgets_both_modalities_are_answered_with_the_way_out(pairs):
    scaled = make_pipeline(StandardScaler(), quick())
    for labels in (None, np.arange(90) % 3, ["a", "b", "c"] * 30):
        with pytest.raises(UserError, match=r"fit takes both modalities: .* BiDNN\(mod1size=…\)"):
            scaled.fit(pack(*pairs), labels)


def test_a_seed_is_drawn_by_each_training_and_by_nothing_else(pairs):
    state, twin = np.random.RandomState(1), np.random.RandomState(1)
    net = quick(random_state=state)
    assert net.set_params(epochs=1).get_params()["random_state"] is state
    assert state.randint(9) == twin.randint(9)
    expected = int(twin.randint(2**31))
    assert net.set_params(epochs=1).config.seed == expected
    assert net.fit(*pairs).config.seed == expected
    found = net.transform(*pairs)
    np.testing.assert_array_equal(
        found, quick(epochs=1, seed=expected).fit(*pairs).transform(*pairs)
    )
    assert net.fit(*pairs).config.seed == int(twin.randint(2**31)) != expected
    one = quick(epochs=1, random_state=np.random.default_rng(2)).fit(*pairs)
    assert one.config.seed == int(np.random.default_rng(2).integers(2**31))


@pytest.mark.parametrize(
    ("name", "part", "columns"), [("mod1size", "first", 3), ("mod2size", "second", 5)]
)
def test_a_declared_size_that_the_rows_do_not_have_is_refused(pairs, name, part, columns):
    with pytest.raises(UserError, match=rf"^{name}=7: {part} has {columns} columns"):
        quick(**{name: 7}).fit(*pairs)
    quick(epochs=1, **{name: columns}).fit(*pairs)


def test_a_score_of_no_complete_row_is_refused(pairs):
    first, second = pairs
    with pytest.raises(UserError, match=r"^score: no row has both modalities"):
        quick(epochs=1).fit(first, second).score(first * np.nan, second)


def test_none_in_lists_is_a_missing_row(pairs):
    first, second = (part.copy() for part in pairs)
    lists = [first.tolist(), second.tolist()]
    first[[0, 7]], second[5] = np.nan, np.nan
    lists[0][0] = lists[0][7] = lists[1][5] = None
    expected = quick().fit(first, second).transform(first, second)
    net = quick().fit(*lists)
    np.testing.assert_array_equal(net.transform(*lists), expected)


def test_a_callback_that_logs_needs_a_folder_and_a_schedule_a_step(pairs):
    with pytest.raises(UserError, match=r"^callback LearningRateMonitor: .* run_dir=FOLDER"):
        quick().fit(*pairs, callbacks=[LearningRateMonitor()])
    with pytest.raises(UserError, match=r"trainer.max_epochs, or .* optimizer.schedule=constant"):
        quick(epochs=0).fit(*pairs)
