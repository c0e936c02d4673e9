"""What would not fit into memory is refused before it is tried."""

import gzip

import numpy as np
import pytest
from scipy import sparse

from bidnn import BiDNN, memory
from bidnn.data.formats.libsvm import text
from bidnn.data.formats.libsvm.text import LibsvmError, read_libsvm, write_libsvm
from bidnn.data.vectors import read_vectors
from bidnn.errors import UserError
from bidnn.evaluation.ranking import score_rows
from bidnn.evaluation.trec import read_names, read_qrels
from bidnn.model.saved import save_bundle
from bidnn.training.speed import SpeedConfig
from tests import test_load
from tests.programs.running import TINY, refused
from tests.test_files import model

MEGABYTE = 2**20


@pytest.fixture
def little(tmp_path, monkeypatch):
    """A machine with 1 GB left."""
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 1000000 kB\n")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CGROUP", tmp_path / "none")


def test_the_least_of_machine_and_container_is_what_there_is(little, tmp_path, monkeypatch):
    assert memory.available_memory() == 1_024_000_000
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("100\n")
    assert memory.available_memory() == 1_024_000_000
    (tmp_path / "memory.max").write_text("1100\n")
    assert memory.available_memory() == 1000
    with pytest.raises(UserError, match=r"x: 2e-06 GB of memory are needed, and 1e-06 GB"):
        memory.check_memory(2000, "x; y")
    memory.check_memory(1000, "x; y")
    for name in ("memory.max", "meminfo"):
        (tmp_path / name).unlink()
    assert memory.available_memory() is None
    memory.check_memory(10**18, "x; y")


@pytest.mark.parametrize("hdn", [10**7, 10**17, 10**30])
def test_a_network_that_does_not_fit_is_refused(little, hdn):
    rows = np.eye(8, dtype=np.float32)
    with pytest.raises(UserError, match=rf"model\.hdn={hdn}, model\.rep=64: .*make them smaller"):
        BiDNN(hdn=hdn, rep=64, recipe="paper", epochs=1).fit(rows, rows)


def test_vectors_of_a_huge_index_are_refused(little, tmp_path):
    path = tmp_path / "rows.txt"
    path.write_text("a 1:1\nb 2:1\nc 99999990:1\n")
    with pytest.raises(UserError, match=r"rows\.txt, 3 vectors of 99999990 columns.*1\.2 GB"):
        read_vectors(path)
    path.write_text("a 1:1\nb 2:1\nc 99:1\n")
    assert read_vectors(path).values.shape == (3, 99)


def test_a_cutoff_beyond_all_documents_takes_no_memory():
    scores, relevant = np.array([[3, 2, 1.0]]), np.array([[False, True, True]])
    before = test_load.memory()
    found = score_rows(scores, relevant, (3, 10**9))
    assert test_load.memory() - before < 100 * MEGABYTE
    assert found.precision.tolist() == [[2 / 3, 2e-9]]
    assert found.recall.tolist() == [[1, 1]]
    assert found.ndcg[0, 0] == found.ndcg[0, 1]


def packed_line(path, size):
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(size // MEGABYTE):
            file.write(b" " * MEGABYTE)


def test_a_packed_line_without_an_end_is_refused_before_it_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "LINE_BYTES", 4 * MEGABYTE)
    packed_line(tmp_path / "bomb.gz", 300 * MEGABYTE)
    before = test_load.memory()
    with pytest.raises(LibsvmError, match=r"bomb\.gz, line 1: longer than 4 MiB"):
        read_libsvm(tmp_path / "bomb.gz", 2, 2)
    for read in (read_names, lambda path: list(read_qrels(path))):
        with pytest.raises(UserError, match=r"bomb\.gz, line 1: longer than"):
            read(tmp_path / "bomb.gz")
    assert test_load.memory() - before < 100 * MEGABYTE


def test_a_row_of_many_values_is_no_bomb(tmp_path):
    row = sparse.csr_array(np.ones((2, 300_000), np.float32))
    with (tmp_path / "rows.txt").open("wb") as file:
        write_libsvm(file, row, ["a", "b"])
    assert (tmp_path / "rows.txt").stat().st_size > 4 * MEGABYTE
    assert read_libsvm(tmp_path / "rows.txt", 100_000, 200_000).matrix.nnz == 600_000


@pytest.mark.parametrize("threads", [0, 1025, 100_000])
def test_threads_that_no_machine_has_are_refused(threads):
    with pytest.raises(UserError, match=rf"speed\.threads={threads}: must be in \[1, 1024\]"):
        SpeedConfig(threads=threads)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("~trainer.max_epochs", "leave it out, or set it to null"),
        ("trainer.max_epochs=abc", "'abc'"),
        ("speed.threads=100000", "speed.threads=100000"),
        ("model.hdn=1000000000", "GB of memory are needed"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_line(tmp_path, setting, said):
    small = TINY[1:2] if "max_epochs" in setting else TINY[1:]
    assert said in refused("scripts/train.py", *small, setting, cwd=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("device", ["meta", "mps", "abc"])
def test_devices_that_cannot_compute_are_refused(tmp_path, device):
    save_bundle(tmp_path / "model.pt", model())
    np.savez(tmp_path / "rows.npz", first=np.ones((2, 3)), second=np.ones((2, 4)))
    rows = ("data=npz", f"data.path={tmp_path}/rows.npz", f"checkpoint={tmp_path}/model.pt")
    line = refused("scripts/embed.py", *rows, f"device={device}", cwd=tmp_path)
    assert f"device={device}: not usable here" in line
    assert len(line) < 300
