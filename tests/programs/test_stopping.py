"""Signals and closed streams at any stage of a program: a line, a checkpoint, no orphans."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from bidnn.model.saved import load_bundle
from bidnn.programs.streams import Lasting
from tests.programs.running import ROOT, SURROUNDINGS, TINY, start, succeed
from tests.programs.test_faults import command_lines

pytestmark = pytest.mark.slow
TRAIN = "scripts/train.py"
SHORT = (*TINY, "callbacks.report=null", "logger=none", "speed=plain")


def wait_for(path, process):
    while not path.exists() and process.poll() is None:
        time.sleep(0.01)


def test_a_stream_that_cannot_be_written_troubles_nobody(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    for stream in (os.fdopen(writing, "w"), open("/dev/full", "w")):  # noqa: SIM115, PTH123 — closed below, a device
        lasting = Lasting(stream)
        for _ in range(3):
            assert lasting.write("text\n") == 5
            lasting.flush()
        stream.close()  # as the interpreter does in the end
        assert lasting.write("text\n") == 5


def test_a_training_goes_on_without_its_terminal_and_the_log_has_everything(tmp_path):
    command = [sys.executable, str(ROOT / TRAIN), *TINY[:-1], "logger=none", "hydra.run.dir=run"]
    shell = f"{' '.join(command)} 2>&- | true; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, **SURROUNDINGS}
    subprocess.run(["bash", "-c", shell], cwd=tmp_path, check=True, env=environment, timeout=120)
    said = (tmp_path / "run" / "train.log").read_text()
    assert "digits: 1797 rows" in said
    assert "mAP by label: raw 0." in said
    assert "run folder:" in said
    assert (tmp_path / "run" / "metrics.json").exists()


def test_sighup_is_as_sigterm_unless_it_is_ignored(tmp_path):
    folder = f"hydra.run.dir={tmp_path / 'run'}"
    long = (*SHORT, "trainer.max_epochs=100000", "callbacks.checkpoint.every_n_epochs=1", folder)
    process = start(TRAIN, *long)
    wait_for(tmp_path / "run" / "checkpoints" / "last.ckpt", process)
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGHUP, err
    assert "stopped by SIGHUP; the checkpoint" in err
    assert "to go on: " in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_final_command_with_a_line_and_no_orphan(tmp_path, number):
    command = f"output.command='touch {tmp_path}/on; sleep 601'"
    process = start(TRAIN, *SHORT, command, f"hydra.run.dir={tmp_path / 'run'}")
    wait_for(tmp_path / "on", process)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert f"stopped by {number.name}; the checkpoint" in err
    assert "to go on: " in err
    assert "Traceback" not in err
    assert not any(b"sleep\x00601" in line for line in command_lines())
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    before = last.read_bytes()
    folder = f"hydra.run.dir={tmp_path / 'run'}"
    said = succeed(TRAIN, *SHORT, "output.command=null", "resume=true", folder).err
    assert last.read_bytes() == before  # nothing was trained
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["train/loss"] > 0
    assert "finished" not in said
    assert "finished" in succeed(TRAIN, *SHORT, "output.command=null", "resume=true", folder).err


def test_a_signal_before_the_first_batch_is_a_line(tmp_path):
    process = start(TRAIN, *SHORT, "trainer.max_epochs=100000", f"hydra.run.dir={tmp_path / 'run'}")
    wait_for(tmp_path / "run", process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert err.count("stopped by SIGTERM; ") == 1
    assert "Traceback" not in err


@pytest.mark.parametrize("pause", [0.001, 0.3])
def test_six_rapid_signals_are_a_line(tmp_path, pause):
    folder = f"hydra.run.dir={tmp_path / 'run'}"
    long = (*SHORT, "trainer.max_epochs=100000", "callbacks.checkpoint.every_n_epochs=1", folder)
    process = start(TRAIN, *long)
    wait_for(tmp_path / "run" / "checkpoints" / "last.ckpt", process)
    for _ in range(6):
        process.send_signal(signal.SIGTERM)
        time.sleep(pause)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "Traceback" not in err
    assert err.count("stopped by SIGTERM") == 1


def test_ctrl_c_during_the_import_is_a_line(tmp_path):
    process = subprocess.Popen(
        [sys.executable, str(ROOT / TRAIN), *SHORT, f"hydra.run.dir={tmp_path / 'run'}"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    while "libtorch_cpu" not in Path(f"/proc/{process.pid}/maps").read_text():
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "interrupted\n")


def processes_of(folder):
    """Processes, by number, whose command line names a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(folder).encode() in (path / "cmdline").read_bytes():
                found.append(int(path.name))
    return found


def launch(folder, *arguments):
    """A program in an interpreter of its own, as those need that start processes."""
    command = [sys.executable, str(ROOT / TRAIN), *SHORT, "trainer.max_epochs=100000", *arguments]
    return subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, **SURROUNDINGS},
    )


def test_the_peer_of_a_process_that_was_killed_ends_with_a_line(tmp_path):
    ddp = ("trainer=ddp", "trainer.accelerator=cpu", "callbacks.checkpoint.every_n_epochs=1")
    process = launch(tmp_path, *ddp, f"hydra.run.dir={tmp_path / 'run'}")
    wait_for(tmp_path / "run" / "checkpoints" / "last.ckpt", process)
    (other,) = (number for number in processes_of(tmp_path / "run") if number != process.pid)
    os.kill(other, signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert "Traceback" not in err
    assert "another process of this run ended first" in err
    assert "to go on: " in err


def test_a_signal_to_a_sweep_of_workers_ends_them_all_each_with_its_checkpoint(tmp_path):
    joblib = ("-m", "seed=1,2,3", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    process = launch(tmp_path, *joblib, "callbacks.checkpoint.every_n_epochs=1")
    sweep = tmp_path / "runs" / "sweeps"
    while len(found := list(sweep.glob("*/*/*/checkpoints/last.ckpt"))) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "Traceback" not in err
    logs = [(path.parents[1] / "train.log").read_text() for path in found]
    assert all("stopped by SIGTERM; the checkpoint" in log for log in logs)
    assert len({path.parents[2] for path in found}) == 1  # one folder of the sweep, of its own
    assert len(list(sweep.glob("*/*/*/embedding*"))) == 0
    time.sleep(0.5)
    assert not processes_of(tmp_path)
    assert all(load_bundle(path).mod1size == 32 for path in found)
