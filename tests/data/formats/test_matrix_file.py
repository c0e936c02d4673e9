"""A matrix written bit by bit: the same bytes past the page cache as through it."""

import errno
import fcntl
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidnn.data.formats import matrix_file
from bidnn.data.formats.matrix_file import MatrixFile
from tests.programs.disks import small_disk

O_DIRECT = getattr(os, "O_DIRECT", 0)


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source").write_bytes(bytes(100))
    return [tmp_path / "source"]


@pytest.fixture
def written(monkeypatch):
    """Blocks of a page, and how many bytes were written past the page cache."""
    monkeypatch.setattr(matrix_file, "BLOCK_BYTES", matrix_file.ALIGNED)
    sizes = []

    def pwrite(handle, content, place):
        assert fcntl.fcntl(handle, fcntl.F_GETFL) & O_DIRECT
        sizes.append(len(content))
        return known(handle, content, place)

    known = os.pwrite
    monkeypatch.setattr(os, "pwrite", pwrite)
    return sizes


def put_all(path, source, rows, parts, places=None):
    places = np.arange(len(rows)) if places is None else places
    with MatrixFile(path, source) as file:
        for start, stop in zip([0, *parts], [*parts, len(rows)], strict=True):
            part = rows[start:stop]
            there = ~np.isnan(part[:, 0])
            file.put(part[there], there, places[start:stop])
    with path.open("ab") as file:
        file.truncate(rows.nbytes)
    return np.fromfile(path, np.float32).reshape(rows.shape)


def free(monkeypatch, size):
    monkeypatch.setattr(matrix_file, "available_memory", lambda: size)


@pytest.mark.skipif(not O_DIRECT, reason="this system writes all through its page cache")
def test_much_is_written_past_the_page_cache_and_little_is_not(
    tmp_path, source, written, monkeypatch
):
    rows = np.random.default_rng(0).normal(size=(1000, 7)).astype("f4")
    for memory, blocks in ((1001, 0), (999, 28_000 // 4096), (None, 0)):
        free(monkeypatch, memory)
        written.clear()
        found = put_all(tmp_path / "x", source, rows, [1, 300, 301])
        np.testing.assert_array_equal(found, rows)
        assert written == [4096] * blocks


@given(
    rows=st.integers(0, 400),
    size=st.integers(1, 40),
    cuts=st.lists(st.integers(0, 400), max_size=5),
    missing=st.sampled_from([0.0, 0.3]),
    jump=st.integers(0, 400) | st.none(),
    seed=st.integers(0, 99),
)
def test_rows_are_at_their_places_whatever_comes_in_which_parts(
    tmp_path_factory, rows, size, cuts, missing, jump, seed
):
    folder = tmp_path_factory.mktemp("rows")
    (folder / "source").write_bytes(bytes(100))
    draw = np.random.default_rng(seed)
    values = draw.normal(size=(rows, size)).astype("f4")
    values[draw.random(rows) < missing] = np.nan
    places = np.arange(rows)
    if jump is not None:  # rows of a second table, which are where the first has them
        places[jump:] = draw.permutation(places[jump:])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matrix_file, "BLOCK_BYTES", matrix_file.ALIGNED)
        free(patch, 1)
        parts = sorted(min(cut, rows) for cut in cuts)
        found = put_all(folder / "x", [folder / "source"], values, parts, places)
    np.testing.assert_array_equal(found[places], np.nan_to_num(values))


@pytest.mark.parametrize("how", ["refused at once", "refused at the first", "in part"])
def test_where_the_page_cache_cannot_be_passed_rows_are_written_through_it(
    tmp_path, source, written, monkeypatch, how
):
    free(monkeypatch, 1)
    known = os.pwrite

    def control(handle, command, *value):
        if value and value[0] & O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return fcntl_known(handle, command, *value)

    def pwrite(handle, content, place):
        if how == "in part" and not place:
            return known(handle, content, place)
        if how == "in part":
            return known(handle, content[:512], place)
        raise OSError(errno.EINVAL, "Invalid argument")

    fcntl_known = fcntl.fcntl
    if how == "refused at once":
        monkeypatch.setattr(fcntl, "fcntl", control)
    else:
        monkeypatch.setattr(os, "pwrite", pwrite)
    rows = np.random.default_rng(0).normal(size=(1000, 7)).astype("f4")
    np.testing.assert_array_equal(put_all(tmp_path / "x", source, rows, [300]), rows)


@pytest.mark.parametrize("memory", [1, 10**9])
def test_a_full_disk_is_the_error_that_it_is(tmp_path, source, monkeypatch, memory):
    free(monkeypatch, memory)
    rows = np.ones((2**18, 7), np.float32)
    (tmp_path / "disk").mkdir()
    try:
        with small_disk(tmp_path / "disk"), pytest.raises(OSError, match="No space left") as raised:
            put_all(tmp_path / "disk" / "x", source, rows, [1000])
    except PermissionError as error:
        pytest.skip(str(error))
    assert raised.value.errno == errno.ENOSPC
