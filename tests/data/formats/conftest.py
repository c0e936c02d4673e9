"""Fixtures of several files."""

import numpy as np
import pytest

from bidnn.data.formats.arrays import store_arrays
from tests.data.formats.tables import ROWS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all examples of a property: hypothesis does not renew function fixtures."""
    return tmp_path_factory.mktemp("libsvm")


@pytest.fixture
def rows():
    """Rows as a store: 7 miss the first modality, 5 the second, one both."""
    generator = np.random.default_rng(0)
    first, second = (generator.normal(size=(ROWS, size)).astype("f4") for size in (3, 5))
    first[[1, *range(10, 16)]], second[[1, *range(20, 24)]] = np.nan, np.nan
    ids = [f"vidéo {number * 7 % ROWS}" for number in range(ROWS)]
    return store_arrays(first, second, ids=ids, labels=np.arange(ROWS) % 3)
