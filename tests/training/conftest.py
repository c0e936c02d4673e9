"""Rows for trainings of a few steps."""

import numpy as np
import pytest

from bidnn.data.store import PairStore


@pytest.fixture
def store():
    values = np.random.default_rng(0).uniform(-0.5, 0.5, (50, 6)).astype(np.float32)
    return PairStore(values[:, :2], values[:, 2:], np.ones((50, 2), dtype=bool))
