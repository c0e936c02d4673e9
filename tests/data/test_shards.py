"""One matrix in several files: the same rows, from the same files, as of one array."""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from bidnn.data import mapping, order
from bidnn.data.device import DeviceRows
from bidnn.data.formats.arrays import store_arrays
from bidnn.data.loaders import ChunkLoader
from bidnn.data.mapping import is_mapped, let_go
from bidnn.data.order import Shuffle
from bidnn.data.shards import Shards
from bidnn.data.store import find_present
from tests.reading import of_files


def cut(whole, lengths):
    """Shards of a matrix, and the matrix that they are of."""
    ends = np.cumsum(lengths)
    parts = np.split(whole[: ends[-1]], ends[:-1])
    return Shards(parts, [f"s{n}" for n in range(len(parts))]), whole[: ends[-1]]


@given(
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=6),
    start=st.none() | st.integers(-30, 30),
    stop=st.none() | st.integers(-30, 30),
    step=st.sampled_from([None, 1, 2, -1]),
    seed=st.integers(0, 99),
)
@example(lengths=[1], start=-2, stop=0, step=-1, seed=0)
def test_rows_are_those_of_the_matrix(lengths, start, stop, step, seed):
    shards, whole = cut(np.arange(60).reshape(30, 2), lengths)
    assert (shards.shape, shards.dtype, len(shards)) == (whole.shape, whole.dtype, len(whole))
    np.testing.assert_array_equal(shards[start:stop:step], whole[start:stop:step])
    numbers = np.random.default_rng(seed).integers(0, max(1, len(whole)), min(len(whole), 9))
    for rows in (numbers, np.sort(numbers)) if len(whole) else ():
        np.testing.assert_array_equal(shards[rows], whole[rows])
    for number in numbers:
        _, row = shards.where(int(number)).split(", row ")
        name = shards.names.index(shards.where(int(number)).split(",")[0])
        np.testing.assert_array_equal(shards.parts[name][int(row)], whole[number])


@pytest.mark.parametrize("rows", [[-1], [0, 7]])
def test_a_row_that_is_none_is_no_other(rows):
    shards, _ = cut(np.ones((7, 2)), [3, 4])
    with pytest.raises(IndexError, match="of 7"):
        shards[np.array(rows)]


def test_shards_of_two_types_are_of_the_wider_one():
    parts = [np.full((2, 3), 0.1, "f2"), np.full((1, 3), 0.1, "f8")]
    shards = Shards(parts, "ab")
    assert shards.nbytes == 2 * 3 * 2 + 3 * 8
    for rows in (slice(1, 3), np.array([1, 2])):
        assert shards[rows].dtype == np.float64
        np.testing.assert_array_equal(shards[rows], np.concatenate(parts)[1:])
    assert np.shares_memory(shards[0:1], parts[0])


def test_a_store_of_shards_is_that_of_the_matrix():
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(30, 4)), generator.normal(size=(30, 3)).astype("f4")
    first[:3], second[4:9] = np.nan, np.nan
    whole = store_arrays(first, second)
    found = store_arrays(cut(first, [7, 0, 20, 3])[0], cut(second, [1, 29])[0])
    np.testing.assert_array_equal(found.present, whole.present)
    assert (found.nbytes, found.describe()) == (whole.nbytes, whole.describe())
    assert not found.mapped
    rows = np.array([29, 0, 8, 7, 7])
    for one, other in (
        (found.take(rows), whole.take(rows)),
        (found.take(slice(5, 28)), whole.take(slice(5, 28))),
        (found.load(rows).take(slice(None)), whole.load(rows).take(slice(None))),
    ):
        for own, expected in zip(one, other, strict=True):
            np.testing.assert_array_equal(own, expected)


def test_a_value_that_is_none_is_named_by_its_shard():
    values = np.ones((9, 2))
    values[6, 1] = np.inf
    shards, _ = cut(values, [4, 5])
    with pytest.raises(ValueError, match=r"^s1, row 2 counted from 0: infinite"):
        find_present(shards, None, ignore_zeroes=True, name="x")


@pytest.mark.skipif(of_files() is None, reason="only Linux says it")
def test_small_files_that_are_large_together_are_let_go(tmp_path, monkeypatch):
    values = np.random.default_rng(0).normal(size=(4000, 2000)).astype(np.float32)
    parts = []
    for number, part in enumerate(np.split(values, 8)):
        np.save(tmp_path / f"{number}.npy", part)
        parts.append(np.load(tmp_path / f"{number}.npy", mmap_mode="r"))
    shards = Shards(parts, "abcdefgh")
    assert is_mapped(shards)
    monkeypatch.setattr(mapping, "LET_GO_FROM", values.nbytes)
    before, little = of_files(), values.nbytes / 4
    store = store_arrays(shards, shards)
    assert of_files() - before < little
    np.testing.assert_array_equal(store.take(np.arange(3000))[0], values[:3000])
    assert of_files() - before < little
    np.testing.assert_array_equal(store.take(slice(1000, 4000))[0], values[1000:])
    assert of_files() - before < little
    for part in parts:
        part.sum()
    assert of_files() - before > values.nbytes * 3 / 4
    let_go(shards, slice(0, 2000))
    assert values.nbytes / 4 < of_files() - before < values.nbytes * 3 / 4


@pytest.mark.parametrize("shuffle", [Shuffle.rows, Shuffle.blocks])
def test_batches_are_the_same_on_a_device_too(shuffle, monkeypatch):
    monkeypatch.setattr(order, "BLOCK_BYTES", 5 * 7 * 4)
    monkeypatch.setattr(order, "POOL_BYTES", 200)
    values = np.random.default_rng(0).normal(size=(64, 7)).astype(np.float32)
    whole = store_arrays(values[:, :3], values[:, 3:])
    first = cut(np.ascontiguousarray(values[:, :3]), [30, 1, 33])[0]
    shards = store_arrays(first, cut(values[:, 3:], [64])[0])
    on_device = DeviceRows.of(shards, torch.device("cpu"))
    rows = {"seed": 0, "place": lambda: (3, 0), "shuffle": shuffle}
    drawn = [
        list(ChunkLoader(store, np.arange(64), 8, **rows, on_device=device))
        for store, device in ((whole, None), (shards, None), (shards, on_device))
    ]
    assert sum(len(chunk.first) for chunk in drawn[0]) == 64
    for expected, *others in zip(*drawn, strict=True):
        for found in others:
            drawn_rows = found.gathered()
            assert torch.equal(drawn_rows.first, expected.first)
            assert torch.equal(drawn_rows.second, expected.second)
