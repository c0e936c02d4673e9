"""Each fault gives its finding and no other one; rows without a fault give none."""

import numpy as np
import pytest

from bidnn.architecture import Activation
from bidnn.data.store import PairStore
from bidnn.doctor import FULL, SHORT, Effort, Level, examine
from bidnn.losses import LossConfig, Weighting
from bidnn.model.scaling import ScalingConfig, ScalingKind
from tests.doctor.rows import clean, plan, store

EFFORTS = {"full": FULL, "short": SHORT}


def faults(rows, settings=None, **more):
    found = examine(rows, settings or plan(), **more)
    assert len({finding.name for finding in found}) == len(found)
    return {f.name: f for f in found if f.level is not Level.fine}


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("seed", range(8))
def test_nothing_is_said_of_rows_without_a_fault(effort, seed):
    first, second = clean(seed)
    assert not faults(store(first, second), effort=EFFORTS[effort], seed=seed)
    first[:5], second[5:12] = np.nan, np.nan  # 4 % that lack a modality
    first[:, 0] = first[:, 0].round()
    assert not faults(store(first, second), plan(output=Activation.linear))


def test_columns_that_say_nothing_or_nothing_new():
    first, second = clean(0)
    first[:, 2:6] = [0.0, 3.0, -1.5, 1e-3]
    (found,) = faults(store(first, second)).values()
    assert (found.name, found.level) == ("constant_columns", Level.look)
    assert found.figures == {"first": 4, "second": 0}
    assert found.sentence.startswith("4 of 12 columns of the first modality and 0 of 20 columns")
    first, second = clean(0)
    second[:, [7, 9, 13]] = second[:, [2, 2, 3]]
    (found,) = faults(store(first, second)).values()
    assert (found.name, found.figures) == ("repeated_columns", {"first": 0, "second": 3})


def test_rows_that_repeat_another_whole_or_in_one_modality():
    first, second = clean(0)
    first[290:], second[290:] = first[:10], second[:10]
    (found,) = faults(store(first, second)).values()
    assert found.name == "repeated_rows"
    assert "10 of 300 rows repeat another in both modalities" in found.sentence
    assert found.figures == pytest.approx({"both": 1 / 30, "first": 1 / 30, "second": 1 / 30})
    first, second = clean(0)
    second = np.repeat(second[:60], 5, axis=0)
    first += 3 * second[:, :12]
    (found,) = faults(store(first, second)).values()
    assert found.figures == pytest.approx({"both": 0, "first": 0, "second": 240 / 300})
    assert "80 % repeat the second modality of another row" in found.sentence
    assert not found.settings
    assert "data.val_path" in found.advice


def test_rows_of_zeros_that_count_as_data():
    first, second = clean(0)
    second[:30] = 0.0
    (found,) = faults(store(first, second), plan(zeroes_are_data=True)).values()
    assert (found.name, found.figures) == ("zero_rows", {"first": 0, "second": 0.1})
    assert found.settings == (("data.ignore_zeroes", "false"),)
    words = found.remedy("{}={}".format)
    assert words == "set data.ignore_zeroes=false, if zeros stand for a missing modality"
    (found,) = faults(store(first, second)).values()
    assert not found.settings
    assert "make them NaN" in found.advice


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("seed", range(5))
def test_permuted_pairs_have_nothing_to_learn(effort, seed):
    first, second = clean(seed)
    second = np.random.default_rng(seed).permutation(second)
    (found,) = faults(store(first, second), effort=EFFORTS[effort], seed=seed).values()
    assert (found.name, found.level, found.settings) == ("agreement", Level.fix, ())
    figures = found.figures
    assert figures["agreement"] <= figures["permuted_most"]
    assert figures["permuted_mean"] == pytest.approx(10 / 299, rel=0.02)
    assert "row i of either modality is of the same item" in found.advice


def test_of_few_permuted_pairs_it_is_not_said_that_they_belong_not_together():
    first, second = clean(0, rows=60)
    found = faults(store(first, second[::-1]))
    assert {name: f.level for name, f in found.items()} == {
        "pairs": Level.look,
        "agreement": Level.look,
    }


def test_what_neighbours_do_not_tell_and_a_linear_map_does():
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(2, 400, 80)).astype("f4")
    second = second[:, :8]
    second[:, 0] += first[:, 0]
    for effort in EFFORTS.values():
        found = faults(store(first, second), effort=effort)["agreement"]
        assert found.level is Level.look
        assert "neighbours in one say nothing of neighbours in the other" in found.sentence
        assert "linear map" not in found.sentence


def test_a_modality_that_is_a_linear_function_of_the_other():
    first, _ = clean(0)
    turned = np.linalg.qr(np.random.default_rng(1).normal(size=(12, 12)))[0]
    (found,) = faults(store(first, (first @ turned).astype("f4"))).values()
    assert (found.name, found.level) == ("translation", Level.look)
    assert found.figures["first_to_second"] > 0.999
    assert "linear function of the other" in found.sentence


def test_a_direction_of_which_a_linear_map_knows_nothing():
    first, _ = clean(0)
    second = np.random.default_rng(2).normal(size=(300, 20)).astype("f4")
    first[:, 0] = 3 * np.sign(second[:, 0])  # second → first is known, the reverse in one column
    second[:, 1:] *= 4
    first[:, 1:] /= 4
    found = faults(store(first, second))["translation"]
    assert found.sentence.endswith(
        "no better than the mean by a linear map: first → second; 300 complete rows"
    )


@pytest.mark.parametrize("kind", ["standard", "centred", "none"])
def test_a_modality_of_a_hundred_times_the_scale(kind):
    first, second = clean(0)
    settings = plan(scaling=ScalingConfig(kind=ScalingKind(kind)))
    found = faults(store(first, 100 * second), settings)
    if kind != "none":
        assert not found
        return
    assert list(found) == ["size"]  # balance is fixed by the same setting
    assert (found["size"].level, found["size"].settings) == (
        Level.fix,
        (("scaling", "standard"),),
    )
    assert found["size"].figures["second_size"] == pytest.approx(
        100 * np.sqrt(np.mean(second**2.0)), rel=1e-5
    )


def test_deviations_that_are_too_small_to_learn_from():
    first, second = clean(0)
    for output, expected in {
        Activation.linear: (("scaling", "standard"),),
        Activation.tanh: (("model.output_activation", "linear"), ("scaling", "standard")),
    }.items():
        (found,) = faults(store(first / 10, second / 30), plan(output=output)).values()
        assert (found.name, found.level) == ("size", Level.look)
        assert found.settings == expected
        spread = np.sqrt((second / 30).var(axis=0, dtype="f8").mean())
        assert found.figures["second_spread"] == pytest.approx(spread)
        assert "the second modality's values" in found.sentence
        assert "the first modality's values" not in found.sentence


@pytest.mark.parametrize(
    ("loss", "kind", "expected"),
    [
        (LossConfig(), "standard", (("loss", "separate_means"),)),
        (LossConfig(self_weight=0.5), "standard", (("loss.weighting", "modalities"),)),
        (LossConfig(weighting=Weighting.modalities), "standard", None),
        (None, "standard", None),
    ],
)
def test_a_wide_modality_has_the_loss_to_itself_unless_that_is_set_otherwise(loss, kind, expected):
    first, second = clean(0, sizes=(4, 160))
    settings = plan(loss=loss, scaling=ScalingConfig(kind=ScalingKind(kind)))
    found = faults(store(first, second), settings)
    if expected is None:
        assert not found
        return
    assert list(found) == ["balance"]
    assert found["balance"].settings == expected
    assert found["balance"].figures["second"] == pytest.approx(160 / 164, rel=1e-6)
    assert found["balance"].sentence.startswith("98 % of the squared error is of the second")


def test_what_fixes_an_uneven_loss_is_what_would_make_it_even():
    first, second = clean(0, sizes=(12, 160))
    found = faults(store(first, 5 * second))  # separate means would leave 96 % to the second
    assert found["balance"].settings == (("loss", "separate_means"), ("scaling", "standard"))
    first, second = clean(0)
    found = faults(store(first, 5 * second))
    assert found["balance"].settings == (("scaling", "standard"),)
    found = faults(store(first, 5 * second), plan(loss=LossConfig(weighting=Weighting.modalities)))
    assert found["balance"].settings == (("scaling", "standard"),)


def test_a_column_that_has_the_modality_to_itself():
    first, second = clean(0)
    second[:, 4] *= 8
    (found,) = faults(store(first, second)).values()
    squares = second.var(axis=0, dtype="f8")
    assert (found.name, found.settings) == ("one_column", (("scaling", "standard"),))
    assert found.figures["second_column"] == 4
    assert found.figures["second_share"] == pytest.approx(squares[4] / squares.sum())
    assert not faults(store(first, second), plan(scaling=ScalingConfig(kind=ScalingKind.standard)))


def test_targets_that_the_output_activation_cannot_reach():
    first, second = clean(0)
    first = np.tanh(first)
    (found,) = faults(store(first, second), plan(output=Activation.tanh)).values()
    assert (found.name, found.level) == ("range", Level.fix)
    assert found.settings == (("model.output_activation", "linear"), ("scaling", "standard"))
    share = float((np.abs(second) > 1).mean())
    assert found.figures["second_outside"] == pytest.approx(share)
    assert found.figures["second_high"] == second.max()
    minmax = plan(output=Activation.sigmoid, scaling=ScalingConfig(kind=ScalingKind.minmax))
    assert not faults(store(first, second), minmax)


def test_rows_that_lack_a_modality():
    first, second = clean(0)
    second[:60] = np.nan
    (found,) = faults(store(first, second)).values()
    assert (found.name, found.settings) == ("missing", (("experiment", "incomplete"),))
    assert found.sentence.startswith("of the rows, 20 % lack the second")
    assert not faults(store(first, second), plan(incomplete_rows=True))
    second[:] = np.nan
    found = faults(PairStore(first, second, ~np.isnan(np.stack([first[:, 0], second[:, 0]], 1))))
    assert list(found) == ["pairs"]
    assert found["pairs"].level is Level.fix
    assert "there is nothing to learn a translation from" in found["pairs"].sentence


def test_few_pairs_are_not_judged():
    first, second = clean(0, rows=12)
    (found,) = faults(store(first, second)).values()
    assert (found.name, found.level) == ("pairs", Level.fix)
    assert "too few to measure" in found.sentence
    assert "agreement" not in {f.name for f in examine(store(first, second), plan())}


def test_a_scale_that_no_scaling_can_fix_is_a_finding():
    first, second = clean(0)
    second[0], second[1] = 3.4e38, -3.4e38
    found = faults(store(first, second), plan(scaling=ScalingConfig(kind=ScalingKind.minmax)))
    assert "which float32 cannot bring to 1" in found["size"].sentence


def test_a_sample_is_seeded_said_and_draws_no_global_numbers():
    rows = store(*clean(0, rows=3000))
    few = Effort(1000, 500, 2**30, regress=True)
    before = np.random.get_state()[1].copy()  # noqa: NPY002 — that it is left alone
    found, same, other = (
        {f.name: f for f in examine(rows, plan(), effort=few, seed=seed)} for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002 — the global state is what is looked at
    assert found == same
    assert found["agreement"].figures != other["agreement"].figures
    assert found["range"].sentence.endswith("in 1000 rows drawn from 3000")
    assert found["agreement"].sentence.endswith("500 complete rows drawn from 3000")
    assert found["pairs"].figures == {"rows": 3000, "complete": 3000}


def test_advice_is_gone_once_it_is_followed():
    first, second = clean(0)
    rows = store(first, 30 * second)
    found = faults(rows, plan(output=Activation.tanh))
    assert set(found) == {"range"}  # the size of the values is fixed by the same settings
    fixed = plan(scaling=ScalingConfig(kind=ScalingKind.standard))
    assert {key for f in found.values() for key, _ in f.settings} == {
        "model.output_activation",
        "scaling",
    }
    assert not faults(rows, fixed)
