"""Mapped files that are cut or rewritten while they are in use."""

import os

import numpy as np
import pytest
from lightning.pytorch.callbacks import Callback

from bidnn.architecture import NetworkConfig
from bidnn.data import sources
from bidnn.data.formats.npy import read_npy
from bidnn.data.loaders import ChunkLoader, RowLoader
from bidnn.data.order import Order, Shuffle
from bidnn.data.sources import LibsvmSource
from bidnn.errors import UserError
from bidnn.model.inference import infer
from bidnn.model.model import Model
from tests.training.fitting import run, settings


@pytest.fixture
def store(tmp_path):
    values = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    for name in ("first", "second"):
        np.save(tmp_path / f"{name}.npy", values)
    return read_npy(tmp_path / "first.npy", tmp_path / "second.npy", ignore_zeroes=True)


def rewrite(path):
    with path.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\0\0\0\0")
    os.utime(path, ns=(0, 0))  # as later: a clock of coarse steps might not tell


def cut(path):
    with path.open("r+b") as file:
        file.truncate(200)


def loader(store, **more):
    return ChunkLoader(store, np.arange(64), 8, seed=0, place=lambda: (0, 0), **more)


@pytest.mark.parametrize("change", [rewrite, cut])
@pytest.mark.parametrize("shuffle", [Shuffle.rows, Shuffle.blocks])
def test_a_changed_file_is_noticed_before_each_pool(store, tmp_path, change, shuffle):
    assert len(list(loader(store, shuffle=shuffle))) == 1
    change(tmp_path / "second.npy")
    for rows in (loader(store, shuffle=shuffle), RowLoader(store, np.arange(64), 8)):
        with pytest.raises(UserError, match=r"second\.npy: was changed after it was opened"):
            list(rows)
    model = Model(3, 3, NetworkConfig(hdn=2, rep=2)).eval()
    with pytest.raises(UserError, match=r"second\.npy: was changed"):
        list(infer(model, store))


def test_a_file_that_changes_within_an_epoch_is_noticed_at_its_next_pool(store, tmp_path):
    rows = loader(store, shuffle=Shuffle.blocks)
    rows.order = Order(count=64, block=4, pool=16, seed=0)
    chunks = rows._chunks()
    assert len(next(chunks).first) == 16
    rewrite(tmp_path / "first.npy")
    with pytest.raises(UserError, match=r"first\.npy: was changed"):
        next(chunks)


def test_a_file_that_is_replaced_or_removed_is_still_read_as_it_was(store, tmp_path):
    before = [chunk.first.numpy() for chunk in loader(store)]
    np.save(tmp_path / "new.npy", np.zeros((2, 3), np.float32))
    (tmp_path / "new.npy").replace(tmp_path / "first.npy")
    (tmp_path / "second.npy").unlink()
    for own, other in zip(before, loader(store), strict=True):
        np.testing.assert_array_equal(own, other.first.numpy())


def test_a_training_stops_at_a_file_that_was_rewritten(store, tmp_path):
    class Rewrite(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            self.epoch = trainer.current_epoch
            if self.epoch == 1:
                rewrite(tmp_path / "first.npy")

    callback = Rewrite()
    with pytest.raises(UserError, match=r"first\.npy: was changed"):
        run(store, settings(5), callbacks=[callback])
    assert callback.epoch == 1


def test_a_libsvm_cache_that_is_rewritten_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "CACHE_FROM", 1)
    path = tmp_path / "rows.txt"
    path.write_text("a 1:1 2:2 3:3\n" * 64)
    store = LibsvmSource(path=str(path), mod1size=1, mod2size=2).open(None)
    list(store.blocks())
    rewrite(next(tmp_path.glob("rows.txt.cache/*/second.matrix")))
    with pytest.raises(UserError, match=r"second\.matrix: was changed"):
        list(store.blocks())
