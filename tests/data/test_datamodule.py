"""Which rows train, and how batches are drawn."""

import logging

import numpy as np
import pytest
import torch

from bidnn.data import datamodule, loaders, mapping
from bidnn.data import store as stores
from bidnn.data.datamodule import PairDataModule
from bidnn.data.device import fits
from bidnn.data.loaders import ChunkLoader
from bidnn.data.order import Shuffle
from bidnn.data.store import PairStore
from tests.places import place
from tests.reading import of_files


def numbered(rows, incomplete=0):
    """Rows that hold their own number; the first `incomplete` lack a modality in turn."""
    values = np.arange(rows, dtype=np.float32)[:, None]
    present = np.ones((rows, 2), dtype=bool)
    present[np.arange(incomplete), np.arange(incomplete) % 2] = False
    return PairStore(values, -values, present, name="numbers")


def drawn(data):
    """The row numbers of each batch of an epoch."""
    batches = []
    for chunk in data.train_dataloader():
        np.testing.assert_array_equal(chunk.first.numpy(), -chunk.second.numpy())
        batches += chunk.first[:, 0].int().split(chunk.batch)
    return [batch.tolist() for batch in batches]


def module(store, **more):
    return PairDataModule(store, **{"batch_size": 8, "seed": 0, **more})


def test_an_epoch_holds_every_complete_row_at_most_once_in_whole_batches():
    batches = drawn(module(numbered(100, incomplete=30)))
    assert [len(batch) for batch in batches] == [8] * 8
    rows = [row for batch in batches for row in batch]
    assert len(set(rows)) == 64
    assert set(rows) <= set(range(30, 100))


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else():
    data = module(numbered(64))
    assert drawn(data) == drawn(module(numbered(64)))
    assert drawn(data) != drawn(module(numbered(64), seed=1))
    data.trainer = place(1)
    assert drawn(data) != drawn(module(numbered(64)))


@pytest.mark.skipif(of_files() is None, reason="only Linux says it")
def test_mapped_coordinates_go_with_their_rows_and_are_let_go(tmp_path, monkeypatch):
    known = np.arange(4000, dtype=np.float32)[:, None] + np.zeros(2000, dtype=np.float32)
    np.save(tmp_path / "known.npy", known)
    monkeypatch.setattr(mapping, "LET_GO_FROM", known.nbytes)
    monkeypatch.setattr(loaders, "CHUNK_BATCHES", 2)
    data = module(numbered(4000), batch_size=100)
    data.coordinates = np.asarray(np.load(tmp_path / "known.npy", mmap_mode="r"))
    before = of_files()
    for chunk in data.train_dataloader():
        assert (chunk.coordinates == chunk.first).all()
    assert of_files() - before < known.nbytes / 4


def test_an_epoch_can_be_begun_at_any_chunk(monkeypatch):
    monkeypatch.setattr(loaders, "CHUNK_BATCHES", 2)
    data = module(numbered(100))
    data.trainer = place(2)
    whole = drawn(data)
    data.trainer = place(2, taken=3)
    assert drawn(data) == whole[6:]


@pytest.mark.parametrize("shuffle", list(Shuffle))
def test_rows_on_a_device_make_the_same_chunks(monkeypatch, shuffle):
    monkeypatch.setattr(loaders, "CHUNK_BATCHES", 2)
    monkeypatch.setattr(stores, "BLOCK_BYTES", 600)
    store = numbered(100, incomplete=20)
    settings = {"incomplete_rows": True, "shuffle": shuffle}
    plain = list(module(store, **settings).train_dataloader())
    assert not fits(store, torch.device("cpu"))
    monkeypatch.setattr(datamodule, "fits", lambda *_: True)
    loader = module(store, **settings).train_dataloader()
    assert loader.on_device is not None
    for numbered_rows, other in zip(loader, plain, strict=True):
        assert len(numbered_rows) == len(other)
        own = numbered_rows.gathered()
        assert own.batch == other.batch
        for part in ("first", "second", "present"):
            assert torch.equal(getattr(own, part), getattr(other, part))


@pytest.mark.parametrize("shuffle", [Shuffle.rows, Shuffle.blocks])
def test_an_order_that_was_begun_before_its_epoch_is_the_epochs_own(monkeypatch, shuffle):
    monkeypatch.setattr(loaders, "CHUNK_BATCHES", 2)
    monkeypatch.setattr(stores, "BLOCK_BYTES", 600)
    monkeypatch.setattr(datamodule, "fits", lambda *_: True)
    data = module(numbered(100), shuffle=shuffle)

    def of(loader, epoch, taken=0):
        data.trainer = place(epoch, taken=taken)
        return [chunk.numbers.tolist() for chunk in loader]

    loader = data.train_dataloader()
    begun = []
    for epoch, taken in ((0, 0), (1, 0), (2, 1), (3, 0), (3, 0), (7, 0), (8, 0)):
        alone = of(data.train_dataloader(), epoch, taken)
        begun.append(loader._begun is not None and loader._begun[0] == (epoch, taken))
        assert of(loader, epoch, taken) == alone
        loader.draw_ahead()
    assert begun == [False, True, False, True, False, False, True]


def test_rows_of_another_store_are_not_held_out_of_this_one():
    data = module(numbered(40), val_fraction=0.1)
    assert data.taught is None
    data.coordinates = np.zeros((40, 3), dtype=np.float32)
    assert data.taught.held.tolist() == data.val_rows.tolist()
    assert len(data.held_rows) == 4
    assert set(data.taught.rows) == set(range(40)) - set(data.held_rows)
    assert not len(module(numbered(40), val_store=numbered(20)).held_rows)


def test_chunks_do_not_change_the_batches(monkeypatch):
    whole = drawn(module(numbered(100)))
    monkeypatch.setattr(loaders, "CHUNK_BATCHES", 5)
    assert len(module(numbered(100)).train_dataloader()) == 3
    assert drawn(module(numbered(100))) == whole


@pytest.mark.parametrize("processes", [2, 4])
def test_the_processes_parts_of_a_batch_make_up_the_batch(processes):
    store, rows = numbered(40), np.arange(40)

    def batches(share):
        loader = ChunkLoader(store, rows, 8, seed=3, place=lambda: (0, 0), share=share)
        return [b.tolist() for c in loader for b in c.first[:, 0].int().split(c.batch)]

    parts = [batches((number, processes)) for number in range(processes)]
    for number, whole in enumerate(batches((0, 1))):
        assert sorted(row for part in parts for row in part[number]) == sorted(whole)


def test_a_batch_that_the_processes_cannot_share_evenly_is_refused():
    data = module(numbered(64), batch_size=9)
    data.trainer = place(processes=2)
    with pytest.raises(ValueError, match=r"data\.batch_size=9 is shared by 2 processes"):
        data.train_dataloader()


def test_fewer_rows_than_a_batch_make_one_smaller_batch_and_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        batches = drawn(module(numbered(5)))
    assert [len(batch) for batch in batches] == [5]
    assert "numbers: 5 rows to train on are fewer than data.batch_size=8" in caplog.text
    assert "val_fraction" not in caplog.text


def test_a_warning_says_that_the_held_out_rows_are_most(caplog):
    module(numbered(100), val_fraction=0.99)
    assert "numbers: 1 rows to train on" in caplog.text
    assert "since data.val_fraction=0.99 holds 99 rows out" in caplog.text


def test_without_any_complete_row_there_is_an_error_unless_nothing_is_to_be_trained():
    with pytest.raises(ValueError, match="no row has both modalities"):
        module(numbered(6, incomplete=6))
    assert not len(module(numbered(6, incomplete=6), trains=False).train_rows)


def test_incomplete_rows_train_with_their_mask_when_they_are_asked_for():
    store = numbered(64, incomplete=20)
    chunks = list(module(store, incomplete_rows=True).train_dataloader())
    present = np.concatenate([chunk.present.numpy() for chunk in chunks])
    first = np.concatenate([chunk.first.numpy() for chunk in chunks])[:, 0]
    second = np.concatenate([chunk.second.numpy() for chunk in chunks])[:, 0]
    rows = np.maximum(first, -second).astype(int)
    np.testing.assert_array_equal(present, store.present[rows])
    assert len(set(rows)) == 64
    assert next(iter(module(store).train_dataloader())).present is None


def test_validation_rows_are_complete_held_out_and_seen_once(monkeypatch):
    monkeypatch.setattr(loaders, "CHUNK_BYTES", 8 * 5)
    data = module(numbered(100, incomplete=20), val_fraction=0.25)
    held = [row for c in data.val_dataloader()[0] for row in c.first[:, 0].int().tolist()]
    assert len(held) == 20
    assert len(set(held)) == 20
    assert min(held) >= 20
    assert not set(held) & set(data.train_rows)
    assert not set(held) & set(data.scaling_rows)


def test_a_file_to_validate_on_must_fit_and_excludes_a_fraction():
    other = PairStore(np.ones((3, 2)), np.ones((3, 1)), np.ones((3, 2), bool), name="val.npz")
    with pytest.raises(ValueError, match=r"val\.npz: 2 \+ 1 columns"):
        module(numbered(20), val_store=other)
    with pytest.raises(ValueError, match="exclude each other"):
        module(numbered(20), val_store=numbered(20), val_fraction=0.5)
    with pytest.raises(ValueError, match=r"data\.val_fraction=0\.001"):
        module(numbered(20), val_fraction=0.001)
    with pytest.raises(ValueError, match=r"data\.batch_size=0"):
        module(numbered(20), batch_size=0)


def test_the_rows_that_are_held_out_are_those_of_a_permutation():
    rows = np.arange(500) * 3 + 1
    present = np.zeros((1600, 2), bool)
    present[rows] = True
    values = np.ones((1600, 2), np.float32)
    data = PairDataModule(
        PairStore(values, values, present), batch_size=8, seed=7, val_fraction=0.1
    )
    expected = np.random.default_rng([7, 0x76616C]).permutation(rows)
    np.testing.assert_array_equal(data.val_rows, np.sort(expected[:50]))
    np.testing.assert_array_equal(data.train_rows, np.sort(expected[50:]))
    np.testing.assert_array_equal(data.scaling_rows, np.setdiff1d(np.arange(1600), data.val_rows))
