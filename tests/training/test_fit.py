"""What `fit` says of settings that cannot act on the rows that it is given."""

from dataclasses import replace

import numpy as np
import pytest

from bidnn.data.store import PairStore
from bidnn.model.finishing import Centring, EmbeddingConfig
from tests.training.fitting import run


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
