"""Scaling against scikit-learn and plain NumPy."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import MinMaxScaler, StandardScaler, normalize

from bidnn.data import store as store_module
from bidnn.data.store import PairStore
from bidnn.model.scaling import ModalityScaler, ScalingKind, Transform, fit_scaling


@pytest.fixture
def store(monkeypatch):
    monkeypatch.setattr(store_module, "BLOCK_BYTES", 7 * 4 * 6)  # several blocks of 6 rows
    generator = np.random.default_rng(0)
    first = (generator.gamma(2.0, size=(40, 3)) * 10 + 100).astype(np.float32)
    first[:, 1] = 0.1  # constant, and not exact in binary
    second = generator.dirichlet(np.full(4, 0.3), size=40).astype(np.float32)
    present = np.ones((40, 2), dtype=bool)
    present[:4, 0], present[4:8, 1] = False, False
    first[:4], second[4:8] = np.nan, np.nan
    return PairStore(first, second, present)


ROWS = np.arange(30)


def fitted(store, kind, transform=Transform.none):
    scalers = (ModalityScaler(3, kind, transform), ModalityScaler(4, kind, transform))
    fit_scaling(scalers, store, ROWS)
    return scalers


def scaled(scaler, values):
    return scaler(torch.from_numpy(values)).numpy()


def test_standard_is_scikit_learns_on_present_training_rows_only(store):
    first, second = fitted(store, ScalingKind.standard)
    expected = StandardScaler().fit(store.first[4:30].astype(np.float64))
    found = scaled(first, store.first[4:])
    np.testing.assert_allclose(
        found[:, [0, 2]], expected.transform(store.first[4:])[:, [0, 2]], atol=1e-4
    )
    np.testing.assert_allclose(found[:, 1], 0, atol=1e-6)
    rows = np.r_[0:4, 8:30]
    expected = StandardScaler().fit(store.second[rows].astype(np.float64))
    np.testing.assert_allclose(
        scaled(second, store.second[rows]), expected.transform(store.second[rows]), atol=1e-4
    )


def test_minmax_is_scikit_learns(store):
    first, _ = fitted(store, ScalingKind.minmax)
    expected = MinMaxScaler().fit(store.first[4:30]).transform(store.first[4:30])
    np.testing.assert_allclose(scaled(first, store.first[4:30]), expected, atol=1e-5)


def test_unit_rows_have_length_one(store):
    first, _ = fitted(store, ScalingKind.unit)
    np.testing.assert_allclose(
        scaled(first, store.first[4:]), normalize(store.first[4:]), atol=1e-6
    )
    assert not scaled(first, np.zeros((2, 3), np.float32)).any()


def test_centred_has_mean_zero_by_column_and_mean_square_one_in_all(store):
    _, second = fitted(store, ScalingKind.centred)
    found = scaled(second, store.second[np.r_[0:4, 8:30]])
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-5)
    assert (found**2).mean() == pytest.approx(1, abs=1e-5)
    assert len(set(second.scale.tolist())) == 1


def test_log_ratio_is_the_centred_logarithm_with_a_tenth_of_the_mean_added(store):
    _, second = fitted(store, ScalingKind.none, Transform.log_ratio)
    rows = store.second[np.r_[0:4, 8:30]]
    logs = np.log(rows + 0.1 / 4)
    expected = logs - logs.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(scaled(second, rows), expected, atol=1e-4)


def test_auto_takes_log_ratios_for_parts_of_a_whole_only(store):
    first, second = fitted(store, ScalingKind.standard, Transform.auto)
    assert first.transform is Transform.none
    assert second.transform is Transform.log_ratio


@pytest.mark.parametrize("transform", list(Transform))
@pytest.mark.parametrize("kind", [k for k in ScalingKind if k is not ScalingKind.unit])
def test_inverse_undoes(store, kind, transform):
    for scaler, values in zip(
        fitted(store, kind, transform), (store.first[4:] * [1, 1, 1], store.second[8:]), strict=True
    ):
        rows = torch.from_numpy(values.astype(np.float32))
        if scaler.transform is Transform.log_ratio and scaler is not None and rows.shape[1] == 3:
            continue  # rows with different sums come back with the mean sum
        torch.testing.assert_close(scaler.inverse(scaler(rows)), rows, rtol=1e-3, atol=1e-4)


def test_a_modality_that_no_training_row_has_is_an_error(store):
    present = store.present.copy()
    present[:, 1] = False
    gone = PairStore(store.first, store.second, present, name="features.npz")
    with pytest.raises(ValueError, match=r"features\.npz: no training row has the second modality"):
        fitted(gone, ScalingKind.standard)


def test_a_modality_with_one_present_row_is_shifted_to_zero_and_stays_finite(store):
    present = store.present.copy()
    present[:, 0] = False
    present[20, 0] = True
    first, _ = fitted(PairStore(store.first, store.second, present), ScalingKind.standard)
    np.testing.assert_array_equal(scaled(first, store.first[20:21]), np.zeros((1, 3)))
    assert np.isfinite(scaled(first, store.first[4:])).all()


KINDS = [ScalingKind.standard, ScalingKind.centred, ScalingKind.minmax, ScalingKind.unit]


def of_first(first, kind):
    """The first modality scaled, fitted on all rows; the second is not looked at."""
    values = np.asarray(first, dtype=np.float32)
    store = PairStore(
        values, np.ones((len(values), 2), np.float32), np.ones((len(values), 2), bool)
    )
    scalers = (
        ModalityScaler(values.shape[1], kind, Transform.none),
        ModalityScaler(2, kind, Transform.none),
    )
    fit_scaling(scalers, store, np.arange(len(values)))
    return scaled(scalers[0], values)


@pytest.mark.parametrize("spread", [6e38, 1e-39])
def test_what_float32_cannot_scale_is_refused(spread):
    values = np.array([[-spread / 2, 1.0], [spread / 2, 2.0]])
    with pytest.raises(ValueError, match=r"scaling=minmax: column 0, .* a modality of 2"):
        of_first(values, ScalingKind.minmax)


@pytest.mark.parametrize("kind", [ScalingKind.standard, ScalingKind.centred, ScalingKind.unit])
def test_values_near_the_end_of_float32_stay_finite(kind):
    values = np.random.default_rng(0).uniform(-3e38, 3e38, (50, 3))
    found = of_first(values, kind)
    assert np.isfinite(found).all()
    if kind is ScalingKind.standard:
        np.testing.assert_allclose(found.std(axis=0), 1, rtol=1e-3)
    if kind is ScalingKind.unit:
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_values_near_zero_keep_their_shape(kind):
    values = np.random.default_rng(0).uniform(1e-30, 2e-30, (50, 3))
    found = of_first(values, kind)
    expected = of_first(values * 1e30, kind)
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("kind", [ScalingKind.standard, ScalingKind.centred, ScalingKind.minmax])
def test_a_constant_column_becomes_zero_and_the_others_are_as_without_it(kind):
    values = np.random.default_rng(0).normal(size=(50, 3))
    values[:, 1] = 7.3
    found = of_first(values, kind)
    np.testing.assert_allclose(found[:, 1], 0, atol=1e-5)
    assert found[:, 0].std() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_duplicate_rows_and_a_single_column_are_scaled_like_any(kind):
    values = np.array([[1.0], [3.0], [1.0], [3.0]])
    found = of_first(values, kind)
    np.testing.assert_array_equal(found[:2], found[2:])
    expected = {
        ScalingKind.standard: [-1, 1],
        ScalingKind.centred: [-1, 1],
        ScalingKind.minmax: [0, 1],
        ScalingKind.unit: [1, 1],
    }
    np.testing.assert_allclose(found[:2, 0], expected[kind], atol=1e-6)


def test_equal_rows_are_scaled_to_zero():
    np.testing.assert_array_equal(of_first(np.full((5, 2), 4.0), ScalingKind.standard), 0)


@pytest.mark.parametrize("kind", [ScalingKind.standard, ScalingKind.centred, ScalingKind.minmax])
def test_on_the_way_back_a_constant_column_is_the_constant_whatever_is_predicted(store, kind):
    first, _ = fitted(store, kind)
    back = first.inverse(torch.randn(20, 3) * 10).numpy()
    np.testing.assert_array_equal(back[:, 1], np.float32(0.1))
    assert back[:, 0].std() > 1
    assert back[:, 2].std() > 1


@pytest.mark.parametrize("kind", [ScalingKind.standard, ScalingKind.centred, ScalingKind.minmax])
def test_the_blocks_that_rows_come_in_change_nothing_but_rounding(store, kind, monkeypatch):
    in_blocks = fitted(store, kind)
    monkeypatch.setattr(store_module, "BLOCK_BYTES", 2**20)
    for one, other in zip(in_blocks, fitted(store, kind), strict=True):
        torch.testing.assert_close(one.shift, other.shift, rtol=1e-6, atol=0)
        torch.testing.assert_close(one.scale, other.scale, rtol=1e-6, atol=0)


def test_a_deviation_that_is_small_beside_the_mean_is_found_in_double_precision():
    values = np.random.default_rng(0).normal(1e4, 0.1, size=(50_000, 2)).astype(np.float32)
    found = of_first(values, ScalingKind.standard)
    np.testing.assert_allclose(found.std(axis=0, dtype=np.float64), 1, rtol=1e-4)
