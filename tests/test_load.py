"""A model that is used by many at once and for long: the same rows, no memory."""

import gc
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from bidnn import BiDNN, load
from bidnn.data.store import PairStore
from tests.training.fitting import run, settings

MEGABYTE = 2**20


def memory():
    gc.collect()
    line = Path("/proc/self/status").read_text().split("RssAnon:")[1]
    return int(line.split()[0]) * 1024


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    generator = np.random.default_rng(0)
    hidden = generator.normal(size=(60, 3))
    first, second = (np.tanh(hidden @ generator.normal(size=(3, n))).astype("f4") for n in (5, 7))
    path = tmp_path_factory.mktemp("model") / "model.pt"
    net = BiDNN(hdn=32, rep=16, epochs=5, batch_size=16, verbosity=0).fit(first, second)
    net.save(path)
    first[3], second[9] = np.nan, np.nan
    return path, net, first, second


def test_a_thousand_requests_from_eight_threads_get_the_rows_of_one(trained):
    path, fresh, first, second = trained
    requests = [(i % 50, i % 50 + 1 + i % 10) for i in range(1000)]
    for net in (load(path), fresh):
        expected = {r: net.transform(first[slice(*r)], second[slice(*r)]) for r in set(requests)}
        with ThreadPoolExecutor(8) as pool:
            found = pool.map(
                lambda r, n=net: n.transform(first[slice(*r)], second[slice(*r)]), requests
            )
            for request, rows in zip(requests, found, strict=True):
                np.testing.assert_array_equal(rows, expected[request])


def test_memory_does_not_grow_over_a_thousand_calls(trained):
    path, _, first, second = trained
    net = load(path)
    for _ in range(200):
        net.transform(first, second)
    before = memory()
    for _ in range(1000):
        net.transform(first, second)
    assert memory() - before < 4 * MEGABYTE


def test_trainings_of_several_threads_are_those_of_one_after_the_other(trained):
    _, _, first, second = trained
    level = logging.getLogger("bidnn").level

    def fitted(seed):
        net = BiDNN(hdn=16, rep=8, epochs=20, batch_size=8, dropout=0.5, seed=seed, verbosity=0)
        return net.fit(first, second).transform(first, second)

    alone = [fitted(seed) for seed in range(3)]
    with ThreadPoolExecutor(3) as pool:
        for own, other in zip(alone, pool.map(fitted, range(3)), strict=True):
            np.testing.assert_array_equal(own, other)
    assert logging.getLogger("bidnn").level == level


class Watch(Callback):
    def __init__(self):
        self.at = {}

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch in (299, 1299):
            self.at[trainer.current_epoch] = memory()


def test_memory_does_not_grow_over_a_thousand_epochs():
    values = torch.linspace(-0.5, 0.5, 320).view(32, 10).numpy()
    store = PairStore(values[:, :4].copy(), values[:, 4:].copy(), np.ones((32, 2), dtype=bool))
    watch = Watch()
    run(store, settings(1300, network={"hdn": 8}), callbacks=[watch])
    assert watch.at[1299] - watch.at[299] < 4 * MEGABYTE


def test_modalities_of_one_column_and_repeated_rows_are_embedded():
    first = np.tile([[0.1], [-0.4], [0.3]], (20, 1)).astype("f4")
    net = BiDNN(hdn=8, rep=4, epochs=30, batch_size=12, verbosity=0).fit(first, -first)
    rows = net.transform(first, -first)
    assert np.isfinite(rows).all()
    np.testing.assert_array_equal(rows[:3], rows[3:6])
    assert len(np.unique(rows, axis=0)) == 3
    found = net.translate(first=first[:3])
    assert found.shape == (3, 1)
    assert np.argsort(found[:, 0]).tolist() == [2, 0, 1]


def test_a_row_of_no_words_is_a_missing_modality_and_gets_a_finite_vector_of_its_own(trained):
    _, net, first, second = trained
    empty = np.full_like(first, np.nan)
    rows = net.transform(empty, second)
    assert np.isfinite(np.delete(rows, 9, axis=0)).all()
    np.testing.assert_array_equal(rows[9], 0)
    np.testing.assert_array_equal(rows, net.transform(second=second))
