"""The parts of `bidnn tune`: ranges, its command line, and the study that processes share."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.evaluation.trials import Axis, Point, draw_trials
from bidnn.programs.config import CONF, TuneConfig
from bidnn.programs.settings import compose_program, typed
from bidnn.programs.tuning.arguments import as_hydra, as_typed
from bidnn.programs.tuning.results import importances_of, write_csv
from bidnn.programs.tuning.space import read_range, read_space
from bidnn.programs.tuning.study import JOURNAL, opened


@pytest.mark.parametrize(
    ("text", "distribution"),
    [
        ("choice(64, 128)", CategoricalDistribution(("64", "128"))),
        ("choice([1,2],null,'a,b')", CategoricalDistribution(("[1,2]", "null", "'a,b'"))),
        ("int(4,9)", IntDistribution(4, 9)),
        ("int(64,512,step=64)", IntDistribution(64, 512, step=64)),
        ("int(1, 1e3, log)", IntDistribution(1, 1000, log=True)),
        ("float(-0.5,.5)", FloatDistribution(-0.5, 0.5)),
        ("float(0,0.3,step=0.1)", FloatDistribution(0.0, 0.3, step=0.1)),
        ("log(1e-4,0.1)", FloatDistribution(1e-4, 0.1, log=True)),
    ],
)
def test_a_range_is_what_is_written(text, distribution):
    found = read_range("k", text)
    assert found.distribution() == distribution
    assert read_range("k", found.text) == found


def test_values_are_typed_to_the_last_digit():
    assert read_range("k", "log(1e-4,0.1)").typed(0.1 + 0.2) == "0.30000000000000004"
    assert read_range("k", "int(4,9)").typed(5) == "5"
    assert read_range("k", "int(4,9)").tried == ("4", "9")
    assert read_range("k", "choice(a,b,c)").tried == ("a", "b", "c")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("64", "no range; write choice"),
        ("chioce(1,2)", "no range"),
        ("choice(1,2", "no range"),
        ("choice(1,1,2)", "1 is there twice"),
        ("choice(1)", "one value is no choice"),
        ("choice(1,,2)", "a value is missing"),
        ("int(1)", "two bounds"),
        ("int(1,x)", "x is no number"),
        ("int(1,nan)", "nan is no number"),
        ("float(1,1e999)", "1e999 is no number"),
        ("int(1,2.5)", "2.5 is no whole number"),
        ("float(2,1)", "2 must be below the upper one, 1"),
        ("int(3,3)", "must be below"),
        ("log(0,1)", "bounds must be above 0"),
        ("int(-1,9,log)", "bounds must be above 0"),
        ("int(1,9,log,step=2)", "step=2 has no meaning"),
        ("int(1,9,step=2,log)", "there is no step"),
        ("int(1,9,step=3)", "some steps of 3"),
        ("int(1,9,step=-2)", "some steps of -2"),
        ("float(0,1,log)", "log has no meaning here"),
        ("log(1,2,step=1)", "step=1 has no meaning"),
    ],
)
def test_what_is_no_range_is_refused_by_its_key(text, why):
    with pytest.raises(UserError) as refused:
        read_range("model.rep", text)
    line = str(refused.value)
    assert line.startswith(f"space.model.rep={text}: ")
    assert why in line
    assert "\n" not in line


def test_a_space_has_dotted_and_nested_keys_and_null_takes_one_out():
    space = read_space({"a.b": "int(1,2)", "c": {"d": {"e": "log(1,2)"}, "f": None}, "g": None})
    assert list(space) == ["a.b", "c.d.e"]
    with pytest.raises(UserError, match="space: nothing is searched; choose space=default"):
        read_space({"a": None})


@pytest.mark.parametrize("path", sorted((CONF / "space").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_space_is_one_of_a_training(path):
    recipe = ["experiment=incomplete"] if path.stem == "incomplete" else []
    space = read_space(typed(compose_program("tune", [f"space={path.stem}", "run_dir=x"])).space)
    assert len(space) >= 4
    for end in (0, -1):
        drawn = [f"{key}={found.tried[end]}" for key, found in space.items()]
        compose_program("train", [*recipe, *drawn])


def test_the_command_line_is_hydras_and_back():
    training = [
        *("experiment=incomplete", "data.path=a b.npz", "+callbacks.x._target_=y.Z"),
        *("~callbacks.best", "output.path=${run_dir}/x"),
    ]
    own = ["trials=7", "space=default", "hydra.run.dir=there", "seed=3"]
    ranges = ["space.model.rep=choice(64,128)", "space.optimizer=choice(sgd,adam)"]
    more = ["space.optimizer.lr=log(1e-3,0.1)", "space.model.hdn=null"]
    hydras = as_hydra([*training, *own, *ranges, *more])
    assert sorted(as_typed(hydras)) == sorted([*training, *own, *ranges, *more])
    config = typed(
        compose_program("tune", [h for h in hydras if "hydra." not in h] + ["run_dir=x"])
    )
    assert config.train == training
    assert (config.trials, config.seed) == (7, 3)
    space = read_space(config.space)
    assert "model.hdn" not in space
    assert space["model.rep"].values == ("64", "128")
    assert space["optimizer"].values == ("sgd", "adam")
    assert space["optimizer.lr"].low == Decimal("1e-3")
    listed = as_hydra(["train=['model.hdn=4','output.path=${run_dir}/x']", "data=npz", "run_dir=x"])
    assert typed(compose_program("tune", listed)).train == [
        *("model.hdn=4", "output.path=${run_dir}/x", "data=npz"),
    ]


@settings(max_examples=10, deadline=None)
@given(st.text("ab1 .'\"\\,=${}[]():~#*é", min_size=1))
def test_any_text_comes_back_from_hydra(text):
    written = [f"data.path={text}", f"+callbacks.x.y={text}"]
    hydras = as_hydra(written)
    assert as_typed(hydras) == written
    assert typed(compose_program("tune", [*hydras, "run_dir=x"])).train == written


SPACE = read_space({"a": "float(0,1)", "b": "choice(x,y)"})


@pytest.fixture
def rows():
    values = np.random.default_rng(0).normal(size=(8, 3)).astype("f4")
    return PairStore(values, values, np.ones((8, 2), bool))


@pytest.fixture
def config(tmp_path):
    return TuneConfig(run_dir=str(tmp_path))


def train(study, count, trials=99):
    """Trials whose value is what was drawn."""
    for _ in range(count):
        asked = study.ask(trials)
        value = asked.trial.params["a"]
        study.complete(asked, value, {"agreement": value})


def test_draws_depend_on_seed_and_place_alone_and_go_on_in_another_process(config, rows, tmp_path):
    found = {}
    for name, parts in {"whole": (14,), "parts": (3, 1, 10)}.items():
        one = replace(config, run_dir=str(tmp_path / name))
        for part in parts:
            with opened(one, SPACE, {}, rows) as study:
                train(study, part)
        found[name] = [tuple(t.params.values()) for t in study.counted()]
    assert found["whole"] == found["parts"]
    assert len(set(found["whole"])) == 14
    with opened(replace(config, run_dir=str(tmp_path / "c"), seed=1), SPACE, {}, rows) as study:
        train(study, 1)
    assert tuple(study.counted()[0].params.values()) != found["whole"][0]


def test_a_trial_of_another_machine_is_waited_for_until_that_is_gone(config, rows):
    with opened(config, SPACE, {}, rows) as study:
        train(study, 1)
        elsewhere = replace(study, worker={"machine": "far", "process": "1"})
        asked = elsewhere.ask(3)
        asked.trial.report(0.5, 4)
        train(study, 1, trials=3)
        assert study.ask(3) is None
    with opened(replace(config, gone=["far"]), SPACE, {}, rows) as study:
        again = study.ask(3)
        assert again.trial.params == asked.trial.params
        assert again.folder == asked.folder
        assert study.optuna.trials[again.number].intermediate_values == {4: 0.5}
        study.complete(again, 1.0, {})
        assert study.ask(3) is None
        assert [trial.number for trial in study.counted()] == [0, 2, 3]


def test_a_trial_of_a_process_of_this_machine_that_has_ended_is_begun_again_once(config, rows):
    with opened(config, SPACE, {}, rows) as other:
        cut_off = other.ask(2)
        with opened(config, SPACE, {}, rows) as study:
            train(study, 1, trials=2)
            assert study.ask(2) is None  # the other is alive
    with opened(config, SPACE, {}, rows) as study:
        again = study.ask(2)
        assert again.folder == cut_off.folder
        assert study.ask(2) is None
        states = [trial.state for trial in study.optuna.trials]
        assert states == [TrialState.FAIL, TrialState.COMPLETE, TrialState.RUNNING]


def test_a_signal_that_comes_as_a_trial_has_been_recorded_changes_it_no_more(config, rows):
    with opened(config, SPACE, {}, rows) as study:
        asked = study.ask(2)
        study.complete(asked, 1.0, {})
        study.interrupt(asked, "stopped by SIGTERM")
        assert [trial.state for trial in study.optuna.trials] == [TrialState.COMPLETE]
        asked = study.ask(2)
        study.interrupt(asked, "stopped by SIGTERM")
        again = study.ask(2)
        assert again.trial.params == asked.trial.params
        assert [trial.number for trial in study.counted()] == [0, 2]


def test_a_journal_that_ends_within_a_line_is_read_up_to_it(config, rows, tmp_path):
    with opened(config, SPACE, {}, rows) as study:
        train(study, 2)
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b'{"op_code":5,"worker')
    with opened(config, SPACE, {}, rows) as study:
        train(study, 1)
    with opened(config, SPACE, {}, rows) as study:
        assert [trial.state for trial in study.counted()] == [TrialState.COMPLETE] * 3


def test_other_rows_or_settings_are_refused(config, rows):
    with opened(config, SPACE, {"model.hdn": 4}, rows):
        pass
    with (
        pytest.raises(UserError, match=r"begun with model\.hdn=4; set that"),
        opened(config, SPACE, {"model.hdn": 5}, rows),
    ):
        pass
    with (
        pytest.raises(UserError, match="other rows than there are now"),
        opened(config, SPACE, {"model.hdn": 4}, rows.drop(0.5, 0)),
    ):
        pass
    with (
        pytest.raises(UserError, match="no study to resume"),
        opened(replace(config, resume=True, run_dir=f"{config.run_dir}/none"), SPACE, {}, rows),
    ):
        pass


def test_what_matters_is_said_of_enough_trials_and_the_best_are_first(config, rows):
    with opened(config, SPACE, {}, rows) as study:
        train(study, 19)
        assert importances_of(study) == {}
        study.fail(study.ask(99), "no memory")
        train(study, 1)
        found = importances_of(study)
        jobs = write_csv(study, "agreement")
    assert next(iter(found)) == "a"
    assert sum(found.values()) == pytest.approx(1)
    values = [job.metrics["agreement"] for job in jobs[:-1]]
    assert values == sorted(values, reverse=True)
    assert (jobs[-1].number, jobs[-1].failure) == (19, "no memory")


def test_a_study_is_hopeless_if_its_first_trials_fail_for_one_reason(config, rows):
    with opened(config, SPACE, {}, rows) as study:
        for reason in ("x", "x"):
            study.fail(study.ask(99), reason)
        assert study.hopeless() is None
        study.fail(study.ask(99), "x")
        assert study.hopeless() == "x"
    with opened(replace(config, run_dir=f"{config.run_dir}/b"), SPACE, {}, rows) as study:
        for reason in ("x", "y", "x", "x", "x"):
            study.fail(study.ask(99), reason)
        assert study.hopeless() is None


def test_the_picture_has_a_panel_for_the_course_and_each_setting(monkeypatch):
    kept = []
    monkeypatch.setattr(
        "bidnn.evaluation.trials.Figure.savefig", lambda self, *a, **k: kept.append(self)
    )
    points = [Point(0, 0.5), Point(1, 0.7), Point(2, 0.6, pruned=True), Point(4, float("nan"))]
    axes = [
        Axis("lr", [0.1, 0.01, 1.0, 10.0], log=True),
        Axis("loss", ["paper", "self", "paper", "self"], names=("paper", "self")),
    ]
    draw_trials(None, "val/loss", True, points, axes)
    course, rate, loss = kept[0].axes
    assert course.get_ylabel() == "val/loss"
    assert course.lines[0].get_xydata().tolist() == [[0, 0.5], [1, 0.5]]
    assert rate.get_xscale() == "log"
    ended, best, pruned, failed = (part.get_offsets().tolist() for part in rate.collections)
    assert ended == [[0.1, 0.5], [0.01, 0.7]]
    assert best == [[0.1, 0.5]]
    assert pruned == [[1.0, 0.6]]
    assert failed == [[10.0, 0.02]]
    assert [label.get_text() for label in loss.get_xticklabels()] == ["paper", "self"]
