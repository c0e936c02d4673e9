"""Who looks after the processes of a training: who started them."""

import os

import pytest
from lightning.fabric.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

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
