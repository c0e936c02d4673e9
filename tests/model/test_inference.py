"""Rows with anything missing, by direct formulas."""

import numpy as np
import pytest
import torch

from bidnn.architecture import NetworkConfig
from bidnn.data import store as rooms
from bidnn.data.store import PairStore
from bidnn.model.finishing import MissingStrategy
from bidnn.model.inference import OutputKind, embed, infer
from bidnn.model.model import Model
from bidnn.model.scaling import ScalingConfig, ScalingKind, fit_scaling

FIRST_ONLY, SECOND_ONLY, EMPTY = slice(0, 5), slice(5, 10), slice(10, 12)


@pytest.fixture
def store():
    generator = np.random.default_rng(0)
    first = generator.normal(3, 2, size=(30, 4)).astype(np.float32)
    second = generator.normal(-1, 5, size=(30, 6)).astype(np.float32)
    present = np.ones((30, 2), dtype=bool)
    present[FIRST_ONLY, 1] = present[SECOND_ONLY, 0] = present[EMPTY] = False
    first[~present[:, 0]] = np.nan
    second[~present[:, 1]] = 1e30
    return PairStore(first, second, present, name="rows")


@pytest.fixture
def model(store):
    torch.manual_seed(0)
    model = Model(4, 6, NetworkConfig(hdn=8, rep=6), ScalingConfig(kind=ScalingKind.standard))
    fit_scaling((model.first_scaler, model.second_scaler), store, np.arange(30))
    return model.eval()


@pytest.fixture
def scaled(model, store):
    first, second = (torch.from_numpy(part) for part in store.take(slice(None)))
    return model.scale(first, second)


def test_duplication_puts_the_centre_that_is_there_in_both_places(model, store, scaled):
    with torch.no_grad():
        left, right = model.network.encode(first=scaled[0]), model.network.encode(second=scaled[1])
    expected = torch.cat([left, right], dim=1)
    expected[FIRST_ONLY] = torch.cat([left, left], dim=1)[FIRST_ONLY]
    expected[SECOND_ONLY] = torch.cat([right, right], dim=1)[SECOND_ONLY]
    expected[EMPTY] = 0
    np.testing.assert_allclose(
        embed(model.with_missing(MissingStrategy.duplicate), store), expected, atol=1e-6
    )


def test_one_missing_modality_is_translated_then_encoded(model, store, scaled):
    first, second = (part.clone() for part in scaled)
    network = model.network
    with torch.no_grad():
        second[FIRST_ONLY] = network.translate(first=first[FIRST_ONLY])
        first[SECOND_ONLY] = network.translate(second=second[SECOND_ONLY])
        expected = torch.cat([network.encode(first=first), network.encode(second=second)], dim=1)
    expected[EMPTY] = 0
    np.testing.assert_allclose(embed(model, store), expected, atol=1e-6)


def test_completion_is_in_the_units_of_the_data_and_leaves_what_is_there(model, store, scaled):
    [block] = infer(model, store, OutputKind.crossmodal)
    there = store.present
    np.testing.assert_array_equal(block.left[there[:, 0]], store.first[there[:, 0]])
    np.testing.assert_array_equal(block.right[there[:, 1]], store.second[there[:, 1]])
    with torch.no_grad():
        guess = model.network.translate(first=scaled[0][FIRST_ONLY])
    rows = store.second[there[:, 1]]
    expected = guess.numpy() * rows.std(axis=0) + rows.mean(axis=0)
    np.testing.assert_allclose(block.right[FIRST_ONLY], expected, rtol=1e-4, atol=1e-4)
    assert not block.left[EMPTY].any()
    assert not block.right[EMPTY].any()


@pytest.mark.parametrize("kind", list(OutputKind))
def test_unit_rows_are_made_of_unit_halves_row_by_row(model, store, kind):
    [raw], [unit] = (list(infer(model, store, kind, l2_norm=norm)) for norm in (False, True))
    rows = slice(12, 30)
    for before, after in ((raw.left, unit.left), (raw.right, unit.right)):
        lengths = np.linalg.norm(before[rows], axis=1, keepdims=True)
        np.testing.assert_allclose(after[rows], before[rows] / lengths / np.sqrt(2), atol=1e-6)
    whole = np.concatenate([unit.left, unit.right], axis=1)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1)[:10], 1, atol=1e-6)
    assert not whole[EMPTY].any()


def test_blocks_change_nothing(model, store, monkeypatch):
    whole = embed(model, store)
    monkeypatch.setattr(rooms, "BLOCK_BYTES", 4 * 10 * 7)
    assert len(list(infer(model, store))) == 5
    np.testing.assert_allclose(embed(model, store), whole, atol=1e-6)


def test_the_model_is_left_in_the_mode_it_was_in(model, store):
    model.train()
    first = embed(model, store)
    assert model.training
    np.testing.assert_array_equal(first, embed(model, store))


def test_rows_of_other_sizes_are_refused(model):
    other = PairStore(np.ones((2, 3)), np.ones((2, 6)), np.ones((2, 2), bool), name="new.npz")
    with pytest.raises(ValueError, match=r"new\.npz: features of 3 \+ 6 columns.* 4 \+ 6"):
        embed(model, other)


def test_blocks_are_cut_by_the_widest_layer():
    rows = np.zeros((5000, 1), np.float32)
    narrow = PairStore(rows, rows, np.ones((5000, 2), bool))
    for network in ({"hdn": 8192, "rep": 4}, {"hdn": 4, "rep": 8192}):
        model = Model(1, 1, NetworkConfig(**network))
        sizes = [len(block.left) for block in infer(model.eval(), narrow)]
        assert sizes == [1024] * 4 + [904]
    assert [part.stop - part.start for part in narrow.blocks()] == [5000]
    assert [part.stop - part.start for part in narrow.blocks((1, 2), 8192)] == [1024] * 2 + [452]
