"""Which arithmetic is chosen: compiled or not, in which precision, by how many threads."""

import logging
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import Callback
from lightning.pytorch.callbacks import EarlyStopping

from bidnn.data.store import PairStore
from bidnn.losses import LossConfig
from bidnn.training import speed as rooms
from bidnn.training.speed import Bf16, SpeedConfig, choose_threads
from tests.training.fitting import run, settings


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"speed\.threads=0"):
        SpeedConfig(threads=0)


@pytest.mark.parametrize(
    ("instructions", "is_faster"),
    [({"amx_bf16": True}, True), ({"avx512_bf16": True}, True), ({"avx2": True}, False)],
)
def test_bf16_is_taken_where_it_is_faster(monkeypatch, instructions, is_faster):
    auto, cpu = SpeedConfig(bf16=Bf16.auto), torch.device("cpu")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    assert auto.takes_bf16(1e9, cpu) is is_faster
    assert not auto.takes_bf16(1e6, cpu)
    assert not SpeedConfig().takes_bf16(1e9, cpu)
    assert SpeedConfig(bf16=Bf16.always).takes_bf16(1e6, cpu)


@pytest.mark.parametrize(
    ("operations", "idle", "threads"),
    [(3e8, 8.0, 1), (1e10, 8.0, 8), (1e10, 2.1, 2), (1e10, 0.0, 1)],
)
def test_threads_are_taken_for_large_steps_on_free_processors_only(
    monkeypatch, operations, idle, threads
):
    monkeypatch.setattr(rooms, "idle_processors", lambda: idle)
    assert choose_threads(operations, 8) == threads


def test_processors_are_free_that_idle_now_whatever_was_before(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "getloadavg", lambda: (5.0, 0.0, 0.0))
    seen = iter([(1000, 9000), (1060, 9080)])
    monkeypatch.setattr(rooms, "_idle_and_all", lambda: next(seen))
    assert rooms.idle_processors() == pytest.approx(6.0)  # of 80 ticks 60 were idle

    def unknown():
        raise FileNotFoundError("/proc/stat")

    for gone in (unknown, lambda: (7, 70)):  # a clock that stands still tells nothing
        monkeypatch.setattr(rooms, "_idle_and_all", gone)
        assert rooms.idle_processors() == 3.0


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="the system counts no such time")
def test_work_is_time_of_a_processor_that_does_not_idle():
    idle, everything = rooms._idle_and_all()
    started = time.process_time()
    while time.process_time() < started + 0.2:
        pass
    after = rooms._idle_and_all()
    busy = (after[1] - everything) - (after[0] - idle)
    assert busy >= 0.1 * os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize(("asked", "threads"), [(None, 1), (2, 2)])
def test_the_threads_are_ours_although_lightning_sets_them_for_processes(store, asked, threads):
    class Sees(Callback):
        by_chunks = True

        def setup(self, trainer, pl_module, stage):  # after Lightning started the processes
            torch.set_num_threads(3)

        def on_train_start(self, trainer, pl_module):
            self.seen = torch.get_num_threads()

    sees, before = Sees(), torch.get_num_threads()
    run(store, settings(1, speed=SpeedConfig(threads=asked)), callbacks=[sees])
    assert (sees.seen, torch.get_num_threads()) == (threads, before)


class Own(LossConfig):
    """A loss that nobody knows to compile."""


def broken(*_, **__):
    raise RuntimeError("fatal error: Python.h: No such file\nand much more")


def wordless(*_, **__):
    raise RuntimeError


@pytest.fixture
def store():
    draw = np.random.default_rng(0).normal(size=(2, 80, 4)).astype("f4")
    return PairStore(*draw, np.ones((80, 2), dtype=bool))


@pytest.fixture
def takes(store, monkeypatch, caplog):
    """Whether a training of 30 steps compiles them, if each saves ten seconds, and what it says."""
    monkeypatch.setattr(rooms, "SAVED_S", {"cpu": 10.0})
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    caplog.set_level(logging.INFO)

    def take(watching=(), **more):
        caplog.clear()
        module = run(store, settings(**more), callbacks=watching).module
        return module.stepper.compiles, [line for line in caplog.messages if "compiled" in line]

    return take


def test_steps_are_compiled_where_that_saves_enough_and_a_resumed_run_keeps_to_it(takes, tmp_path):
    kind = "bidnn.training.callbacks.checkpoints.Checkpoints"
    checkpoint = {"_target_": kind, "folder": str(tmp_path), "every_n_epochs": 1}
    folder = {"run_dir": str(tmp_path), "callbacks": {"checkpoint": checkpoint}}
    compiled, (line, _) = takes(**folder)
    assert compiled
    assert line.startswith("steps are compiled, which saves 300 s or more of the training; speed=")
    rooms.SAVED_S["cpu"] = 0.5
    assert not takes(epochs=4)[0]
    assert takes(epochs=4, resume=True, **folder)[0]
    assert not takes(epochs=5, resume=True, speed=SpeedConfig(compile=False), **folder)[0]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"watching": [EarlyStopping("train/loss")]}, []),
        ({"trainer": {"max_time": "00:01:00:00"}}, []),
        ({"trainer": {"log_every_n_steps": 1}}, []),  # one by one, for who looks at them
        ({"loss": Own()}, []),
        ({"speed": SpeedConfig(compile=False)}, []),
    ],
)
def test_steps_are_not_compiled_where_nobody_knows_what_it_saves(takes, more, says):
    assert takes(**more) == (False, says)


def test_without_a_compiler_that_works_it_says_so_and_goes_on(takes, monkeypatch):
    monkeypatch.setattr(torch, "compile", broken)
    assert takes() == (
        False,
        ["steps are not compiled: fatal error: Python.h: No such file"],
    )
    monkeypatch.setattr(torch, "compile", wordless)
    assert takes() == (False, ["steps are not compiled: RuntimeError"])
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert takes() == (False, ["steps are not compiled: there is no C++ compiler"])


def test_what_compiled_steps_save_is_by_their_number_and_size():
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert SpeedConfig.saves(120_000, 0.0, cpu) == pytest.approx(60.0)
    assert SpeedConfig.saves(5_000, 2e10, cpu) == pytest.approx(52.5)
    assert SpeedConfig.saves(30_000, 2e10, gpu) == pytest.approx(60.0)
    assert SpeedConfig.saves(30_000, 2e10, torch.device("mps")) == 0.0
