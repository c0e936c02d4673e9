"""The label-free metric of a training, against loops."""

import numpy as np
import pytest
import torch

from bidnn.architecture import NetworkConfig
from bidnn.data.store import PairStore
from bidnn.model.inference import embed
from bidnn.model.model import Model
from bidnn.training.callbacks import explained
from bidnn.training.callbacks.explained import explained_variance, found_again
from tests.training.fitting import run, settings


@pytest.fixture(scope="module")
def store():
    generator = np.random.default_rng(0)
    hidden = generator.normal(size=(60, 3)).astype(np.float32)
    parts = [hidden @ generator.normal(size=(3, size)).astype(np.float32) for size in (5, 6)]
    return PairStore(*parts, np.ones((60, 2), dtype=bool))


def cosines(rows):
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return rows @ rows.T


def test_agreement_is_the_share_of_neighbours_that_the_hidden_modality_has_too(store):
    torch.manual_seed(0)
    model = Model(5, 6, NetworkConfig(hdn=8, rep=4)).eval()
    rows = np.arange(10, 60)
    shares = []
    for hidden in (0, 1):
        part = (store.first, store.second)[hidden][rows]
        shown = np.ones((50, 2), dtype=bool)
        shown[:, hidden] = False
        vectors = embed(model, PairStore(store.first[rows], store.second[rows], shown))
        near, truth = cosines(vectors), cosines(part - part.mean(axis=0))
        for row in range(50):
            others = [n for n in range(50) if n != row]
            own = sorted(others, key=lambda n: -near[row, n])[:10]
            true = sorted(others, key=lambda n: -truth[row, n])[:10]
            shares.append(len(set(own) & set(true)) / 10)
    found, chance = found_again(model, store, rows)
    assert found == pytest.approx(np.mean(shares), abs=2e-3)
    assert chance == pytest.approx(10 / 49)
    assert found_again(model, store, rows[:20]) is None


def test_a_training_reports_it_and_learns_it(store, caplog):
    with caplog.at_level("INFO", logger="bidnn"):
        trained = run(store, settings(60, network={"hdn": 16, "rep": 16}))
    fresh = run(store, settings(1, trainer={"max_steps": 1}))
    assert trained.fitted.metrics["agreement"] > fresh.fitted.metrics["agreement"]
    assert "by chance" in caplog.text


def test_of_very_wide_rows_fewer_are_looked_at(store, monkeypatch):
    model = Model(5, 6, NetworkConfig(hdn=8, rep=4)).eval()
    monkeypatch.setattr(explained, "BYTES", 4 * 11 * 45)
    rows = np.arange(60)
    assert found_again(model, store, rows) == found_again(model, store, rows[::2])
    assert explained_variance(model, store, rows) == explained_variance(model, store, rows[::2])
    monkeypatch.setattr(explained, "BYTES", 1)  # never so few that nothing can be said
    assert found_again(model, store, rows) is not None
