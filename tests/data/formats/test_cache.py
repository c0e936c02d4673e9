"""libsvm files that are parsed once."""

import errno
import gzip
import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from bidnn.data import sources
from bidnn.data.formats.libsvm import cache as rooms
from bidnn.data.formats.libsvm import text as rooms_text
from bidnn.data.formats.libsvm.text import LibsvmError, iter_libsvm, write_libsvm
from bidnn.data.mapping import is_mapped
from bidnn.data.sources import LibsvmSource

SIZES = (3, 50)


@pytest.fixture(autouse=True)
def small_files_too(monkeypatch):
    monkeypatch.setattr(sources, "CACHE_FROM", 1)


@pytest.fixture
def text(tmp_path):
    """40 rows: a dense modality and a sparse one, with rows that lack either."""
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(40, sum(SIZES))).astype(np.float32)
    rows[:, 3:] *= generator.uniform(size=(40, 50)) < 0.05
    rows[:4, :3], rows[4:8, 3:] = 0, 0
    path = tmp_path / "rows.txt"
    with path.open("wb") as file:
        write_libsvm(file, rows, [f"class-é{number % 3}" for number in range(40)])
    return path


def opened(path, **more):
    source = LibsvmSource(path=str(path), mod1size=SIZES[0], mod2size=SIZES[1], **more)
    return source.open(None)


def assert_same(store, other):
    for own, theirs in zip(store.take(slice(None)), other.take(slice(None)), strict=True):
        np.testing.assert_array_equal(own, theirs)
    np.testing.assert_array_equal(store.present, other.present)
    np.testing.assert_array_equal(store.labels, other.labels)


def folders(path):
    return sorted(path.with_name(f"{path.name}.cache").glob("*"))


@pytest.mark.parametrize("ignore_zeroes", [False, True])
def test_a_cache_holds_what_the_text_says_and_is_parsed_once(text, ignore_zeroes, monkeypatch):
    plain = opened(text, cache=False, ignore_zeroes=ignore_zeroes)
    assert not is_mapped(plain.first)
    first = opened(text, ignore_zeroes=ignore_zeroes)
    assert is_mapped(first.first)
    assert is_mapped(first.second)
    assert not isinstance(first.second, np.ndarray)  # sparse
    monkeypatch.setattr(rooms, "iter_libsvm", None)
    again = opened(text, ignore_zeroes=ignore_zeroes)
    for store in (first, again):
        assert_same(store, plain)
    assert len(folders(text)) == 1
    assert not text.with_name("rows.txt.cache").joinpath(".part").exists()


def test_other_sizes_have_a_cache_of_their_own(text):
    opened(text)
    LibsvmSource(path=str(text), mod1size=5, mod2size=48).open(None)
    assert len(folders(text)) == 2


def test_a_new_cache_removes_those_of_the_files_earlier_contents(text):
    earlier = opened(text)
    rows = [part.copy() for part in earlier.take(slice(None))]
    killed = folders(text)[0].with_name(".0-1-3-50-auto.0123abcd.part")
    killed.mkdir()
    with text.open("ab") as file:
        file.write(b"new 1:0.5 5:1\n")
    store = opened(text)
    assert len(store) == 41
    assert store.labels[-1] == "new"
    assert len(folders(text)) == 1
    assert_same(opened(text), store)
    # Who still has the earlier ones mapped keeps them.
    for own, before in zip(earlier.take(slice(None)), rows, strict=True):
        np.testing.assert_array_equal(own, before)


def cut(path):
    path.write_bytes(path.read_bytes()[:-8])


def garble(path):
    path.write_bytes(bytes(255 - byte for byte in path.read_bytes()))


@pytest.mark.parametrize("damage", [cut, garble, Path.unlink, lambda path: path.write_text("{}")])
@pytest.mark.parametrize("name", ["meta.json", "first.matrix", "second.indices", "labels"])
def test_a_damaged_cache_is_made_anew(text, caplog, damage, name):
    plain = opened(text, cache=False)
    opened(text)
    (folder,) = folders(text)
    damage(folder / name)
    assert_same(opened(text), plain)
    assert "it is made anew" in caplog.text
    assert folders(text) == [folder]
    caplog.clear()
    assert_same(opened(text), plain)
    assert not caplog.text


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_a_file_that_is_replaced_between_hashing_and_parsing_fills_no_cache(
    text, monkeypatch, packed
):
    text.write_bytes(packed(text.read_bytes()))
    plain, before = opened(text, cache=False), text.read_bytes()
    fill = rooms._fill

    def replaced(folder, path, *more):
        path.with_name("new").write_bytes(packed(b"other 1:1 53:1\n"))
        path.with_name("new").replace(path)
        return fill(folder, path, *more)

    with monkeypatch.context() as patch:
        patch.setattr(rooms, "_fill", replaced)
        with pytest.raises(LibsvmError, match="was changed while"):
            opened(text)
    assert not folders(text)
    text.write_bytes(before)
    assert_same(opened(text), plain)


def test_a_file_whose_indices_start_elsewhere_when_it_is_parsed_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "rows.txt"
    path.write_text("a 0:1\n")
    parse, calls = rooms_text._parse_file, []

    def parse_then_replace(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            path.write_text("a 1:1\n")
        return parse(*arguments)

    monkeypatch.setattr(rooms_text, "_parse_file", parse_then_replace)
    with pytest.raises(LibsvmError, match="was changed while it was read"):
        list(iter_libsvm(path, 2, 2))


def test_indices_are_widened_where_scipy_needs_it(text, monkeypatch):
    plain = opened(text, cache=False)
    monkeypatch.setattr(rooms, "WIDE_FROM", 10)
    store = opened(text)
    assert_same(store, plain)
    (folder,) = folders(text)
    assert np.fromfile(folder / "second.indices", np.int64).max() < 50


def test_a_file_that_cannot_be_read_leaves_nothing_behind(text):
    with text.open("ab") as file:
        file.write(b"broken 1:x\n")
    with pytest.raises(LibsvmError, match="line 41"):
        opened(text)
    assert not text.with_name("rows.txt.cache").exists()


@pytest.mark.parametrize("error", [errno.EACCES, errno.ENOSPC, errno.EROFS])
def test_where_no_cache_can_be_written_the_rows_are_read_into_memory(text, monkeypatch, error):
    plain = opened(text, cache=False)

    def fails(*_):
        raise OSError(error, "no")

    monkeypatch.setattr(rooms, "append", fails)
    store = opened(text)
    assert not is_mapped(store.first)
    assert_same(store, plain)
    assert not folders(text)


def _open_in_a_process(path, start, queue):
    sources.CACHE_FROM = 1
    start.wait()
    queue.put(int(opened(Path(path)).present.sum()))


def test_two_processes_may_make_the_same_cache_at_once(text):
    context = multiprocessing.get_context("spawn")
    start, queue = context.Event(), context.Queue()
    processes = [
        context.Process(target=_open_in_a_process, args=(str(text), start, queue)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    start.set()
    found = [queue.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert len(set(found)) == 1
    assert len(folders(text)) == 1
