"""What a training does when the machine fails it: full disks, vanished folders, bad commands."""

import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest

from bidnn.model.saved import load_bundle
from tests.programs.disks import small_disk as mounted
from tests.programs.running import ROOT, TINY, refused, run, start, succeed
from tests.reading import arrays

pytestmark = pytest.mark.slow
TRAIN = "scripts/train.py"
SHORT = (*TINY, "callbacks.report=null")


@pytest.fixture
def small_disk(tmp_path):
    """A folder of 3 MB; needs the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with ExitStack() as stack:
        try:
            stack.enter_context(mounted(folder))
        except PermissionError as error:
            pytest.skip(str(error))
        yield folder


def test_an_output_that_will_not_fit_is_refused_before_the_first_epoch(small_disk):
    folder = small_disk / "run"
    settings = ("trainer.max_epochs=400", "output.every_n_epochs=20", "model.rep=32")
    line = refused(TRAIN, *settings, "callbacks.progress=null", f"hydra.run.dir={folder}")
    assert "8.08 MB are needed" in line  # of which 4.83 are vectors, 3.24 labels
    assert not list(folder.glob("embedding*"))


def test_a_conversion_that_will_not_fit_is_refused(small_disk):
    text = small_disk / "rows.txt"
    text.write_text("".join(f"{row} 1:0.5 {row + 2}:0.25\n" for row in range(60)))
    rows = ("data=libsvm", f"data.path={text}", "data.mod1size=1", "data.mod2size=99999")
    line = refused("scripts/convert.py", *rows, f"output.path={small_disk / 'rows.npz'}")
    assert "48 MB are needed" in line  # the second modality twice for a while
    assert not list(small_disk.glob("*.npz"))


def test_a_disk_that_fills_up_leaves_whole_files_and_the_last_checkpoint(small_disk, tmp_path):
    """The command fills the disk after the first output."""
    folder, filler = small_disk / "run", small_disk / "filler"
    script = tmp_path / "fill.sh"
    script.write_text(f"case $1 in 00001) head -c 9000000 /dev/zero > {filler};; esac\nexit 0\n")
    ended = run(
        TRAIN,
        *("trainer.max_epochs=4", "model.rep=32", "callbacks.progress=null"),
        *("callbacks.checkpoint.every_n_epochs=1", "output.every_n_epochs=1"),
        *("callbacks.report=null", "output.command='sh " + str(script) + " %e'"),
        *(f"output.path={small_disk / 'out.npy'}", f"hydra.run.dir={folder}"),
    )
    assert ended.status == 1
    assert "Traceback" not in ended.err
    assert ended.err.count("out.npy: the output could not be written (No space left") == 4
    assert "the training goes on" in ended.err
    assert "last.ckpt: the checkpoint could not be written" in ended.err
    assert np.load(small_disk / "out.npy").shape == (1797, 32)
    checkpoint = folder / "checkpoints" / "last.ckpt"
    if checkpoint.exists():
        load_bundle(checkpoint)
    assert not list(small_disk.rglob("*.part"))
    filler.unlink()


def test_a_run_file_that_will_not_fit_leaves_the_old_one(small_disk, tmp_path):
    names = tmp_path / "names"
    names.write_text("".join(f"document-{row:04d}\n" for row in range(400)))
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(400, 4)).astype("f4"))
    found = small_disk / "found.run"
    found.write_text("of before\n")
    rows = (tmp_path / "rows.npy", "--documents", tmp_path / "rows.npy")
    given = (*rows, "--names", names, "--document-names", names, "--run", found)
    ended = run("scripts/evaluate.py", *given)
    assert (ended.status, "No space left" in ended.err) == (1, True)
    assert [path.name for path in small_disk.iterdir()] == ["found.run"]
    assert found.read_text() == "of before\n"


def test_a_folder_that_vanishes_is_made_again(tmp_path):
    folder = tmp_path / "run"
    long = (*SHORT, "trainer.max_epochs=60", "output.every_n_epochs=1")
    process = start(TRAIN, *long, f"hydra.run.dir={folder}")
    while not (folder / "embedding_00002.npz").exists() and process.poll() is None:
        time.sleep(0.01)
    shutil.rmtree(folder, ignore_errors=True)
    _, err = process.communicate(timeout=120)
    assert "Traceback" not in err
    assert process.returncode == 0, err
    assert arrays(folder / "embedding_final.npz")["embedding"].shape == (1797, 8)
    load_bundle(folder)


def test_a_folder_that_cannot_be_written_is_refused_at_once(tmp_path):
    (tmp_path / "file").write_text("in the way")
    line = refused(TRAIN, *SHORT, f"output.path={tmp_path / 'file' / 'out.npz'}", cwd=tmp_path)
    assert "cannot be written" in line


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("no-such-command {output}", "exited with status 127"),
        ("rm {output}", "exited with status 0"),
        ("chmod 000 {output}; exit 3", "exited with status 3"),
        ("read x < /dev/tty", "exited with status"),
        ("sleep 100 & exec sleep 100", "was ended after output.timeout_s=1 seconds"),
        ("yes | head -n 5000; kill -9 $$", "was ended by signal 9"),
    ],
)
def test_a_training_survives_its_command_and_the_log_says_what_happened(tmp_path, command, said):
    settings = ("output.every_n_epochs=1", "output.timeout_s=1", f"output.command='{command}'")
    ended = succeed(TRAIN, *SHORT, *settings, f"hydra.run.dir={tmp_path / 'run'}")
    assert ended.err.count(said) == 3
    assert len((tmp_path / "run" / "train.log").read_text().splitlines()) < 3200
    load_bundle(tmp_path / "run")


def command_lines():
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield path.read_bytes()


def test_a_signal_ends_a_hanging_command_at_the_second_time(tmp_path):
    folder = tmp_path / "run"
    command = f"output.command='touch {tmp_path}/on; sleep 600'"
    process = start(TRAIN, *SHORT, "output.every_n_epochs=1", command, f"hydra.run.dir={folder}")
    while not (tmp_path / "on").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    time.sleep(1.0)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert not any(b"sleep\x00600" in line for line in command_lines())


@pytest.mark.parametrize(
    ("kind", "half"),
    [
        ("whole_file", "made.write(b'half'); made.flush()"),
        ("whole_folder", "(made / 'part').write_bytes(b'half')"),
    ],
)
def test_what_a_killed_process_left_behind_is_removed(tmp_path, kind, half):
    program = (
        f"import os, signal, sys; from pathlib import Path; from bidnn.files import {kind}\n"
        f"with {kind}(Path(sys.argv[1])) as made:\n"
        f"    {half}; os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "out"
    for _ in range(3):
        subprocess.run([sys.executable, "-c", program, str(path)], cwd=ROOT, check=False)
    assert not path.exists()
    assert len(list(tmp_path.iterdir())) == 1
    (tmp_path / ".other.0123abcd.part").write_text("of another file")
    subprocess.run(
        [sys.executable, "-c", program.replace("os.kill", "print"), str(path)], cwd=ROOT, check=True
    )
    assert (path if kind == "whole_file" else path / "part").read_bytes() == b"half"
    assert len(list(tmp_path.iterdir())) == 2
