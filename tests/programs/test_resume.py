"""Trainings that are killed and go on; BIDNN_KILLS=100 kills more often than `make test` does."""

import functools
import json
import os
import random
import shlex
import signal
import time

import numpy as np
import pytest

from bidnn.programs.quoting import setting
from tests.needing import needs_compiler
from tests.programs.running import ROOT, refused, run, start, succeed

pytestmark = pytest.mark.slow
TRAIN = "scripts/train.py"
KILLS = int(os.environ.get("BIDNN_KILLS", "4"))
EPOCHS = 3
ODD = 'model.rep=8,seed=1 it\'s "x" [y] {a: b} (c); #d & $HOME ~ \\ é'
"""A run's folder, named as sweeps do and worse."""


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    """10 000 rows of 6 + 10: an epoch of 625 batches in 10 chunks."""
    folder = tmp_path_factory.mktemp("features")
    generator = np.random.default_rng(0)
    hidden = generator.normal(size=(10_000, 4))
    first, second = (np.tanh(hidden @ generator.normal(size=(4, n))).astype("f4") for n in (6, 10))
    first[:500], second[500:900] = np.nan, np.nan
    np.savez(folder / "features.npz", first=first, second=second)
    np.save(folder / "first.npy", first)
    np.save(folder / "second.npy", second)
    return folder


def settings(features, folder, *more):
    return (
        *("data=npz", f"data.path={features / 'features.npz'}", "data.batch_size=16"),
        *("model.hdn=16", "model.rep=8", f"trainer.max_epochs={EPOCHS}", "data.val_fraction=0.1"),
        *("callbacks.progress=null", "output.every_n_epochs=1", f"hydra.run.dir={folder}"),
        *("callbacks.checkpoint.every_minutes=0.0003", "optimizer=adamw"),
        *("optimizer.schedule=cosine", "embedding=even", *more),
    )


def wait_for(process, path):
    while not path.exists() and process.poll() is None:
        time.sleep(0.01)


def outputs(folder):
    return {path.name: path.read_bytes() for path in folder.glob("embedding_*.npz")}


@pytest.fixture(scope="module")
def whole(features, tmp_path_factory):
    """The folder of a run that is left alone."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    succeed(TRAIN, *settings(features, folder))
    assert len(outputs(folder)) == EPOCHS + 1
    return folder


def mapped(features, speed):
    """Settings of a run on mapped files, which are read ahead; checkpoints come with signals."""
    kept = [s for s in settings(features, "x")[2:] if not s.startswith("hydra")]
    files = (f"data.first={features / 'first.npy'}", f"data.second={features / 'second.npy'}")
    more = ("callbacks.checkpoint.every_minutes=0", "data=npy", "data.shuffle=blocks", speed)
    return (*kept, *files, *more)


@pytest.fixture(scope="module")
def left_alone(features, tmp_path_factory):
    """The outputs of a run on mapped files, by its speed; each is made once."""

    @functools.cache
    def of(speed):
        folder = tmp_path_factory.mktemp("runs") / "mapped"
        succeed(TRAIN, *mapped(features, speed), f"hydra.run.dir={folder}")
        return outputs(folder)

    return of


@pytest.mark.timeout(3600)
def test_a_run_that_is_killed_at_any_moment_ends_as_one_left_alone(features, tmp_path, whole):
    killed, expected = tmp_path / "killed", outputs(whole)
    last = killed / "checkpoints" / "last.ckpt"
    moments = random.Random(0)
    kills = 0
    while kills < KILLS:
        process = start(TRAIN, *settings(features, killed, f"resume={str(last.exists()).lower()}"))
        if last.exists():
            before = last.stat().st_mtime_ns
            while last.stat().st_mtime_ns == before and process.poll() is None:
                time.sleep(0.01)
        else:
            wait_for(process, last)
        time.sleep(moments.uniform(0.0, 0.3))
        process.kill()
        process.communicate()
        if process.returncode != -signal.SIGKILL:  # it had finished: begin anew
            assert outputs(killed) == expected
            killed = tmp_path / f"killed{kills}"
            last = killed / "checkpoints" / "last.ckpt"
            continue
        kills += 1
        for path in killed.glob("embedding_*.npz"):
            assert path.read_bytes() == expected[path.name]
    succeed(TRAIN, *settings(features, killed, "resume=true"))
    assert outputs(killed) == expected
    figures = [json.loads((folder / "metrics.json").read_text()) for folder in (whole, killed)]
    assert figures[0] == figures[1]


@pytest.mark.parametrize(
    ("number", "speed"),
    [
        (signal.SIGTERM, "speed=plain"),
        (signal.SIGINT, "speed=plain"),
        pytest.param(signal.SIGTERM, "speed=fast", marks=needs_compiler),
    ],
)
def test_a_signal_leaves_a_checkpoint_and_says_how_to_go_on(
    features, tmp_path, left_alone, number, speed
):
    stopped, expected = tmp_path / ODD, left_alone(speed)
    folder = setting("hydra.run.dir", str(stopped))
    process = start(TRAIN, *mapped(features, speed), folder)
    wait_for(process, stopped / "embedding_00001.npz")
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 128 + number, err
    assert "Traceback" not in err
    assert f"stopped by {number.name}" in err
    assert (stopped / "checkpoints" / "last.ckpt").exists()
    assert not (stopped / "embedding_final.npz").exists()
    (line,) = (line for line in err.splitlines() if "to go on: " in line)
    python, script, *again = shlex.split(line.split("to go on: ")[1])
    assert (python, script) == ("python", str(ROOT / TRAIN))
    succeed(TRAIN, *again)
    assert outputs(stopped) == expected


def test_a_loss_that_is_not_finite_stops_with_the_last_good_checkpoint_kept(features, tmp_path):
    folder = tmp_path / "run"
    rate = ("activation=linear", "optimizer=sgd", "optimizer.schedule=constant")
    succeed(TRAIN, *settings(features, folder, *rate, "optimizer.lr=0.001"))
    last = folder / "checkpoints" / "last.ckpt"
    good = last.read_bytes()
    line = refused(TRAIN, *settings(features, folder, *rate, "optimizer.lr=1e6"))
    assert "the loss is" in line
    assert "epoch 1, batch " in line
    assert "optimizer.lr (now 1e+06)" in line
    assert last.read_bytes() == good


def test_resuming_with_other_data_or_settings_is_refused(features, tmp_path):
    folder = tmp_path / "run"
    assert "no checkpoint" in refused(TRAIN, *settings(features, folder, "resume=true"))
    succeed(TRAIN, *settings(features, folder))
    line = refused(TRAIN, *settings(features, folder, "resume=true", "model.rep=4"))
    assert "model.rep=8" in line
    line = refused(TRAIN, *settings(features, folder, "resume=true", "seed=5"))
    assert "seed=0" in line
    line = refused(TRAIN, *settings(features, folder, "resume=true", "data.batch_size=32"))
    assert "data.batch_size=16" in line
    content = dict(np.load(features / "features.npz"))
    content["first"][1000] += 1
    np.savez(tmp_path / "other.npz", **content)
    more = ("resume=true", f"data.path={tmp_path / 'other.npz'}")
    assert "other rows" in refused(TRAIN, *settings(features, folder, *more))
    ended = run(TRAIN, *settings(features, folder, "resume=true", "trainer.max_epochs=4"))
    assert ended.status == 0, ended.err
    assert (folder / "embedding_00004.npz").exists()


def test_resume_auto_starts_where_there_is_no_checkpoint_and_else_goes_on(features, tmp_path):
    folder = tmp_path / "run"
    process = start(TRAIN, *settings(features, folder, "resume=auto"))
    wait_for(process, folder / "config.yaml")
    process.kill()
    process.communicate()
    ended = succeed(TRAIN, *settings(features, folder, "resume=auto", "trainer.max_epochs=2"))
    assert "training from the start" in ended.err or "to go on" not in ended.err
    ended = succeed(TRAIN, *settings(features, folder, "resume=auto"))
    assert "training from the start" not in ended.err
    assert (folder / "embedding_00003.npz").exists()


def test_two_processes_resumed_within_an_epoch_log_the_loss_of_both(features, tmp_path):
    ddp = ("trainer=ddp", "trainer.accelerator=cpu", "logger=csv", "callbacks.report=null")
    ddp += ("data.batch_size=32",)  # three chunks an epoch
    alone, other = tmp_path / "alone", tmp_path / "other"
    succeed(TRAIN, *settings(features, alone, *ddp))
    stop = "callbacks.stop={_target_: stopping.Stop}"
    (tmp_path / "settings").mkdir()
    (tmp_path / "settings" / "stopping.py").write_text(STOP)
    folders = (f"--config-dir={tmp_path / 'settings'}",)
    ended = run(TRAIN, *folders, *settings(features, other, *ddp, f"+{stop}"))
    assert ended.status == 128 + signal.SIGTERM, ended.err
    succeed(TRAIN, *settings(features, other, *ddp, "resume=true"))
    assert outputs(other) == outputs(alone)
    for name in ("metrics.json", "csv/metrics.csv"):
        assert (other / name).read_text() == (alone / name).read_text()


STOP = """
import os
import signal

from lightning import Callback


class Stop(Callback):
    by_chunks = True

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        if (trainer.current_epoch, number, trainer.global_rank) == (1, 1, 0):
            os.kill(os.getpid(), signal.SIGTERM)
"""


def test_an_output_at_an_interval_has_its_checkpoint(features, tmp_path):
    folder = tmp_path / "run"
    settled = [s for s in settings(features, folder) if "every_minutes" not in s]
    process = start(
        TRAIN, *settled, "callbacks.checkpoint.every_minutes=0", "trainer.max_epochs=50"
    )
    wait_for(process, folder / "embedding_00002.npz")
    process.kill()
    process.communicate()
    assert (folder / "checkpoints" / "last.ckpt").exists()


def test_a_run_that_was_killed_before_its_page_gets_it_and_nothing_else(tmp_path):
    rest = ("model.hdn=8", "model.rep=4", "trainer.max_epochs=1", "callbacks.progress=null")
    succeed(TRAIN, *rest, "hydra.run.dir=run", cwd=tmp_path)

    def files():
        found = (path for path in (tmp_path / "run").rglob("*") if path.is_file())
        return {str(p.relative_to(tmp_path)): p.read_bytes() for p in found if p.suffix != ".log"}

    before = files()
    (tmp_path / "run" / "report.html").unlink()
    said = succeed(TRAIN, *rest, "hydra.run.dir=run", "resume=true", cwd=tmp_path)
    assert "nothing is left to do" in said.out + said.err
    assert files().keys() == before.keys()
    assert all(files()[name] == kept for name, kept in before.items() if name[-5:] != ".html")
    page = (tmp_path / "run" / "report.html").stat()
    succeed(TRAIN, *rest, "hydra.run.dir=run", "resume=true", cwd=tmp_path)
    assert (tmp_path / "run" / "report.html").stat().st_mtime_ns == page.st_mtime_ns
