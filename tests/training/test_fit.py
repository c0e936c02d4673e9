"""What `fit` says of settings that cannot act on the rows that it is given."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bidnn.architecture import NetworkConfig
from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.losses import LossConfig
from bidnn.model.finishing import Centring, EmbeddingConfig
from bidnn.training.config import check_paths
from tests.training.fitting import run, settings


@pytest.fixture
def store():
    values = np.random.default_rng(0).uniform(-0.5, 0.5, (50, 6)).astype(np.float32)
    return PairStore(values[:, :2], values[:, 2:], np.ones((50, 2), dtype=bool))


def centred(store, centring):
    return run(store, epochs=1, embedding=EmbeddingConfig(centring=centring))


def test_centring_by_presence_says_that_it_cannot_act_where_no_row_misses_a_modality(store, caplog):
    said = "embedding.centring=presence: no row misses a modality"
    centred(store, Centring.presence)
    assert caplog.text.count(said) == 1
    caplog.clear()
    centred(store, Centring.complete)
    present = store.present.copy()
    present[3, 1] = False
    centred(replace(store, present=present), Centring.presence)
    assert said not in caplog.text


def test_a_run_keeps_what_its_head_learns_and_goes_on_with_it(tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    values = generator.normal(size=(2, 30, 4)).astype(np.float32)
    store = PairStore(values[0], values[1], np.ones((30, 2), dtype=bool))
    more = {"network": {"diffusion": True}, "loss": LossConfig(diffusion=1.0)}
    alone = run(store, settings(4, **more))
    first = run(store, settings(2, run_dir=str(tmp_path), **more))
    kept = np.load(tmp_path / "checkpoints/coordinates.npy")
    np.testing.assert_array_equal(kept, first.data.coordinates)
    assert kept.shape == (30, 4)
    np.testing.assert_allclose((kept**2).mean(axis=1), 1.0, rtol=1e-5)

    def searched(*_):
        raise AssertionError("neighbours are searched again")

    monkeypatch.setattr("bidnn.training.diffusion.kept.diffusion_coordinates", searched)
    resumed = run(store, settings(4, run_dir=str(tmp_path), resume=True, **more))
    for own, other in zip(resumed.weights, alone.weights, strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=0)
    run(store, settings(0, **more))  # only predicts


@pytest.mark.parametrize("lacking", ["self_paths", "incomplete_rows"])
def test_an_own_loss_says_what_it_needs(lacking):
    class Own:
        self_paths = incomplete_rows = False

    check_paths(Own(), NetworkConfig(hdn=2, rep=2))
    said = {"self_paths": False, "incomplete_rows": False}
    del said[lacking]
    silent = type("Silent", (), said)()
    with pytest.raises(
        UserError, match=f"loss: Silent does not say {lacking}; `{lacking} = False`"
    ):
        check_paths(silent, NetworkConfig(hdn=2, rep=2))
