"""Who looks after the processes of a training: who started them."""

import os
import signal
import subprocess
import time

import pytest
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

from bidnn.training import peers as peers_room
from bidnn.training.peers import FIRST, Peers


@pytest.fixture
def told(monkeypatch):
    """Sets what a process is told of its place by its environment."""

    def set_all(**values):
        for name in (FIRST, "LOCAL_RANK"):
            monkeypatch.delenv(name, raising=False)
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return set_all


@pytest.mark.parametrize("number", ["0", "1"])
def test_processes_that_torchrun_started_are_left_to_it(told, number):
    told(LOCAL_RANK=number)
    with Peers(_SubprocessScriptLauncher(TorchElasticEnvironment(), 2, 1)) as peers:
        assert not peers.is_alive()
        assert FIRST not in os.environ


def test_the_first_looks_after_those_that_it_starts_and_they_after_the_first(told):
    told()
    with Peers(_SubprocessScriptLauncher(LightningEnvironment(), 2, 1)) as first:
        assert first.is_alive()
        assert os.environ[FIRST] == str(os.getpid())
    assert FIRST not in os.environ
    told(LOCAL_RANK="1", **{FIRST: str(os.getppid())})
    with Peers(_SubprocessScriptLauncher(LightningEnvironment(), 2, 1)) as other:
        assert other.is_alive()
    assert os.environ[FIRST] == str(os.getppid())


def test_lightning_does_not_watch_those_that_are_looked_after(told, monkeypatch):
    told()
    monkeypatch.setattr(peers_room, "LOOK_S", 0.01)
    launcher = _SubprocessScriptLauncher(LightningEnvironment(), 3, 1)
    watched = launcher.procs
    with Peers(launcher):
        for _ in range(2):  # one after the other, as it starts them
            time.sleep(0.1)
            watched.append(subprocess.Popen(["sleep", "60"]))
        started, until = list(watched), time.monotonic() + 10
        while watched and time.monotonic() < until:
            time.sleep(0.01)
        assert watched == []
        assert launcher.procs == started  # to which it passes signals on
        launcher.kill(signal.SIGTERM)
    assert [process.wait(10) for process in started] == [-signal.SIGTERM] * 2
