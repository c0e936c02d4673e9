"""Files that fsspec opens: brought once, anew when they changed, and whole or not at all."""

import functools
import io
import os
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import patch

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pyarrow import parquet

from bidnn.data.pieces import pieces_of
from bidnn.data.remote import local_path, with_local_files
from bidnn.data.sources import EmbeddingsSource, NpySource, NpzSource, TableSource
from bidnn.errors import UserError
from bidnn.programs.rows import open_rows

ROWS = np.random.default_rng(0).normal(size=(12, 3)).astype("f4")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Where files are brought to; and an empty memory to bring them from."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    return tmp_path / "cache" / "bidnn"


def put(url, *arrays, **named):
    with fsspec.open(url, "wb") as file:
        if named:
            np.savez(file, **named)
        else:
            np.save(file, arrays[0])


def brought(cache):
    """The files that are here, and when each was brought."""
    files = (path for path in cache.rglob("*") if path.is_file() and ".versions" not in path.parts)
    return {path.name: path.stat().st_ino for path in files if path.name != ".lock"}


def test_a_file_is_brought_once_and_anew_when_it_has_changed(cache, caplog):
    caplog.set_level("INFO")
    put("memory://a/rows.npz", first=ROWS, second=ROWS)
    source = NpzSource(path="memory://a/rows.npz")
    store = open_rows(source, 0)
    np.testing.assert_array_equal(store.take(slice(None))[0], ROWS)
    (path,) = cache.glob("*/rows.npz")
    assert f"memory://a/rows.npz: brought to {path}" in caplog.messages
    before = brought(cache)
    assert set(before) == {"rows.npz"}
    open_rows(source, 0)
    assert brought(cache) == before
    assert f"memory://a/rows.npz: unchanged since it was brought to {path}" in caplog.messages
    put("memory://a/rows.npz", first=ROWS + 1, second=ROWS)
    np.testing.assert_array_equal(open_rows(source, 0).take(slice(None))[0], ROWS + 1)
    path.unlink()
    assert len(open_rows(source, 0)) == 12


def test_patterns_and_folders_are_brought_with_what_is_in_them(cache):
    for number in (0, 1, 2):
        rows = ROWS[4 * number : 4 * number + 4]
        put(f"memory://emb/img_emb/img_emb_{number}.npy", rows)
        put(f"memory://emb/text_emb/text_emb_{number}.npy", rows + 1)
        ids = pa.table({"image_path": [f"{number}-{n}" for n in range(4)]})
        with fsspec.open(f"memory://emb/metadata/metadata_{number}.parquet", "wb") as file:
            parquet.write_table(ids, file)
    patterns = NpySource(
        first="memory://emb/img_emb/*.npy",
        second="memory://emb/text_*/text_emb_?.npy",
        ids="memory://emb/metadata/*.parquet",
    )
    for source in (patterns, EmbeddingsSource(path="memory://emb")):
        store = open_rows(source, 0)
        assert store.mapped
        np.testing.assert_array_equal(store.take(slice(None))[1], ROWS + 1)
        assert store.ids.tolist()[3:5] == ["0-3", "1-0"]
    before = brought(cache)
    for name in ("img_emb", "text_emb"):
        fsspec.filesystem("memory").rm(f"/emb/{name}/{name}_2.npy")
        put(f"memory://emb/{name}/{name}_0.npy", ROWS[8:])
    fsspec.filesystem("memory").rm("/emb/metadata/metadata_2.parquet")
    store = open_rows(EmbeddingsSource(path="memory://emb"), 0)
    np.testing.assert_array_equal(store.take(slice(None))[0], ROWS[[8, 9, 10, 11, 4, 5, 6, 7]])
    assert len(store.ids) == 8
    (folder,) = cache.glob("*/emb")
    assert (folder / "img_emb" / "img_emb_1.npy").stat().st_ino in before.values()


def test_what_is_made_of_a_brought_table_is_made_once(cache):
    table = pa.table({"first": list(ROWS), "second": list(ROWS)})
    with fsspec.open("memory://rows.parquet", "wb") as file:
        parquet.write_table(table, file)
    source = TableSource(path="memory://rows.parquet")
    open_rows(source, 0)
    before = brought(cache)
    assert {"rows.parquet", "first.matrix"} <= set(before)
    open_rows(source, 0)
    assert brought(cache) == before


def test_files_to_validate_on_are_brought_when_they_are_asked_for(cache):
    put("memory://a.npz", first=ROWS, second=ROWS)
    put("memory://b.npz", first=ROWS, second=ROWS)
    source = NpzSource(path="memory://a.npz", val_path="memory://b.npz")
    with_local_files(source)
    assert set(brought(cache)) == {"a.npz"}
    local = with_local_files(source, validation=True)
    assert set(brought(cache)) == {"a.npz", "b.npz"}
    assert local.path == "memory://a.npz"
    assert len(local.open_validation(None)) == 12
    plain = NpzSource(path="a.npz")
    assert with_local_files(plain) is plain


def test_what_is_here_already_is_not_copied(tmp_path, cache):
    np.savez(tmp_path / "rows.npz", first=ROWS, second=ROWS)
    assert len(open_rows(NpzSource(path=f"file://{tmp_path}/rows.npz"), 0)) == 12
    assert not cache.exists()


class Short(MemoryFileSystem):
    """Ends, or breaks off, in the middle of a file."""

    breaks = False

    def get_file(self, rpath, lpath, callback=None, **_):
        Path(lpath).write_bytes(self.store[rpath].getvalue()[:100])
        if self.breaks:
            raise ConnectionResetError("connection reset by peer")


@pytest.mark.parametrize(
    ("breaks", "match"),
    [
        (False, r"^memory://rows\.npz: cannot be read \(100 of 796 bytes of rows\.npz came"),
        (True, r"cannot be read \(connection reset"),
    ],
)
def test_a_file_is_brought_whole_or_not_at_all(cache, breaks, match, monkeypatch):
    put("memory://rows.npz", first=ROWS, second=ROWS)
    system = Short()
    monkeypatch.setattr(system, "breaks", breaks, raising=False)
    with (
        patch("fsspec.core.url_to_fs", return_value=(system, "/rows.npz")),
        pytest.raises(UserError, match=match) as caught,
    ):
        local_path("memory://rows.npz")
    assert "\n" not in str(caught.value)
    assert brought(cache) == {}
    assert len(open_rows(NpzSource(path="memory://rows.npz"), 0)) == 12


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("memory://none.npz", "^memory://none.npz: no such file"),
        ("memory://none/*.npy", r"^memory://none/\*\.npy: no such file"),
        ("nowhere://a", r"^nowhere://a: cannot be read \(Protocol not known: nowhere\)"),
        ("s3://a/b.npz", r"^s3://a/b\.npz: cannot be read \(Install s3fs"),
        ("http://127.0.0.1:9/rows.npz", r"^http://127\.0\.0\.1:9/rows\.npz: no such file, or it c"),
    ],
)
def test_what_cannot_be_brought_is_named(url, match):
    with patch.dict(sys.modules, {"s3fs": None}), pytest.raises(UserError, match=match) as caught:
        local_path(url)
    assert "\n" not in str(caught.value)


def test_a_name_that_leads_elsewhere_is_refused(cache):
    put("memory://a/x.npy", ROWS)
    found = {"/a/../../x.npy": {"name": "/a/x.npy", "size": 1, "type": "file"}}
    with (
        patch.object(MemoryFileSystem, "glob", return_value=found),
        pytest.raises(UserError, match=r"a name with \.\. in it"),
    ):
        local_path("memory://a/*.npy")


def test_a_web_server_is_asked_for_files_patterns_and_folders(tmp_path, cache):
    folder = tmp_path / "served"
    folder.mkdir()
    for number in range(11):
        np.save(folder / f"text_{number}.npy", ROWS[number : number + 1])
    quiet = patch.object(SimpleHTTPRequestHandler, "log_message")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with quiet, ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/served"
        source = NpySource(first=f"{url}/text_*.npy")
        try:
            store = open_rows(source, 0, (3, 2))
            np.testing.assert_array_equal(store.take(slice(None))[0], ROWS[:11])
            before = brought(cache)
            np.save(folder / "text_3.npy", ROWS[11:])
            os.utime(folder / "text_3.npy", (0, 0))
            store = open_rows(source, 0, (3, 2))
            after = brought(cache)
            np.testing.assert_array_equal(store.take(slice(None))[0][3], ROWS[11])
            assert [name for name in before if before[name] != after[name]] == ["text_3.npy"]
            assert len(list(Path(local_path(f"{url}/")).glob("*.npy"))) == 11
            np.testing.assert_array_equal(np.load(local_path(f"{url}/text_0.npy")), ROWS[:1])
        finally:
            server.shutdown()


def test_what_is_brought_is_shown_where_somebody_looks(cache, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    put("memory://rows.npz", first=ROWS, second=ROWS)
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    local_path("memory://rows.npz")
    assert "1/1 rows.npz" in shown.getvalue()


def test_pieces_that_are_elsewhere_are_listed_and_brought_one_by_one(cache):
    for number in (10, 2):
        table = pa.table({"first": list(ROWS + number), "second": list(ROWS)})
        with fsspec.open(f"memory://rows/part-{number}.parquet", "wb") as file:
            parquet.write_table(table, file)
    put("memory://rows/readme.txt", ROWS)
    for path in ("memory://rows", "memory://rows/", "memory://rows/*.parquet"):
        pieces = pieces_of(TableSource(path=path))
        assert [piece.name for piece in pieces] == ["part-2", "part-10"]
    assert brought(cache) == {}
    (state,) = [file.state() for file in pieces[1].inputs]
    assert state["file"] == "memory:///rows/part-10.parquet"
    store = open_rows(pieces[1].source, 0)
    np.testing.assert_array_equal(store.take(slice(None))[0], ROWS + 10)
    assert set(brought(cache)) == {"part-10.parquet"}
    again = pieces_of(TableSource(path="memory://rows"))
    assert [file.state() for file in again[1].inputs] == [state]
    with fsspec.open("memory://rows/part-10.parquet", "wb") as file:
        parquet.write_table(table, file)
    again = pieces_of(TableSource(path="memory://rows"))
    assert [file.state() for file in again[1].inputs] != [state]


def test_shards_that_are_elsewhere_are_pairs_too(cache):
    for number in range(3):
        put(f"memory://emb/img_emb/img_{number}.npy", ROWS + number)
        put(f"memory://emb/text_emb/text_{number}.npy", ROWS - number)
    source = NpySource(first="memory://emb/img_emb/*.npy", second="memory://emb/text_emb/*.npy")
    pieces = pieces_of(source)
    assert [piece.name for piece in pieces] == ["img_0", "img_1", "img_2"]
    store = open_rows(pieces[2].source, 0)
    np.testing.assert_array_equal(store.take(slice(None))[1], ROWS - 2)
    assert set(brought(cache)) == {"img_2.npy", "text_2.npy"}
    whole = pieces_of(EmbeddingsSource(path="memory://emb", val_fraction=0.5))
    assert [piece.name for piece in whole] == ["img_0", "img_1", "img_2"]
    assert whole[0].source.val_fraction == 0.5
    MemoryFileSystem().rm("/emb/text_emb/text_1.npy")
    with pytest.raises(UserError, match="number 1 missing between memory:///emb/text_emb/text_0"):
        pieces_of(source)


def test_a_folder_elsewhere_without_tables_is_named():
    put("memory://rows/a.npy", ROWS)
    put("memory://rows/b.npy", ROWS)
    with pytest.raises(UserError, match=r"memory://rows: no file in it ends in .parquet"):
        pieces_of(TableSource(path="memory://rows"))
