"""The last steps to an embedding, against plain NumPy."""

import numpy as np
import pytest
import torch

from bidnn.architecture import NetworkConfig
from bidnn.data.store import PairStore
from bidnn.model.finishing import Centring, EmbeddingConfig, Finish, MissingStrategy, Space
from bidnn.model.fitting import fit_embedding
from bidnn.model.inference import embed
from bidnn.model.model import Model
from bidnn.model.scaling import ScalingConfig, ScalingKind


@pytest.fixture
def store():
    generator = np.random.default_rng(0)
    first = generator.normal(size=(40, 3)).astype(np.float32)
    second = generator.normal(size=(40, 4)).astype(np.float32)
    present = np.ones((40, 2), dtype=bool)
    present[:5, 0], present[5:10, 1], present[10] = False, False, False
    return PairStore(first, second, present)


def model(**embedding):
    torch.manual_seed(0)
    scaling = ScalingConfig(kind=ScalingKind.none)
    return Model(3, 4, NetworkConfig(hdn=6, rep=4), scaling, EmbeddingConfig(**embedding)).eval()


def plain(store):
    return embed(model(), store)


def test_centring_takes_off_the_mean_of_complete_rows(store):
    centred = model(centring=Centring.complete)
    fit_embedding(centred, store, store.complete)
    raw = plain(store)
    expected = raw - raw[store.complete].mean(axis=0)
    expected[10] = 0
    np.testing.assert_allclose(embed(centred, store), expected, atol=1e-6)


def test_centring_by_presence_takes_off_the_mean_of_complete_rows_shown_in_the_same_way(store):
    centred = model(centring=Centring.presence)
    fit_embedding(centred, store, store.complete)
    expected = plain(store)
    whole = PairStore(store.first, store.second, np.ones((40, 2), dtype=bool))
    for rows, shown in ((slice(0, 5), [0, 1]), (slice(5, 10), [1, 0]), (slice(11, 40), [1, 1])):
        present = np.tile(np.array([shown], dtype=bool), (40, 1))
        alike = plain(PairStore(whole.first, whole.second, present))
        expected[rows] -= alike[store.complete].mean(axis=0)
    expected[10] = 0
    np.testing.assert_allclose(embed(centred, store), expected, atol=1e-6)


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_whitening_raises_deviations_to_one_minus_its_power_and_keeps_the_axes(store, power):
    even = model(centring=Centring.complete, whitening=power)
    fit_embedding(even, store, store.complete)
    raw, found = plain(store)[store.complete], embed(even, store)[store.complete]
    before, after = np.cov(raw.T), np.cov(found.T)
    variances, axes = np.linalg.eigh(before)
    # np.cov divides by rows − 1, the fit by rows.
    expected = np.diag(variances ** (1 - power)) * (len(raw) / (len(raw) - 1)) ** power
    scale = variances.max() ** (1 - power)
    np.testing.assert_allclose(axes.T @ after @ axes, expected, atol=1e-3 * scale)


def test_directions_in_which_nothing_varies_are_dropped_by_whitening():
    finish = Finish(3, EmbeddingConfig(centring=Centring.complete, whitening=1.0))
    values = torch.randn(50, 3, dtype=torch.float64)
    values[:, 2] = 5.0
    sums = values.sum(dim=0).expand(2, 3, 3)
    finish.fit(sums, values.T @ values, 50)
    present = torch.ones(50, 2, dtype=torch.bool)
    found = finish(values.float(), present, MissingStrategy.translate)
    assert found.isfinite().all()
    assert found[:, 2].abs().max() < 1e-4
    np.testing.assert_allclose(np.cov(found[:, :2].T, bias=True), np.eye(2), atol=1e-4)


def test_unit_rows_have_length_one_unless_nothing_is_there(store):
    lengths = np.linalg.norm(embed(model(unit=True), store), axis=1)
    np.testing.assert_allclose(np.delete(lengths, 10), 1, atol=1e-6)
    assert lengths[10] == 0


def test_in_the_space_of_inputs_the_cosine_is_the_mean_of_both_modalities_cosines(store):
    compared = model(space=Space.inputs)
    found = embed(compared, store)
    assert found.shape == (40, 7)
    first, second = torch.from_numpy(store.first), torch.from_numpy(store.second)
    with torch.no_grad():
        first[:5] = compared.network.translate(second=second[:5])
        second[5:10] = compared.network.translate(first=first[5:10])
    halves = [part / part.norm(dim=1, keepdim=True) for part in (first, second)]
    cosines = sum(half @ half.T for half in halves) / 2
    rows = np.delete(np.arange(40), 10)
    expected = cosines.numpy()[np.ix_(rows, rows)]
    np.testing.assert_allclose((found @ found.T)[np.ix_(rows, rows)] / 2, expected, atol=1e-5)
    assert not found[10].any()


def test_whitening_without_a_mean_to_turn_about_is_refused():
    with pytest.raises(ValueError, match=r"embedding\.centring"):
        EmbeddingConfig(whitening=0.5)
    with pytest.raises(ValueError, match=r"embedding\.whitening=2"):
        EmbeddingConfig(whitening=2, centring=Centring.complete)


def test_centring_by_presence_is_fitted_for_both_ways_to_stand_for_what_is_missing(store):
    translating = model(centring=Centring.presence)
    fit_embedding(translating, store, store.complete)
    duplicating = model(centring=Centring.presence, missing=MissingStrategy.duplicate)
    fit_embedding(duplicating, store, store.complete)
    found = embed(translating.with_missing(MissingStrategy.duplicate), store)
    np.testing.assert_array_equal(found, embed(duplicating, store))
    assert np.abs(found - embed(translating, store)).max() > 0.01
