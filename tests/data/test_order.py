"""In which order rows are drawn."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bidnn.data import loaders
from bidnn.data import order as rooms
from bidnn.data.loaders import ChunkLoader
from bidnn.data.order import Order, Shuffle
from bidnn.data.store import PairStore

orders = st.builds(
    Order,
    count=st.integers(1, 200),
    block=st.integers(0, 20),
    pool=st.integers(1, 60),
    seed=st.integers(0, 3),
)


@given(orders, st.integers(0, 2))
def test_every_number_comes_once_an_epoch(order, epoch):
    drawn = np.concatenate(list(order.pools(epoch)))
    np.testing.assert_array_equal(np.sort(drawn), np.arange(order.count))


@given(orders, st.integers(0, 2), st.integers(0, 200))
def test_an_order_can_be_entered_anywhere(order, epoch, start):
    start = min(start, order.count)
    whole = np.concatenate(list(order.pools(epoch)))
    rest = list(order.pools(epoch, start))
    found = np.concatenate(rest) if rest else np.zeros(0)
    np.testing.assert_array_equal(found, whole[start:])


@given(orders)
def test_all_pools_but_the_last_are_full(order):
    sizes = [len(pool) for pool in order.pools(0)]
    if order.block:
        assert sizes[:-1] == [order.pool] * (len(sizes) - 1)


def test_a_pool_holds_whole_blocks_from_all_over_in_an_order_of_its_own():
    order = Order(count=1000, block=10, pool=100, seed=0)
    first, second = (list(order.pools(epoch)) for epoch in (0, 1))
    for pool in first:
        blocks, counts = np.unique(pool // 10, return_counts=True)
        assert (counts == 10).all()
        assert blocks.max() - blocks.min() > 30
        assert (np.diff(pool) == 1).mean() < 0.1
    assert set(first[0]) != set(second[0])


def test_large_mapped_files_are_shuffled_by_blocks_and_others_by_rows(tmp_path, monkeypatch):
    np.save(tmp_path / "rows.npy", np.zeros((100, 64), np.float32))
    present = np.ones((100, 2), dtype=bool)

    def order(values, shuffle=Shuffle.auto):
        return Order.of(PairStore(values, values, present), 100, 4, shuffle, 0)

    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert order(mapped).block == 0
    monkeypatch.setattr(rooms, "BLOCKS_FROM", 1000)
    monkeypatch.setattr(rooms, "BLOCK_BYTES", 8 * 512)
    monkeypatch.setattr(rooms, "POOL_BYTES", 30 * 512)
    assert (order(mapped).block, order(mapped).pool) == (8, 28)
    assert order(np.array(mapped)).block == 0
    assert order(np.array(mapped), Shuffle.blocks).block == 8
    assert order(mapped, Shuffle.rows).block == 0


@pytest.mark.parametrize("processes", [1, 2])
def test_batches_drawn_by_blocks_are_rows_as_they_are(processes, monkeypatch):
    monkeypatch.setattr(rooms, "BLOCK_BYTES", 10 * 8)
    monkeypatch.setattr(rooms, "POOL_BYTES", 64 * 8)
    values = np.arange(300, dtype=np.float32)[:, None]
    present = np.ones((300, 2), dtype=bool)
    present[::7, 1] = False
    store, rows = PairStore(values, -values, present), np.arange(300)
    drawn = []
    for number in range(processes):
        share = (number, processes)
        loader = ChunkLoader(
            store, rows, 16, seed=0, place=lambda: (0, 0), shuffle=Shuffle.blocks, share=share
        )
        for chunk in loader:
            assert len(chunk.first) % (16 // processes) == 0
            numbers = chunk.first[:, 0].int().numpy()
            np.testing.assert_array_equal(chunk.present.numpy(), present[numbers])
            np.testing.assert_array_equal(
                chunk.second[:, 0].numpy(), np.where(present[numbers, 1], -numbers, 0)
            )
            drawn += numbers.tolist()
    assert len(drawn) == len(set(drawn)) == 288


@pytest.mark.parametrize("shuffle", [Shuffle.rows, Shuffle.blocks])
def test_a_gpu_gets_larger_chunks_of_the_same_batches(monkeypatch, shuffle):
    monkeypatch.setattr(rooms, "BLOCK_BYTES", 40)
    monkeypatch.setattr(rooms, "POOL_BYTES", 8 * 12 * 16)
    monkeypatch.setattr(loaders, "CHUNK_BYTES", 8 * 16)
    monkeypatch.setattr(loaders, "GPU_CHUNK_BYTES", 8 * 5 * 16)
    rows = np.arange(400, dtype=np.float32)
    store = PairStore(rows.reshape(200, 2), rows.reshape(200, 2), np.ones((200, 2), dtype=bool))
    chunks = {}
    for name in ("cpu", "cuda"):
        loader = ChunkLoader(
            store,
            np.arange(200),
            8,
            seed=0,
            place=lambda: (1, 0),
            shuffle=shuffle,
            device=torch.device(name),
        )
        chunks[name] = list(loader)
        assert len(loader) == len(chunks[name])
    assert len(chunks["cpu"]) == 25
    assert len(chunks["cuda"]) == (5 if shuffle is Shuffle.rows else 25 // 4 + 1)
    own, other = (torch.cat([c.first for c in chunks[name]]) for name in ("cpu", "cuda"))
    assert torch.equal(own, other)
